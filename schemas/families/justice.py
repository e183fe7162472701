"""Justice and compensation: a compartment and keys of their own. Help never depends on cooperation."""

from __future__ import annotations

from functools import partial

from schemas.bodies import justice as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    CONSENTED,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    sections,
)
from schemas.families.deadline import working_days

_row = partial(
    MessageType,
    chapter=Chapter.JUSTICE,
    machine="inquiry",
    purposes=frozenset({Purpose.JUSTICE}),
)
_money = partial(
    _row,
    purposes=frozenset({Purpose.COMPENSATION}),
    permitted_sections=sections("CMP JUS"),
)

TYPES: tuple[MessageType, ...] = (
    _row(
        "justice.status.request",
        Kind.NOTICE,
        bodies.StatusRequest,
        Direction.FORWARD,
        "ask",
        opens=True,
        preconditions=CONSENTED,
        permitted_sections=sections("JUS"),
        replies=("justice.status.notify",),
        deadline=working_days(10),
    ),
    _row(
        # Asked for or not: a trafficker who is free again is told of at once.
        "justice.status.notify",
        Kind.NOTICE,
        bodies.StatusNotice,
        Direction.EITHER,
        "tell",
        machine="notice",
        also={"inquiry": "answer"},
        opens=True,
        preconditions=CONSENTED,
        permitted_sections=sections("JUS RSK"),
    ),
    _row(
        "witness.request",
        Kind.NOTICE,
        bodies.WitnessRequest,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        corridor=Corridor.TO_ORIGIN,
        preconditions=CONSENTED,
        permitted_sections=sections("JUS RSK"),
    ),
    _money(
        "compensation.info",
        Kind.NOTICE,
        bodies.CompensationInfo,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        preconditions=CONSENTED,
    ),
    _money(
        "compensation.claim",
        Kind.REQUEST,
        bodies.CompensationClaim,
        Direction.FORWARD,
        "ask",
        opens=True,
        preconditions=CONSENTED,
        required_sections=sections("CMP"),
        replies=("compensation.result",),
        deadline=working_days(10),
        filed=True,
    ),
    _money("compensation.result", Kind.ANSWER, bodies.CompensationResult, Direction.BACK, "answer"),
    _row(
        "nonpunishment.notice",
        Kind.NOTICE,
        bodies.NonPunishment,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        corridor=Corridor.TO_ORIGIN,
        preconditions=CONSENTED,
        required_sections=sections("STA"),
        purposes=frozenset({Purpose.JUSTICE, Purpose.PROTECTION}),
    ),
)
