"""Tables of the person's rights: who got what of hers, and what was asked of whom.

Ids, section names, bases and times; no content, so that they stay when content is erased.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table, Text, Uuid

from broker.database import UtcDateTime


def disclosure_table(metadata: MetaData) -> Table:
    """`disclosure`: one row for each message with something about a person, both ways."""
    made = Table(
        "disclosure",
        metadata,
        Column("message", Uuid, primary_key=True),
        Column("way", String(8), nullable=False),
        Column("type", String(60), nullable=False),
        Column("partner", String(66), nullable=False),
        Column("own_case", String(64)),
        Column("their_case", String(131)),
        Column("thread", Uuid, nullable=False),
        Column("business_id", Uuid, nullable=False),
        Column("derived_from", Uuid),
        Column("grant", Uuid),
        Column("exception", String(30)),
        Column("sections", Text, nullable=False),
        Column("at", UtcDateTime, nullable=False),
    )
    Index("ix_disclosure_own_case", made.c.own_case)
    Index("ix_disclosure_their_case", made.c.their_case)
    Index("ix_disclosure_thread", made.c.thread)
    Index(
        "ix_disclosure_derived_from",
        made.c.derived_from,
        postgresql_where=made.c.derived_from.is_not(None),
        sqlite_where=made.c.derived_from.is_not(None),
    )
    return made
