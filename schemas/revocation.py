"""Saying that keys are in other hands: it counts at once, whatever directory somebody still holds.

The directory says the same, later and for good (`compromised`). A revocation does not wait for the
country's holders to come together, and it reaches whoever is shown an old directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import Field

from schemas.base import Instant, KeyId, ParticipantId, WireModel

REVOCATION_TYP = "referral-revocation+jws"


class Revocation(WireModel):
    """Which keys of whom are compromised, and since when they may have been."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    id: UUID
    participant: ParticipantId
    keys: Annotated[tuple[KeyId, ...], Field(min_length=1, max_length=32)]
    since: Instant
    """What these keys signed from then on may be somebody else's; what was sealed to them may have
    been read, whenever that was."""
    by: ParticipantId
    """The participant itself, or the authority of its country."""
    issued_at: Instant


@dataclass(frozen=True, slots=True)
class VerifiedRevocation:
    """Signed by somebody who may say so. Made by `keys.statements.revocation` only."""

    raw: bytes
    content: Revocation
