"""The end of one log and the beginning of another: what a hub says when its database was set back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import Instant, ParticipantId, WireModel

CONTINUATION_TYP = "referral-log-continued+jws"
Note = Annotated[str, Field(min_length=1, max_length=16 * 1024)]
"""A signed checkpoint, as it travels."""


class Continuation(WireModel):
    """Signed by the hub, and a leaf of the new log: nobody finds a gap that is not admitted here.

    The new log begins with every leaf that the database still has, so that what was proven to
    `kept` is proven in it again. Leaves between `kept` and `later` are in the old log alone: their
    proofs stand, for whoever has them.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    by: ParticipantId
    ended: Annotated[str, Field(min_length=1, max_length=200)]
    """The old log's origin."""
    origin: Annotated[str, Field(min_length=1, max_length=200)]
    """The new one's."""
    kept: Note
    """The old log's head in the database that was put back."""
    later: Note | None
    """The largest head of the old log that anybody has shown, if there is one."""
    issued_at: Instant
