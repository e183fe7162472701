"""What a gateway knows of itself: who it is, who works there, what alarms it, how far it has read."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, UniqueConstraint, false

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Code, Participant, Serial, Sha, metadata

identity = Table(
    "identity",
    metadata,
    Column("participant", Participant, primary_key=True),
    Column("incarnation", String(22), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("place", String(43)),
)
"""One row. The incarnation is random per database: a restored backup or a clone shows itself, since
it lies at another place than the row says. Null is a place that nobody wrote down yet."""

cursor = Table(
    "cursor",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("as_of", UtcDateTime, nullable=False),
)
"""How far a feed was followed, and the moment of which that is the whole truth."""

worker = Table(
    "worker",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("token_hash", Sha, nullable=False, unique=True),
    Column("may_know", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("removed_at", UtcDateTime),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("code", Code, nullable=False),
    Column("about", String(64), nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    Column("cleared_at", UtcDateTime),
    Column("role", String(64)),
    UniqueConstraint("code", "about", name="uq_alarm_code_about"),
)
"""`role`: who is to act, where that is not whoever looks first."""
Index(
    "ix_alarm_open",
    alarm.c.code,
    postgresql_where=alarm.c.cleared_at.is_(None),
    sqlite_where=alarm.c.cleared_at.is_(None),
)
