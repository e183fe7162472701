"""Evidence: a signed statement by a hub or a gateway about envelopes; nothing in it is sealed.

Four facts are never mixed (I-6): *submitted* (the hub has it durably; the hub says so),
*delivered*, *filed* and *read* (the recipient's gateway says so). One evidence may state many
facts, so that a gateway under load signs once for a batch.

Each fact has a phase, a polarity and one who can know it (`NATURE`, after the events of ETSI EN
319 522-1, clause 6). Facts about one envelope may contradict each other: `winner` decides which
stands, whatever the order in which they arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
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
    UNRETRIEVED = "unretrieved"  # recipient's gateway: neither filed nor opened in time
    ERASED = "erased"  # recipient's gateway or hub, each of its own stores


class Phase(StrEnum):
    """Which step of an envelope's way a fact is about."""

    SUBMISSION = "submission"
    RELAY = "relay"
    DELIVERY = "delivery"
    RETRIEVAL = "retrieval"
    AFTERWARDS = "afterwards"
    """No step of its way: what became of copies, answers and numbers."""


class Polarity(StrEnum):
    """What a fact says of its phase."""

    ACCEPTANCE = "acceptance"
    """It took place."""
    REJECTION = "rejection"
    """Somebody would not have it."""
    FAILURE = "failure"
    """It was tried and cannot be done."""
    ABSENCE = "absence"
    """It did not take place in time (non-delivery, non-retrieval). It still may."""


class Witness(StrEnum):
    """Who can know a fact, and therefore who may sign it."""

    HUB = "hub"
    RECIPIENT = "recipient"
    """The gateway of the envelope's recipient."""


@dataclass(frozen=True, slots=True)
class Nature:
    """What kind of statement a fact is."""

    phase: Phase
    polarity: Polarity
    witnesses: frozenset[Witness]


_HUB = frozenset({Witness.HUB})
_RECIPIENT = frozenset({Witness.RECIPIENT})

NATURE: Mapping[Fact, Nature] = {
    Fact.SUBMITTED: Nature(Phase.SUBMISSION, Polarity.ACCEPTANCE, _HUB),
    # The hub's refuses a submission, the recipient's a delivery: `Witness` tells them apart.
    Fact.REFUSED: Nature(Phase.DELIVERY, Polarity.REJECTION, _HUB | _RECIPIENT),
    Fact.RELAYED: Nature(Phase.RELAY, Polarity.ACCEPTANCE, _HUB),
    Fact.STOPPED: Nature(Phase.RELAY, Polarity.REJECTION, _HUB),
    Fact.EXPIRED: Nature(Phase.RELAY, Polarity.FAILURE, _HUB),
    Fact.UNDELIVERED: Nature(Phase.DELIVERY, Polarity.ABSENCE, _HUB),
    Fact.DELIVERED: Nature(Phase.DELIVERY, Polarity.ACCEPTANCE, _RECIPIENT),
    Fact.FILED: Nature(Phase.RETRIEVAL, Polarity.ACCEPTANCE, _RECIPIENT),
    Fact.READ: Nature(Phase.RETRIEVAL, Polarity.ACCEPTANCE, _RECIPIENT),
    Fact.FAILED: Nature(Phase.RETRIEVAL, Polarity.FAILURE, _RECIPIENT),
    Fact.UNRETRIEVED: Nature(Phase.RETRIEVAL, Polarity.ABSENCE, _RECIPIENT),
    Fact.OVERDUE: Nature(Phase.AFTERWARDS, Polarity.ABSENCE, _HUB),
    Fact.TOMBSTONE: Nature(Phase.AFTERWARDS, Polarity.ACCEPTANCE, _HUB),
    # Each of its own stores.
    Fact.ERASED: Nature(Phase.AFTERWARDS, Polarity.ACCEPTANCE, _HUB | _RECIPIENT),
}

HUB_FACTS = frozenset(fact for fact, nature in NATURE.items() if Witness.HUB in nature.witnesses)
GATEWAY_FACTS = frozenset(
    fact for fact, nature in NATURE.items() if Witness.RECIPIENT in nature.witnesses
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
    EXPORTS = "exports"
    """What workers took out of the gateway: files they saved, pages they printed."""
    HUB_PAYLOAD = "hub-payload"
    QUEUE = "queue"
    SEALED = "sealed"
    """Copies of the envelope as it was sealed, wherever one lies: they open with the recipient's key."""
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


def is_basis(code: str) -> bool:
    """True if a copy may be said to be kept on this."""
    return re.fullmatch(KEPT_BASIS, code) is not None


class StoreErasure(WireModel):
    """One store and what became of the copy in it."""

    store: Store
    outcome: Erasure
    basis: Annotated[str, Field(pattern=KEPT_BASIS)] | None = None
    epoch: Annotated[int, Field(ge=1)] | None = None
    """For `backups`: what they hold of it opens until the key of this epoch is destroyed, and with
    `erased` says that it was."""


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


@dataclass(frozen=True, slots=True)
class Stated:
    """One fact about an envelope, with who stated it in which evidence."""

    fact: Fact
    by: Witness
    at: datetime
    evidence: UUID
    code: str | None = None


def winner(stated: Iterable[Stated]) -> Stated | None:
    """The statement that stands among all that were ever made about an envelope.

    The strongest fact; of the same fact the recipient's word before the hub's, then the earlier,
    then the smaller id: so that everybody who has the same statements names the same one, in
    whatever order they came. None if none of them is a state of an envelope.
    """
    able = [one for one in stated if one.fact in _STRENGTH]
    return min(able, key=_before, default=None)


_STRENGTH = {fact: place for place, fact in enumerate(PRECEDENCE)}


def _before(one: Stated) -> tuple[int, bool, datetime, UUID, str]:
    return _STRENGTH[one.fact], one.by is Witness.HUB, one.at, one.evidence, one.code or ""
