"""Tables of what passes between the case system and the exchange after the filing.

Ids, steps and codes; no content of a case.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, Uuid

from broker.database import UtcDateTime


def case_tables(metadata: MetaData) -> tuple[Table, Table, Table, Table, Table]:
    """`case_news`, `case_told`, `case_cursor`, `case_report` and `case_question`."""
    news = Table(
        "case_news",
        metadata,
        Column("id", String(200), primary_key=True),
        Column("business_id", Uuid),
        Column("message", ForeignKey("inbox.id")),
        Column("step", String(12)),
        Column("reason", String(40)),
        Column("reference", String(200)),
        Column("at", UtcDateTime),
        Column("seen_at", UtcDateTime, nullable=False),
        Column("state", String(12), nullable=False),
        Column("code", String(40)),
        Column("answer", Uuid),
    )
    Index(
        "ix_case_news_held",
        news.c.seen_at,
        postgresql_where=news.c.state == "held",
        sqlite_where=news.c.state == "held",
    )
    told = Table(
        "case_told",
        metadata,
        Column("message", ForeignKey("inbox.id"), primary_key=True),
        Column("state", String(12), nullable=False),
        Column("code", String(40)),
        Column("attempts", Integer, nullable=False),
        Column("next_attempt_at", UtcDateTime, nullable=False),
    )
    Index(
        "ix_case_told_due",
        told.c.next_attempt_at,
        postgresql_where=told.c.state == "due",
        sqlite_where=told.c.state == "due",
    )
    cursor = Table(
        "case_cursor",
        metadata,
        Column("system", String(40), primary_key=True),
        Column("cursor", Text),
    )
    report = Table(
        "case_report",
        metadata,
        Column("message", ForeignKey("inbox.id"), primary_key=True),
        Column("outcome", String(20), nullable=False),
        Column("fields", Text, nullable=False),
        Column("state", String(12), nullable=False),
        Column("answer", Uuid),
        Column("next_attempt_at", UtcDateTime, nullable=False),
    )
    Index(
        "ix_case_report_due",
        report.c.next_attempt_at,
        postgresql_where=report.c.state == "due",
        sqlite_where=report.c.state == "due",
    )
    question = Table(
        "case_question",
        metadata,
        Column("message", ForeignKey("inbox.id"), primary_key=True),
        Column("kind", String(8), primary_key=True),
        Column("asked_at", UtcDateTime, nullable=False),
        Column("found", Text, nullable=False),
        Column("others", Text, nullable=False),
        Column("answer", String(12)),
        Column("reference", String(200)),
        Column("answered_by", String(64)),
        Column("answered_at", UtcDateTime),
    )
    return news, told, cursor, report, question
