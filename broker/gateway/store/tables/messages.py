"""What is sent and what came, with the streams that number it; every byte is sealed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    false,
)

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Code, Participant, Serial, Sha, metadata

stream = Table(
    "stream",
    metadata,
    Column("recipient", Participant, primary_key=True),
    Column("lane", String(8), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False, server_default="0"),
)
"""`base`: up to there, numbers belong to earlier incarnations of this database."""

outbox = Table(
    "outbox",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("business_id", Uuid, nullable=False),
    Column("thread", Uuid, nullable=False),
    Column("in_reply_to", Uuid),
    Column("type", String(60), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("recipient", Participant, nullable=False),
    Column("lane", String(8), nullable=False),
    Column("stream_number", BigInteger, nullable=False),
    Column("grant", Uuid),
    Column("case_ref", String(64), nullable=False),
    Column("urgency", String(12), nullable=False),
    Column("derived_from", Uuid),
    Column("envelope", LargeBinary, nullable=False),
    Column("digest", Sha, nullable=False),
    Column("state", String(12), nullable=False),
    Column("code", Code),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("hard_stop_at", UtcDateTime, nullable=False),
    Column("receipt_by", UtcDateTime, nullable=False),
    Column("answer_by", UtcDateTime),
    Column("look_at", UtcDateTime),
    Column("submitted_at", UtcDateTime),
    Column("request", Sha),
    CheckConstraint(
        "state IN ('queued','sending','submitted','relayed','delivered','filed','read',"
        "'refused','stopped','expired','undelivered','failed')",
        name="state",
    ),
    UniqueConstraint("recipient", "lane", "stream_number", name="uq_outbox_stream"),
)
"""What we sent: the exact bytes, stored before the first attempt and resent as they are. `request`
is a keyed digest of what the worker asked for, null if it named no business id. `look_at`: until then
nothing about the answer can change by time alone; null once it is settled or overdue."""
Index(
    "ix_outbox_due",
    outbox.c.next_attempt_at,
    postgresql_where=outbox.c.state.in_(("queued", "sending")),
    sqlite_where=outbox.c.state.in_(("queued", "sending")),
)
Index("ix_outbox_grant", outbox.c.grant)
Index("ix_outbox_thread", outbox.c.thread)
Index("ix_outbox_business_id", outbox.c.business_id)
Index(
    "ix_outbox_unreceipted",
    outbox.c.receipt_by,
    postgresql_where=outbox.c.state.in_(
        ("queued", "sending", "submitted", "relayed", "undelivered")
    ),
    sqlite_where=outbox.c.state.in_(("queued", "sending", "submitted", "relayed", "undelivered")),
)
Index(
    "ix_outbox_unfiled",
    outbox.c.type,
    outbox.c.created_at,
    postgresql_where=outbox.c.state.in_(("delivered", "read")),
    sqlite_where=outbox.c.state.in_(("delivered", "read")),
)
Index(
    "ix_outbox_look_at",
    outbox.c.look_at,
    postgresql_where=outbox.c.look_at.is_not(None),
    sqlite_where=outbox.c.look_at.is_not(None),
)

doubt = Table(
    "doubt",
    metadata,
    Column("message", Uuid, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
)
"""What we gave up sending without the hub's word: it may have been accepted. An outcome of its own
until the hub is asked; the row goes with the answer."""

outbox_attachment = Table(
    "outbox_attachment",
    metadata,
    Column("message", ForeignKey("outbox.id"), primary_key=True),
    Column("digest", Sha, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("uploaded_at", UtcDateTime),
)
"""Sealed files that must be at the hub before their envelope is."""

stream_in = Table(
    "stream_in",
    metadata,
    Column("sender", Participant, primary_key=True),
    Column("lane", String(8), primary_key=True),
    Column("incarnation", String(22), primary_key=True),
    Column("upto", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""Up to which number of each stream to us everything that the hub accepted has come, or was closed."""

