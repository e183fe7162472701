"""The ledger of publications: what a later one must not help to undo. No word of a person."""

from __future__ import annotations

from sqlalchemy import Column, Date, MetaData, Table, Text, UniqueConstraint, Uuid

from broker.database import UtcDateTime


def statistics_tables(metadata: MetaData) -> Table:
    """`publication`: one row for each period that tables were published of."""
    return Table(
        "publication",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("first", Date, nullable=False),
        Column("last", Date, nullable=False),
        Column("figures", Text, nullable=False),
        Column("at", UtcDateTime, nullable=False),
        UniqueConstraint("first", "last", name="uq_publication_period"),
    )
