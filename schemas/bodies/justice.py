"""Bodies of justice and compensation. Help never depends on cooperation, so nothing here asks for it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Instant
from schemas.bodies.common import Body, Code, Note
from schemas.bodies.reintegration import Money
from schemas.codes import EXCHANGE


class StatusRequest(Body):
    """Asks where the proceedings stand, for the person who has a right to know."""

    asked_by_person: bool


class StatusNotice(Body):
    """Where they stand; that a trafficker is free again is told at once."""

    stage: Annotated[str, *Code(EXCHANGE, "justice_stage")]
    what: Annotated[str, *Code(EXCHANGE, "justice_event")] = "stage_changed"
    on: date


class WitnessRequest(Body):
    """Asks whether she would testify, and how she would be protected."""

    free_choice_recorded: Literal[True]
    """She was told that nothing she gets depends on it."""
    hearing_at: Instant | None = None
    by_video: bool
    measures: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "protection_measure")], ...],
        Field(min_length=1, max_length=6),
    ]


class CompensationInfo(Body):
    """Which ways are open to her, and until when."""

    ways: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "compensation_way")], ...],
        Field(min_length=1, max_length=5),
    ]
    limitation_date: date | None = None
    legal_aid: bool = False


class CompensationClaim(Body):
    """A claim in her name."""

    way: Annotated[str, *Code(EXCHANGE, "compensation_way")]
    limitation_date: date
    claimed: Money | None = None


class CompensationResult(Body):
    """What came of it."""

    result: Annotated[str, *Code(EXCHANGE, "compensation_result")]
    awarded: Money | None = None
    appeal_until: date | None = None


class NonPunishment(Body):
    """Asks not to prosecute for what she was compelled to do (CETS 197, Art 26)."""

    acts: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "compelled_act")], ...],
        Field(min_length=1, max_length=9),
    ]
    note: Note | None = None
