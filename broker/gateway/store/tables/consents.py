"""What allows a message: grants, agreements, exceptions."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Uuid,
)

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Participant, metadata

grant = Table(
    "grant",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sender", Participant, nullable=False),
    Column("recipient", Participant, nullable=False),
    Column("case_ref", String(64)),
    Column("statement", LargeBinary, nullable=False),
    Column("secret", String(200)),
    Column("record", String(200)),
    Column("valid_from", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("derived_from", Uuid),
    Column("state", String(12), nullable=False),
    Column("registered_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("withdrawn_at", UtcDateTime),
    Column("guardian_until", Date),
    Column("retain_until", Date),
    CheckConstraint("state IN ('live','narrowed','withdrawn','refused')", name="state"),
)
"""Grants we gave and grants given to us. `secret` (the grant key) and `record` lie in the vault."""
Index("ix_grant_derived_from", grant.c.derived_from)

_BY_GUARDIAN = grant.c.guardian_until.is_not(None)
Index(
    "ix_grant_guardian_until",
    grant.c.guardian_until,
    postgresql_where=_BY_GUARDIAN,
    sqlite_where=_BY_GUARDIAN,
)
"""Ours that a guardian agreed to, by the last day of childhood; `NOT_KNOWN` sorts last."""

_RETAINED = grant.c.retain_until.is_not(None)
Index(
    "ix_grant_retain_until",
    grant.c.retain_until,
    postgresql_where=_RETAINED,
    sqlite_where=_RETAINED,
)
"""Given to us, by the last day on which the person was told that we keep what came under it."""

grant_scope = Table(
    "grant_scope",
    metadata,
    Column("grant", ForeignKey("grant.id"), primary_key=True),
    Column("scope", String(22), primary_key=True),
    Column("purpose", String(24)),
    Column("section", String(40)),
    Column("removed_at", UtcDateTime),
)
"""The scopes of a grant. What a received one stands for is known once its record was unsealed."""

exception_request = Table(
    "exception_request",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("draft", String(200)),
    Column("case_ref", String(64), nullable=False),
    Column("code", String(30), nullable=False),
    Column("requested_by", String(64), nullable=False),
    Column("approved_by", String(64)),
    Column("message", Uuid),
    Column("review_by", UtcDateTime, nullable=False),
    Column("tell_by", UtcDateTime),
    Column("told_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime),
)

agreement = Table(
    "agreement",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("raw", LargeBinary, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
)

suspension = Table(
    "suspension",
    metadata,
    Column("agreement", Uuid, primary_key=True),
    Column("by", Participant, primary_key=True),
    Column("holds", Boolean, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
"""The last word of each who held an agreement; kept when the hub no longer tells of it."""
