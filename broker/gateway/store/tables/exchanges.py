"""Threads and what protects the person of a case."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Uuid, false

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Participant, metadata

thread = Table(
    "thread",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("machine", String(12), nullable=False),
    Column("state", String(24), nullable=False),
    Column("partner", Participant, nullable=False),
    Column("role", String(10), nullable=False),
    Column("case_ref", String(64), nullable=False),
    Column("business_id", Uuid, nullable=False),
    Column("owner", Participant),
    Column("signed_by_sender", Boolean, nullable=False),
    Column("signed_by_recipient", Boolean, nullable=False),
    Column("heard", Uuid),
    Column("opener", String(60)),
    Column("updated_at", UtcDateTime, nullable=False),
)
"""One exchange and its state. `role` is ours: `sender` if we opened it."""

thread_event = Table(
    "thread_event",
    metadata,
    Column("thread", ForeignKey("thread.id"), primary_key=True),
    Column("message", Uuid, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("type", String(60), nullable=False),
    Column("by", Participant, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("state", String(24), nullable=False),
    Column("late", Boolean, nullable=False),
    Column("event", String(24)),
    Column("before", String(24)),
    Column("unsaid", Boolean, nullable=False, server_default=false()),
)
"""What was said in an exchange. `event` is what it caused there, in the state `before`; both are
unknown of what was said before they were kept. `unsaid` was never heard by the other side."""

exclusion = Table(
    "exclusion",
    metadata,
    Column("about", String(64), primary_key=True),
    Column("participant", Participant, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
"""Whom a person wants nothing to reach: by case number, or by the business id of a referral."""

told_exclusion = Table(
    "told_exclusion",
    metadata,
    Column("partner", Participant, primary_key=True),
    Column("case_ref", String(64), primary_key=True),
    Column("item", String(36)),
    Column("message", Uuid, nullable=False),
)
"""The same as partners say it of their cases: `item` is a reference into the vault, null if nobody is
excluded; `message` is the newest that said so."""
Index("ix_told_exclusion_case_ref", told_exclusion.c.case_ref)

safeguard = Table(
    "safeguard",
    metadata,
    Column("about", String(64), primary_key=True),
    Column("item", String(36), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
"""What protects the person of a case, by case number or by the business id of a referral: `item`
is a reference into the vault."""
