"""Agreements between two organisations: no agreement, no route (I-11).

The hub enforces parties, dates, suspension and lanes; both gateways enforce types, sections,
purposes and the transfer basis. On the wire an agreement is a general JWS (RFC 7515, 7.2.1)
with one signature of each party over the same payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from schemas.base import Instant, ParticipantId, ShortText, WireModel
from schemas.consent import Purpose
from schemas.envelope import Lane

AGREEMENT_TYP = "referral-agreement+jws"
SUSPENSION_TYP = "referral-suspension+jws"


class TransferBasis(WireModel):
    """On which basis one party sends to the other (GDPR chapter V, or its own law)."""

    sender: ParticipantId
    basis: Annotated[
        str, Field(pattern=r"^(eu-gdpr:A4[569][0-9A-Za-z-]*|none-needed|national-law)$")
    ]
    reference: ShortText | None = None


class AnswerDeadline(WireModel):
    """By when the two promise each other to answer."""

    type: Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z_]+)*(\.\*)?$", max_length=60)]
    """A message type of the catalogue, or a family as `referral.*`."""
    hours: Annotated[int, Field(ge=1, le=24 * 90)]


class Agreement(WireModel):
    """Who may send what to whom, for which purposes, from when until when."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    id: UUID
    title: ShortText
    parties: Annotated[tuple[ParticipantId, ParticipantId], Field()]
    valid_from: date
    valid_until: date
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1)]
    types: Annotated[tuple[str, ...], Field(min_length=1)]
    """Message types of the catalogue, or a family as `referral.*`."""
    sections: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    transfer: tuple[TransferBasis, ...]
    deadlines: Annotated[tuple[AnswerDeadline, ...], Field(max_length=64)] = ()
    """Sooner than the catalogue asks for; later than that, the catalogue's stands."""
    signed_on: Instant


class Suspension(WireModel):
    """Either party, or its country, stops an agreement at once; whoever stopped it lets it go on."""

    agreement: UUID
    by: ParticipantId
    action: Literal["suspend", "resume"]
    issued_at: Instant


@dataclass(frozen=True, slots=True)
class VerifiedAgreement:
    """Signed by both parties. Made by `keys.signing` only."""

    raw: bytes
    content: Agreement
