"""High-water marks: a sender's signed word on how far a stream has gone, and which numbers are void.

The hub says which numbers it accepted; alone it could leave one out, and nobody would miss it. The
sender's mark says which there must be.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from schemas.base import Instant, ParticipantId, WireModel
from schemas.envelope import Lane

HIGH_WATER_TYP = "referral-high-water+jws"
MAX_RANGES = 4096
Number = Annotated[int, Field(ge=1, le=2**53 - 1)]


class HighWater(WireModel):
    """Every number up to `upto` was accepted by the hub, but those in `over`."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    by: ParticipantId
    to: ParticipantId
    lane: Lane
    incarnation: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]
    upto: Annotated[int, Field(ge=0, le=2**53 - 1)]
    over: Annotated[tuple[tuple[Number, Number], ...], Field(max_length=MAX_RANGES)]
    """First and last of each range of numbers that are not to be looked for: never sent (the
    sender's tombstones), or settled and past their time. In order, apart from each other."""
    issued_at: Instant

    @model_validator(mode="after")
    def _in_order(self) -> HighWater:
        before = 0
        for first, last in self.over:
            if not before < first <= last <= self.upto:
                raise ValueError("ranges in order")
            before = last + 1
        return self

    def expects(self, *, after: int) -> list[int]:
        """The numbers beyond `after` that the recipient must find, or be told to be closed."""
        found: list[int] = []
        at = after
        for first, last in self.over:
            found += range(at + 1, min(first, self.upto + 1))
            at = max(at, last)
        return [*found, *range(at + 1, self.upto + 1)]
