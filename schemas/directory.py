"""The trust directory: whose key is whose, and what may be said about it.

A target `<cc>/<name>.json` of the TUF repository is one `Participant`, published by its own
country; `hub/<name>.json` is a hub, published by the top-level targets role.
`TrustedDirectory` is what `keys.trust` makes of a repository that verified; nobody else makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Instant, KeyId, ParticipantId, ShortText, WireModel


class OrganisationKind(StrEnum):
    """GDPR Art 49(3) makes the transfer basis depend on it."""

    STATE = "state"
    INTERNATIONAL = "international-organisation"
    NGO = "ngo"
    HUB = "hub"


class Function(StrEnum):
    """What a participant does in its country's mechanism."""

    NRM = "nrm"
    COORDINATOR = "coordinator"
    RAPPORTEUR = "rapporteur"
    POLICE = "police"
    PROSECUTOR = "prosecutor"
    SOCIAL_PROTECTION = "social-protection"
    GUARDIAN_AUTHORITY = "guardian-authority"
    SHELTER = "shelter"
    SERVICE = "service"
    HUB = "hub"


AUTHORITIES = frozenset({Function.NRM, Function.COORDINATOR})
"""Functions that speak for their country: they take back a grant at the person's word, and say that
a key of their country is compromised."""


class Compartment(StrEnum):
    """Who inside the recipient may open a part; each has a key of its own."""

    CASEWORK = "casework"
    HEALTH = "health"
    JUSTICE = "justice"


class KeyUse(StrEnum):
    """What a key may be used for; never two uses for one key."""

    SIGN = "sign"
    SEAL = "seal"
    LOG = "log"


class KeyStatus(StrEnum):
    """Life of a key, as published."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"
    COMPROMISED = "compromised"


TOP_ROLES = frozenset({"root", "targets", "snapshot", "timestamp"})
"""Roles of the directory without which nothing of it counts."""
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{3}$")]


class PublishedKey(WireModel):
    """One public key with its use, suite and validity."""

    kid: KeyId
    use: KeyUse
    suite: Literal[1, 2]
    alg: str
    """The one algorithm that this key may be used with (RFC 8725, 3.1)."""
    jwk: dict[str, str]
    """Public JWK members (RFC 7517); `AKP` for the hybrid key."""
    compartment: Compartment | None = None
    """For `seal` keys."""
    status: KeyStatus
    not_before: Instant
    not_after: Instant

    def is_current(self, now: datetime) -> bool:
        """True if the key may be used for something new at `now`."""
        return self.status is KeyStatus.ACTIVE and self.not_before <= now < self.not_after

    def may_verify(self, now: datetime) -> bool:
        """True if a signature made by this key and received now is accepted.

        A retired key verifies until its `not_after`, so that what was under way arrives.
        """
        return (
            self.status in (KeyStatus.ACTIVE, KeyStatus.RETIRED)
            and self.not_before <= now < self.not_after
        )

    def begins_later(self, now: datetime) -> bool:
        """True if nothing but the time keeps it from verifying: by another clock it may already."""
        return now < self.not_before and self.may_verify(self.not_before)


class EntryPoint(WireModel):
    """How somebody outside the network reaches a focal point: a telephone that is answered, and when.
    Published by its country and shown to everybody, so nothing about a person has a place in it."""

    telephone: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{3,14}$")]
    hours: ShortText
    """As people there read it, with the time zone if it is not the country's only one."""
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1, max_length=20)]
    """ISO 639-3."""


class Participant(WireModel):
    """One entry of the directory. Changes rarely; says nothing about any person of concern."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    id: ParticipantId
    name: ShortText
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    kind: OrganisationKind
    function: Function
    hosted_by: ParticipantId | None = None
    suites: Annotated[tuple[Literal[1, 2], ...], Field(min_length=1)]
    versions: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    compartments: tuple[Compartment, ...] = (Compartment.CASEWORK,)
    suspended: bool = False
    log_vkey: str | None = None
    """For a hub, and for a witness: C2SP signed-note verifier key."""
    url: str | None = None
    """For a hub."""
    entry_point: EntryPoint | None = None
    keys: Annotated[tuple[PublishedKey, ...], Field(min_length=1, max_length=32)]
    entry_issued_at: Instant

    def can_sign(self, now: datetime) -> bool:
        """True if it has a signing key in force: if not, nobody can tell it from a thief."""
        return any(key.use is KeyUse.SIGN and key.is_current(now) for key in self.keys)

    def sealing_keys(self, now: datetime, suite: int) -> dict[Compartment, PublishedKey]:
        """The newest current key of each compartment for one suite."""
        found: dict[Compartment, PublishedKey] = {}
        for key in sorted(self.keys, key=lambda k: k.not_before):
            if (
                key.use is KeyUse.SEAL
                and key.suite == suite
                and key.compartment is not None
                and key.is_current(now)
            ):
                found[key.compartment] = key
        return found


@dataclass(frozen=True)
class TrustedDirectory:
    """A snapshot that the TUF client verified. Made by `keys.trust` only; replaced as a whole."""

    version: int
    """Snapshot version: caches are keyed by it, and each version's hash is a leaf of the log."""
    digest: bytes
    participants: dict[ParticipantId, Participant]
    fetched_at: datetime
    by_kid: dict[KeyId, tuple[Participant, PublishedKey]] = field(default_factory=dict)
    root_version: int = 1
    role_ends: dict[str, datetime] = field(default_factory=dict)
    """By role, a country's included: when it is believed no more unless its keepers sign it anew."""
    compromised_since: dict[KeyId, datetime] = field(default_factory=dict)
    """Of keys that a revocation names. A compromised key without a date was always another's."""

    @property
    def order(self) -> int:
        """Which of two directories is the newer one.

        The root comes first: whoever steals the online key can push `version` as far as it goes,
        and only a new root, with a new online key, makes an honest one count again.
        """
        return self.root_version * 2**40 + self.version

    @property
    def ends_at(self) -> datetime:
        """From when on nobody may believe it: the first of its top roles has run out. A country's
        role that runs out takes its own entries with it, at the next refresh."""
        ends = [end for role, end in self.role_ends.items() if role in TOP_ROLES]
        return min(ends, default=datetime.max.replace(tzinfo=UTC))

    def participant(self, participant: ParticipantId) -> Participant | None:
        """The entry, or None."""
        return self.participants.get(participant)

    def key(self, kid: KeyId) -> tuple[Participant, PublishedKey] | None:
        """The key and whose it is, or None."""
        return self.by_kid.get(kid)

    def revoking(self, since: Mapping[KeyId, datetime]) -> TrustedDirectory:
        """The same directory, in which these keys are compromised."""
        here = {kid: moment for kid, moment in since.items() if kid in self.by_kid}
        if not here:
            return self
        changed = dict(self.participants)
        for owner in {self.by_kid[kid][0].id for kid in here}:
            keys = tuple(
                key.model_copy(update={"status": KeyStatus.COMPROMISED}) if key.kid in here else key
                for key in changed[owner].keys
            )
            changed[owner] = changed[owner].model_copy(update={"keys": keys})
        return replace(
            self,
            participants=changed,
            by_kid={key.kid: (entry, key) for entry in changed.values() for key in entry.keys},
            compromised_since={**self.compromised_since, **here},
        )