seen = Table(
    "seen",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("digest", Sha, nullable=False),
    Column("sender", Participant, nullable=False),
    Column("outcome", String(12), nullable=False),
    Column("code", Code),
    Column("at", UtcDateTime, nullable=False),
    Column("forget_after", UtcDateTime, nullable=False),
)
"""Every envelope with a final verdict: the id decides whether a copy is a copy. Written in the
transaction that also does what the verdict says, so that `seen` never runs ahead of `done`."""
Index("ix_seen_forget_after", seen.c.forget_after)

inbox = Table(
    "inbox",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("business_id", Uuid, nullable=False),
    Column("thread", Uuid, nullable=False),
    Column("in_reply_to", Uuid),
    Column("type", String(60), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("sender", Participant, nullable=False),
    Column("lane", String(8), nullable=False),
    Column("grant", Uuid),
    Column("case_ref", String(64), nullable=False),
    Column("recipient_case_ref", String(64)),
    Column("digest", Sha, nullable=False),
    Column("content", String(200)),
    Column("state", String(12), nullable=False),
    Column("code", Code),
    Column("reference", String(200)),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("filed_at", UtcDateTime),
    Column("opened_at", UtcDateTime),
    Column("answer_by", UtcDateTime),
    Column("look_at", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("derived_from", Uuid),
    Column("erased_at", UtcDateTime),
    Column("erased_about", Uuid),
    Column("signed_by", Sha),
    Column("supersedes", Uuid),
    Column("in_part", Boolean, nullable=False, server_default=false()),
    CheckConstraint(
        "state IN ('delivered','filing','filed','kept','held','failed','stopped','erased')",
        name="state",
    ),
)
"""What reached us and was stored. `content` is a reference into the vault. `kept` needs no filing;
`held` waits for a person, because it is not known whether the case system has it."""
Index(
    "ix_inbox_due",
    inbox.c.next_attempt_at,
    postgresql_where=inbox.c.state.in_(("delivered", "filing")),
    sqlite_where=inbox.c.state.in_(("delivered", "filing")),
)
Index("ix_inbox_grant", inbox.c.grant)
Index("ix_inbox_thread", inbox.c.thread)
Index("ix_inbox_business_id", inbox.c.business_id)
Index("ix_inbox_received_at", inbox.c.received_at)
_UNRETRIEVED = inbox.c.state.in_(("delivered", "filing", "held")) & inbox.c.opened_at.is_(None)
Index(
    "ix_inbox_unretrieved",
    inbox.c.received_at,
    postgresql_where=_UNRETRIEVED,
    sqlite_where=_UNRETRIEVED,
)
Index(
    "ix_inbox_look_at",
    inbox.c.look_at,
    postgresql_where=inbox.c.look_at.is_not(None),
    sqlite_where=inbox.c.look_at.is_not(None),
)
Index("ix_inbox_case_ref", inbox.c.case_ref)
for _name in ("reference", "recipient_case_ref"):
    # Most have none; by these a case here is found again under its partner's name.
    Index(
        f"ix_inbox_{_name}",
        inbox.c[_name],
        postgresql_where=inbox.c[_name].is_not(None),
        sqlite_where=inbox.c[_name].is_not(None),
    )

inbox_section = Table(
    "inbox_section",
    metadata,
    Column("message", ForeignKey("inbox.id"), primary_key=True),
    Column("section", String(40), primary_key=True),
    Column("purpose", String(24), nullable=False),
    Column("scope", String(22)),
    Column("content", String(200)),
)
"""Which sections a message brought, each with its own key in the vault."""

inbox_attachment = Table(
    "inbox_attachment",
    metadata,
    Column("message", ForeignKey("inbox.id"), primary_key=True),
    Column("digest", Sha, primary_key=True),
    Column("section", String(40), nullable=False),
    Column("scope", String(22)),
    Column("key", String(200), nullable=False),
    Column("state", String(12), nullable=False),
    Column("content", String(200)),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("raw", LargeBinary, nullable=False),
    Column("raw_digest", Sha, nullable=False, unique=True),
    Column("message", Uuid),
    Column("claimed_sender", Participant),
    Column("code", Code, nullable=False),
    Column("channel", String(12), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
"""Suspect bytes as they came, still sealed; for a person to look at."""
