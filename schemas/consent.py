"""Consent: the person's record (sealed), the grant (what the hub enforces) and its changes.

* `ConsentRecord` is what the person said, in the shape of ISO/IEC TS 27560:2023. It is sealed.
* `GrantStatement` is what a participant registers at the hub: blinded scopes, no person.
* A change is an envelope of kind `withdrawal`; see `schemas.envelope.ConsentTag`.

A grant belongs to one person and one recipient. It can be narrowed or withdrawn by either
party, or by the country's authority; it can never be widened: that is a new grant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from schemas.base import (
    Digest,
    FreeText,
    Instant,
    KeyId,
    ParticipantId,
    ProtectedModel,
    Scope,
    ShortText,
    WireModel,
)

USUAL_WITHDRAWAL = "tell any worker of either organisation"
"""How a consent is taken back unless a record says otherwise. Receipts say it in their language."""

GRANT_TYP = "referral-grant+jws"


class ConsentStatus(StrEnum):
    """W3C DPV 2.3, `dpv:ConsentStatus`. Only the first two are valid for processing."""

    GIVEN = "ConsentGiven"
    RENEWED = "RenewedConsentGiven"
    REQUESTED = "ConsentRequested"
    DEFERRED = "ConsentRequestDeferred"
    REFUSED = "ConsentRefused"
    EXPIRED = "ConsentExpired"
    INVALIDATED = "ConsentInvalidated"
    REVOKED = "ConsentRevoked"
    WITHDRAWN = "ConsentWithdrawn"
    UNKNOWN = "ConsentUnknown"


VALID_STATUSES = frozenset({ConsentStatus.GIVEN, ConsentStatus.RENEWED})


class Purpose(StrEnum):
    """Why data may travel. Combined with a section, a purpose is a scope."""

    IDENTIFICATION = "identification"
    PROTECTION = "protection"
    SERVICE_REFERRAL = "service_referral"
    FAMILY_TRACING = "family_tracing"
    FAMILY_ASSESSMENT = "family_assessment"
    RETURN_PLANNING = "return_planning"
    TRAVEL_RECEPTION = "travel_reception"
    REINTEGRATION = "reintegration"
    MONITORING = "monitoring"
    CASE_TRANSFER = "case_transfer"
    JUSTICE = "justice"
    COMPENSATION = "compensation"
    STATISTICS = "statistics"


class ConsentKind(StrEnum):
    """What a person says yes to. Four records, since a yes to one is no yes to another."""

    SHARING = "sharing"
    SERVICE = "service"
    TRANSFER = "transfer"
    RETURN = "return"


_KINDS = {
    Purpose.SERVICE_REFERRAL: ConsentKind.SERVICE,
    Purpose.CASE_TRANSFER: ConsentKind.TRANSFER,
    Purpose.RETURN_PLANNING: ConsentKind.RETURN,
    Purpose.TRAVEL_RECEPTION: ConsentKind.RETURN,
}


def kinds_of(purposes: Iterable[Purpose]) -> frozenset[ConsentKind]:
    """Which consents these purposes need; a record may hold one only."""
    return frozenset(_KINDS.get(purpose, ConsentKind.SHARING) for purpose in purposes)


class ScopeGrant(ProtectedModel):
    """One (purpose, section) that the person agreed to."""

    purpose: Purpose
    section: Annotated[str, Field(pattern=r"^[a-z_]{3,40}$")]


class GuardianDecision(ProtectedModel):
    """For a child, or a person presumed to be one: two voices, both recorded."""

    guardian_role: ShortText
    guardian_agrees: bool
    child_view: FreeText
    child_agrees: bool


class ConsentRecord(ProtectedModel):
    """The record of one consent, after ISO/IEC TS 27560:2023 (header, processing, party, event)."""

    schema_version: Annotated[
        str, Field(pattern=r"^https://w3id\.org/dpv/schema/dpv-27560#record$")
    ]
    record_id: UUID
    pii_principal_id: Annotated[str, Field(min_length=1, max_length=64)]
    """Pseudonym, per corridor; never a name."""
    privacy_notice: ShortText
    """Version of the notice that the person was given."""
    language: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    """ISO 639-3."""
    how: Annotated[str, Field(pattern=r"^(read|read-out|pictogram|audio)$")]
    interpreter: bool
    scopes: Annotated[tuple[ScopeGrant, ...], Field(min_length=1)]
    controller: ParticipantId
    recipient: ParticipantId
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    withdrawal_method: ShortText
    retention_until: date
    status: ConsentStatus
    given_at: Instant
    valid_until: date
    presumed_child: bool
    guardian: GuardianDecision | None
    guardian_until: date | None = None
    """Last day on which the guardian's word counts; None if the birth date is not known."""
    derived_from: UUID | None
    """The grant under which the data was received, if this one passes it on."""

    @field_validator("scopes")
    @classmethod
    def _one_thing(cls, scopes: tuple[ScopeGrant, ...]) -> tuple[ScopeGrant, ...]:
        if len(kinds_of(scope.purpose for scope in scopes)) > 1:
            raise ValueError("service, sharing, transfer and return are records of their own")
        return scopes

    @property
    def kind(self) -> ConsentKind:
        """What it is a yes to."""
        (kind,) = kinds_of(scope.purpose for scope in self.scopes)
        return kind


class GrantStatement(WireModel):
    """What the hub knows of a consent; registered before the first message travels under it."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    grant: UUID
    from_: Annotated[ParticipantId, Field(alias="from")]
    to: ParticipantId
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=512)]
    valid_from: date
    until: date
    record_digest: Digest
    """HMAC-SHA256 under the grant key of the RFC 8785 form of the `ConsentRecord`."""
    derived_from: UUID | None
    issued_at: Instant


@dataclass(frozen=True, slots=True)
class VerifiedGrant:
    """Signed by `content.from_`. Made by `keys.signing` only."""

    raw: bytes
    signed_by: KeyId
    content: GrantStatement
