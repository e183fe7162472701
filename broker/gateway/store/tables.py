"""The gateway's tables.

Content about a person lies in the vault's tables alone, encrypted; here are ids, states, times
and bytes that are sealed to somebody else.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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
    Text,
    UniqueConstraint,
    Uuid,
    false,
)

from broker.audit.log.store import log_tables
from broker.database import UtcDateTime, new_metadata
from broker.gateway.store.case_tables import case_tables
from broker.gateway.store.rights_tables import disclosure_table, notice_table, rights_tables
from broker.gateway.store.statistics_tables import statistics_tables
from broker.gateway.store.vault_tables import vault_tables

metadata = new_metadata()
Serial = BigInteger().with_variant(Integer, "sqlite")
Participant = String(66)
Sha = String(43)
Code = String(40)

log = log_tables(metadata)
"""The gateway's own log of what it decided."""
vault = vault_tables(metadata)

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

stream = Table(
    "stream",
    metadata,
    Column("recipient", Participant, primary_key=True),
    Column("lane", String(8), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)

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

outbox_attachment = Table(
    "outbox_attachment",
    metadata,
    Column("message", ForeignKey("outbox.id"), primary_key=True),
    Column("digest", Sha, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("uploaded_at", UtcDateTime),
)
"""Sealed files that must be at the hub before their envelope is."""

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
)

fact = Table(
    "fact",
    metadata,
    Column("envelope", Uuid, primary_key=True),
    Column("fact", String(12), primary_key=True),
    Column("by", Participant, primary_key=True),
    Column("code", Code),
    Column("at", UtcDateTime, nullable=False),
    Column("evidence", ForeignKey("evidence.id"), nullable=False),
)
"""What was stated, under signature, about what we sent."""

evidence = Table(
    "evidence",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("by", Participant, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

receipt = Table(
    "receipt",
    metadata,
    Column("position", Serial, primary_key=True),
    Column("recipient", Participant, nullable=False),
    Column("envelope", Uuid, nullable=False),
    Column("digest", Sha, nullable=False),
    Column("fact", String(12), nullable=False),
    Column("code", Code),
    Column("erasures", Text),
    Column("at", UtcDateTime, nullable=False),
    Column("packet", ForeignKey("receipt_packet.id")),
)
"""Facts that we owe a sender; written with the thing they state, signed later in batches."""
Index(
    "ix_receipt_unpacked",
    receipt.c.position,
    postgresql_where=receipt.c.packet.is_(None),
    sqlite_where=receipt.c.packet.is_(None),
)
Index("ix_receipt_envelope", receipt.c.envelope)

receipt_packet = Table(
    "receipt_packet",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recipient", Participant, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('queued','sent','failed')", name="state"),
)
"""One signed evidence with many facts, stored before it is sent."""
Index(
    "ix_receipt_packet_due",
    receipt_packet.c.next_attempt_at,
    postgresql_where=receipt_packet.c.state == "queued",
    sqlite_where=receipt_packet.c.state == "queued",
)

opening = Table(
    "opening",
    metadata,
    Column("leaf", Sha, primary_key=True),
    Column("event", String(30), nullable=False),
    Column("about", Uuid),
    Column("salt", LargeBinary, nullable=False),
    Column("subject", LargeBinary, nullable=False),
)
"""What links our own leaves to their subjects; destroying a salt unlinks the leaf."""
Index("ix_opening_about", opening.c.about)

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

worker = Table(
    "worker",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("token_hash", Sha, nullable=False, unique=True),
    Column("may_know", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("removed_at", UtcDateTime),
)

withdrawal = Table(
    "withdrawal",
    metadata,
    Column("message", Uuid, primary_key=True),
    Column("grant", Uuid, nullable=False),
    Column("digest", Sha, nullable=False),
    Column("by", Participant, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("onward_due", Boolean, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('stopped','erased')", name="state"),
)
"""A withdrawal to carry out here: the stop is in force at once, erasing is work that survives a
crash, and nothing is attested before it is done. `onward_due`: somebody to whom we passed the data
on has attested since, and whoever we had it from is still to be told."""
Index(
    "ix_withdrawal_due",
    withdrawal.c.next_attempt_at,
    postgresql_where=withdrawal.c.state == "stopped",
    sqlite_where=withdrawal.c.state == "stopped",
)

erasure = Table(
    "erasure",
    metadata,
    Column("grant", Uuid, primary_key=True),
    Column("by", Participant, primary_key=True),
    Column("store", String(12), primary_key=True),
    Column("outcome", String(8), nullable=False),
    Column("basis", String(64)),
    Column("epoch", Integer),
    Column("at", UtcDateTime, nullable=False),
    Column("message", Uuid, nullable=False),
)
"""Who attested what of which store, under signature."""

exclusion = Table(
    "exclusion",
    metadata,
    Column("about", String(64), primary_key=True),
    Column("participant", Participant, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)
"""Whom a person wants nothing to reach: by case number, or by the business id of a referral."""

safeguard = Table(
    "safeguard",
    metadata,
    Column("about", String(64), primary_key=True),
    Column("item", String(36), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
"""What protects the person of a case, by case number or by the business id of a referral: `item`
is a reference into the vault."""

case_news, case_told, case_cursor, case_report = case_tables(metadata)
"""What passes between the case system and the exchange after the filing."""

disclosure = disclosure_table(metadata)
"""Who got what of whom, on which basis; see `broker.gateway.rights.ledger`."""

right_told, restriction = rights_tables(metadata)
"""Of whom a person's rights were asked, and what is kept and not used."""

notice = notice_table(metadata)
"""What a person is still to be told of her case."""

publication = statistics_tables(metadata)
"""What was published of the statistics, figure by figure, as JSON; what is held back is null."""
