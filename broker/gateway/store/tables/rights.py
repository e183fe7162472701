"""Tables of the person's rights: who got what of hers, and what was asked of whom.

Ids, section names, bases and times; no content, so that they stay when content is erased.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text, Uuid

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
    for column in (made.c.own_case, made.c.their_case):
        # Of those that have one: a gateway that only sends has no case of others', and an index of
        # nothing but nulls would be taken for useless.
        Index(
            f"ix_disclosure_{column.name}",
            column,
            postgresql_where=column.is_not(None),
            sqlite_where=column.is_not(None),
        )
    Index("ix_disclosure_thread", made.c.thread)
    Index(
        "ix_disclosure_derived_from",
        made.c.derived_from,
        postgresql_where=made.c.derived_from.is_not(None),
        sqlite_where=made.c.derived_from.is_not(None),
    )
    return made


def rights_tables(metadata: MetaData) -> tuple[Table, Table]:
    """`right_told`: of whom something was asked. `restriction`: what may not be used now."""
    told = Table(
        "right_told",
        metadata,
        Column("asked", Uuid, primary_key=True),
        Column("partner", String(66), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("kind", String(12), nullable=False),
        Column("own_case", String(64), nullable=False),
        Column("message", Uuid),
        Column("code", String(40)),
        Column("worker", String(64), nullable=False),
        Column("at", UtcDateTime, nullable=False),
    )
    Index("ix_right_told_own_case", told.c.own_case)
    frozen = Table(
        "restriction",
        metadata,
        Column("message", Uuid, primary_key=True),
        Column("by", String(66), nullable=False),
        Column("case_ref", String(64), nullable=False),
        Column("about", Uuid),
        Column("since", UtcDateTime, nullable=False),
        Column("lifted_at", UtcDateTime),
    )
    Index("ix_restriction_case_ref", frozen.c.case_ref)
    return told, frozen


def notice_table(metadata: MetaData) -> Table:
    """`notice`: what a person is to be told of her case, and who told her how."""
    made = Table(
        "notice",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("thread", Uuid, nullable=False),
        Column("machine", String(12), nullable=False),
        Column("state", String(24), nullable=False),
        Column("case_ref", String(64), nullable=False),
        Column("at", UtcDateTime, nullable=False),
        Column("done_at", UtcDateTime),
        Column("how", String(20)),
        Column("worker", String(64)),
    )
    Index(
        "ix_notice_open",
        made.c.at,
        postgresql_where=made.c.done_at.is_(None),
        sqlite_where=made.c.done_at.is_(None),
    )
    return made
