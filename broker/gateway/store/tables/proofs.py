"""What was stated under signature, by others and by us, and what opens our own leaves."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    Uuid,
)

from broker.database import UtcDateTime
from broker.gateway.store.tables.columns import Code, Participant, Serial, Sha, metadata

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
