"""The hub's tables. Nothing here can be read as a case: ids, digests, times, sealed bytes.

`delivery` is a queue: its rows are deleted when their work is done, so that its size follows
what is under way and not what ever was. `envelope` keeps one row per accepted id until the id
may be forgotten; `evidence` is what remains for proof.

On PostgreSQL `payload`, `attachment_chunk` and `quarantine` are partitioned by time, so that their
room is given back by dropping (`broker.hub.store.partitions`). Only the migrations say so: the key
that a partition is chosen by belongs to the primary key there.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from broker.audit.log.store import log_tables
from broker.database import UtcDateTime, new_metadata

METADATA = new_metadata()
LOG = log_tables(METADATA)

_SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY."""

ENVELOPE = Table(
    "envelope",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sender", String(67), nullable=False),
    Column("recipient", String(67), nullable=False),
    Column("lane", String(8), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("thread", Uuid, nullable=False),
    # What the rules need again at hand-over, so that a waiting envelope is not parsed twice.
    Column("suite", SmallInteger, nullable=False),
    Column("reply", Boolean, nullable=False),
    Column("grant_id", Uuid),
    Column("until", Date),
    Column("agreement_id", Uuid),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("incarnation", String(22), nullable=False),
    Column("stream_number", BigInteger, nullable=False),
    Column("signed_by", String(43), nullable=False),
    Column("directory_version", BigInteger, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # The strongest fact so far, as its place in `schemas.evidence.PRECEDENCE` (0 is strongest).
    Column("standing", SmallInteger, nullable=False),
    Column("standing_at", UtcDateTime, nullable=False),
    # The next moment at which silence means something; NULL once nothing more is awaited.
    Column("check_at", UtcDateTime),
    Column("evidence_id", Uuid, nullable=False),  # `submitted`
    UniqueConstraint("sender", "recipient", "lane", "incarnation", "stream_number"),
)
Index(
    "ix_envelope_check_at",
    ENVELOPE.c.check_at,
    postgresql_where=ENVELOPE.c.check_at.is_not(None),
    sqlite_where=ENVELOPE.c.check_at.is_not(None),
)
Index("ix_envelope_expires_at", ENVELOPE.c.expires_at)

PAYLOAD = Table(
    "payload",
    METADATA,
    # What goes when nobody is handed it any more: delivered long ago, stopped, expired.
    Column("envelope_id", Uuid, primary_key=True),
    Column("kept_at", UtcDateTime, primary_key=True),  # says the partition: see `payload.carry_on`
    Column("raw", LargeBinary, nullable=False),
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("to_keys", Text, nullable=False),  # separated by spaces
)

DELIVERY = Table(
    "delivery",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("recipient", String(67), nullable=False),
    Column("lane", String(8), nullable=False),
    Column("item", String(8), nullable=False),  # envelope | passing | evidence
    Column("object_id", Uuid, nullable=False),
    Column("grant_id", Uuid),
    Column("due_at", UtcDateTime, nullable=False),  # also the end of a lease
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("relayed", Boolean, nullable=False, server_default=text("false")),
)
Index("ix_delivery_recipient", DELIVERY.c.recipient, DELIVERY.c.lane, DELIVERY.c.id)
# What passes a full window is found without walking over all that waits behind it.
Index(
    "ix_delivery_passing",
    DELIVERY.c.recipient,
    DELIVERY.c.lane,
    DELIVERY.c.id,
    postgresql_where=DELIVERY.c.item != "envelope",
    sqlite_where=DELIVERY.c.item != "envelope",
)
Index("ix_delivery_object_id", DELIVERY.c.object_id)
Index(
    "ix_delivery_grant_id",
    DELIVERY.c.grant_id,
    postgresql_where=DELIVERY.c.grant_id.is_not(None),
    sqlite_where=DELIVERY.c.grant_id.is_not(None),
)

EVIDENCE = Table(
    "evidence",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("by", String(67), nullable=False),
    Column("to", String(67)),
    Column("raw", LargeBinary, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("directory_version", BigInteger, nullable=False),
    # What opens the leaf of this evidence: only parties are told.
    Column("leaf", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
)
Index("ix_evidence_recorded_at", EVIDENCE.c.recorded_at)

OPENING = Table(
    "opening",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    # As `evidence` has them, for the leaves about anything else.
    Column("leaf", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("subject", LargeBinary, nullable=False),
    Column("statement", LargeBinary),  # as it was signed; NULL for what is sealed, or elsewhere
    Column("parties", Text, nullable=False),  # separated by spaces
    Column("grant_id", Uuid),  # destroyed with this grant
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("ix_opening_grant_id", OPENING.c.grant_id)
Index("ix_opening_recorded_at", OPENING.c.recorded_at)

FACT = Table(
    "fact",
    METADATA,
    Column("envelope_id", Uuid, primary_key=True),
    Column("evidence_id", Uuid, primary_key=True),
    Column("fact", String(12), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("code", String(40)),
)

GRANT = Table(
    "consent_grant",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("raw", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("giver", String(67), nullable=False),
    Column("recipient", String(67), nullable=False),
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("removed", Text, nullable=False, server_default=text("''")),
    Column("valid_from", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("derived_from", Uuid),
    Column("withdrawn", Boolean, nullable=False, server_default=text("false")),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
Index("ix_consent_grant_derived_from", GRANT.c.derived_from)

GRANT_CHANGE = Table(
    "grant_change",
    METADATA,
    Column("cursor", _SERIAL, primary_key=True, autoincrement=True),
    Column("grant_id", Uuid, ForeignKey("consent_grant.id"), nullable=False),
    Column("raw", LargeBinary, nullable=False),  # the withdrawal, kept as long as the grant
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("ix_grant_change_grant_id", GRANT_CHANGE.c.grant_id)

AGREEMENT = Table(
    "agreement",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("raw", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("one", String(67), nullable=False),
    Column("other", String(67), nullable=False),
    Column("lanes", String(20), nullable=False),  # separated by spaces
    Column("valid_from", Date, nullable=False),
    Column("valid_until", Date, nullable=False),
    # True while any party holds it suspended: said here too, since this row is the lock.
    Column("suspended", Boolean, nullable=False, server_default=text("false")),
    Column("registered_at", UtcDateTime, nullable=False),
)
Index("ix_agreement_one", AGREEMENT.c.one)
Index("ix_agreement_other", AGREEMENT.c.other)

SUSPENSION = Table(
    "suspension",
    METADATA,
    # The last word of each who said anything about holding it.
    Column("agreement_id", Uuid, ForeignKey("agreement.id"), primary_key=True),
    Column("by", String(67), primary_key=True),
    Column("suspended", Boolean, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
)

OBLIGATION = Table(
    "obligation",
    METADATA,
    Column("request_id", Uuid, primary_key=True),
    Column("thread", Uuid, nullable=False),
    Column("asked_by", String(67), nullable=False),
    Column("owed_by", String(67), nullable=False),
    Column("grant_id", Uuid),
    Column("state", String(10), nullable=False),  # asked | answered | overdue | withdrawn
    Column("answer_by", UtcDateTime),
    Column("paused_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    # When the loop must look; NULL once answered, withdrawn, overdue or paused.
    Column("check_at", UtcDateTime),
    # After this the row may be forgotten with its envelope.
    Column("expires_at", UtcDateTime, nullable=False),
)
Index("ix_obligation_thread", OBLIGATION.c.thread)
Index("ix_obligation_expires_at", OBLIGATION.c.expires_at)
Index(
    "ix_obligation_grant_id",
    OBLIGATION.c.grant_id,
    postgresql_where=OBLIGATION.c.state.in_(("asked", "overdue")),
    sqlite_where=OBLIGATION.c.state.in_(("asked", "overdue")),
)
Index(
    "ix_obligation_check_at",
    OBLIGATION.c.check_at,
    postgresql_where=OBLIGATION.c.check_at.is_not(None),
    sqlite_where=OBLIGATION.c.check_at.is_not(None),
)

STREAM = Table(
    "stream",
    METADATA,
    # Only what retention folded away; newer numbers are those of `envelope`.
    Column("sender", String(67), primary_key=True),
    Column("recipient", String(67), primary_key=True),
    Column("lane", String(8), primary_key=True),
    Column("incarnation", String(22), primary_key=True),
    Column("highest", BigInteger, nullable=False),
    Column("folded_at", UtcDateTime, nullable=False),
)

STREAM_MARK = Table(
    "stream_mark",
    METADATA,
    Column("sender", String(67), primary_key=True),
    Column("recipient", String(67), primary_key=True),
    Column("lane", String(8), primary_key=True),
    Column("incarnation", String(22), primary_key=True),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)
"""How far a stream has gone, by its sender's signed word; the newest."""

PARTICIPANT = Table(
    "participant",
    METADATA,
    Column("id", String(67), primary_key=True),
    Column("incarnation", String(22)),
    Column("incarnation_until", UtcDateTime),
    Column("channel", String(8), nullable=False, server_default=text("'mailbox'")),
    # Each next one is another password for the participant's RabbitMQ user.
    Column("access", Integer, nullable=False, server_default=text("0")),
    Column("seen_at", UtcDateTime, nullable=False),
)

DIRECTORY = Table(
    "directory_version",
    METADATA,
    # One row: the newest directory that any process of this hub has seen.
    Column("one", SmallInteger, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("revocations", BigInteger, nullable=False, server_default="0"),
)

REVOCATION = Table(
    "revocation",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Uuid, nullable=False, unique=True),
    Column("participant", String(67), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
"""Keys that were said to be in other hands, in the order in which it was said."""

TESTIMONY = Table(
    "log_testimony",
    METADATA,
    Column("origin", String(200), primary_key=True),
    Column("participant", String(67), primary_key=True),
    Column("size", BigInteger, nullable=False),  # of the head; 0 where it is evidence
    Column("raw", LargeBinary, nullable=False),
    Column("heard_at", UtcDateTime, nullable=False),
)
"""What this hub has signed and does not have: one of each participant that has shown us."""

LOG_ENDED = Table(
    "log_ended",
    METADATA,
    Column("origin", String(200), primary_key=True),
    Column("ended_at", UtcDateTime, nullable=False),
)
"""Logs of this hub that were ended for another: what was signed before is no news any more."""

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("claimed_kid", String(43), nullable=False),
    Column("claimed_by", String(67), nullable=False),
    Column("code", String(40), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("ix_quarantine_recorded_at", QUARANTINE.c.recorded_at)

ATTACHMENT = Table(
    "attachment",
    METADATA,
    Column("digest", String(43), primary_key=True),
    Column("uploader", String(67), primary_key=True),
    Column("upload", Uuid, nullable=False),
    Column("size", Integer, nullable=False),
    Column("uploaded_at", UtcDateTime, nullable=False),
)
Index("ix_attachment_uploaded_at", ATTACHMENT.c.uploaded_at)

ATTACHMENT_CHUNK = Table(
    "attachment_chunk",
    METADATA,
    Column("upload", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
)
Index("ix_attachment_chunk_stored_at", ATTACHMENT_CHUNK.c.stored_at)

ATTACHMENT_LINK = Table(
    "attachment_link",
    METADATA,
    Column("envelope_id", Uuid, ForeignKey("envelope.id"), primary_key=True),
    Column("digest", String(43), primary_key=True),
    Column("scope", String(22)),
    # Under which consent it goes; null for what nothing may hold back.
    Column("grant_id", Uuid),
)
Index("ix_attachment_link_digest", ATTACHMENT_LINK.c.digest)
Index("ix_attachment_link_grant_id", ATTACHMENT_LINK.c.grant_id)
