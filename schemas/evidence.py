"""Evidence: a signed statement by a hub or a gateway about envelopes; nothing in it is sealed.

Four facts are never mixed (I-6): *submitted* (the hub has it durably; the hub says so),
*delivered*, *filed* and *read* (the recipient's gateway says so). One evidence may state many
facts, so that a gateway under load signs once for a batch.

The rules of polarity and precedence: `PRECEDENCE` decides which of two contradicting facts
about one envelope stands, whatever the order in which they arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from schemas.base import Digest, Instant, KeyId, ParticipantId, WireModel

EVIDENCE_TYP = "referral-evidence+jws"
MAX_FACTS = 256


class Fact(StrEnum):
    """What is stated. The comment says who can know it."""

    SUBMITTED = "submitted"  # hub
    REFUSED = "refused"  # hub, or recipient's gateway (`by` tells)
    RELAYED = "relayed"  # hub
    STOPPED = "stopped"  # hub: not handed over, because consent, agreement or key ended
    EXPIRED = "expired"  # hub
    UNDELIVERED = "undelivered"  # hub: no delivery evidence in time
    OVERDUE = "overdue"  # hub: no answer to this request in time; says nothing about its delivery
    TOMBSTONE = "tombstone"  # hub: this stream number was consumed without delivery; no reason
    DELIVERED = "delivered"  # recipient's gateway
    FILED = "filed"  # recipient's gateway
    READ = "read"  # recipient's gateway
    FAILED = "failed"  # recipient's gateway: final, could not be filed
    ERASED = "erased"  # recipient's gateway, store by store


HUB_FACTS = frozenset(
    {
        Fact.SUBMITTED,
        Fact.REFUSED,
        Fact.RELAYED,
        Fact.STOPPED,
        Fact.EXPIRED,
        Fact.UNDELIVERED,
        Fact.OVERDUE,
        Fact.TOMBSTONE,
    }
)
GATEWAY_FACTS = frozenset(
    {Fact.REFUSED, Fact.DELIVERED, Fact.FILED, Fact.READ, Fact.FAILED, Fact.ERASED}
)

PRECEDENCE: tuple[Fact, ...] = (
    Fact.READ,
    Fact.FILED,
    Fact.FAILED,
    Fact.DELIVERED,
    Fact.REFUSED,
    Fact.STOPPED,
    Fact.EXPIRED,
    Fact.UNDELIVERED,
    Fact.RELAYED,
    Fact.SUBMITTED,
)
"""Strongest first. What the recipient knows outranks what the hub could not see: a receipt that
arrives at the deadline wins over `undelivered`."""


class Store(StrEnum):
    """Where a copy of a case can lie."""

    VAULT = "vault"
    CASE_SYSTEM = "case-system"
    ONWARD = "onward"
    HUB_PAYLOAD = "hub-payload"
    QUEUE = "queue"
    BACKUPS = "backups"


class Erasure(StrEnum):
    """What is said of one store."""

    ERASED = "erased"
    KEPT = "kept"  # on a named basis
    UNKNOWN = "unknown"


KEPT_BASIS = (
    r"^(legal-obligation|legal-claims|vital-interests|public-health|archiving|national-law)$"
)
"""On which of these a copy is kept (GDPR Art 17(3), Art 6(1)(d), or the keeper's own law). A code and
never a text: evidence is not sealed, so nothing about a person may fit in."""


class StoreErasure(WireModel):
    """One store and what became of the copy in it."""

    store: Store
    outcome: Erasure
    basis: Annotated[str, Field(pattern=KEPT_BASIS)] | None = None


class FactStatement(WireModel):
    """One fact about one envelope."""

    fact: Fact
    envelope: UUID
    digest: Digest
    """SHA-256 of the envelope's signed payload."""
    at: Instant
    code: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """For `refused`, `stopped`, `failed`: a code of `schemas.errors`."""
    stream_number: Annotated[int, Field(ge=1)] | None = None
    """For `tombstone`."""
    erasures: tuple[StoreErasure, ...] = ()
    """For `erased`: store by store."""


class Evidence(WireModel):
    """The payload of an evidence JWS."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    id: UUID
    by: ParticipantId
    to: ParticipantId | None = None
    """The participant that it is for: the envelope's sender, or null for the log alone."""
    issued_at: Instant
    facts: Annotated[tuple[FactStatement, ...], Field(min_length=1, max_length=MAX_FACTS)]


@dataclass(frozen=True, slots=True)
class VerifiedEvidence:
    """Signed by a key that the directory gives to `content.by`. Made by `keys.signing` only."""

    raw: bytes
    signed_by: KeyId
    content: Evidence


def standing(facts: set[Fact]) -> Fact | None:
    """The one fact that stands among all that were stated about an envelope."""
    return next((fact for fact in PRECEDENCE if fact in facts), None)
