"""The one metadata of the gateway's database, and the kinds of column that many tables share."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, String

from broker.database import new_metadata

metadata = new_metadata()
Serial = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY."""
Participant = String(66)
Sha = String(43)
Code = String(40)
