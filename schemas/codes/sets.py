"""What a country signs about its own words for our codes: which set, and its digest."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import Digest, Instant, ParticipantId, WireModel

CODE_SET_TYP = "referral-codes+jws"


class CodeSetNote(WireModel):
    """A country's word that this is its set of words, in this version."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    version: Annotated[int, Field(ge=1)]
    digest: Digest
    """SHA-256 of the RFC 8785 form of the set; see `adapters.countries.codes`."""
    by: ParticipantId
    """The country's focal point or coordinator."""
    signed_at: Instant
