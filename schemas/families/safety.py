"""Safety: danger passes every gate but the second worker."""

from __future__ import annotations

from functools import partial

from schemas.bodies import safety as bodies
from schemas.envelope import Kind, Lane
from schemas.families.base import (
    ALL_EXCEPTIONS,
    DANGER,
    NOTHING,
    Chapter,
    Direction,
    MessageType,
    Precondition,
    sections,
)
from schemas.families.deadline import hours

_row = partial(
    MessageType,
    chapter=Chapter.SAFETY,
    machine="safety",
    lane=Lane.URGENT,
    preconditions=NOTHING,
)
_alarm = partial(
    _row,
    opens=True,
    preconditions=frozenset({Precondition.EXCEPTION}),
    replies=("safety.ack", "safety.action"),
    deadline=hours(1),
    filed=True,
)

TYPES: tuple[MessageType, ...] = (
    _alarm(
        "safety.alert",
        Kind.SAFETY,
        bodies.Alert,
        Direction.FORWARD,
        "alert",
        exceptions=ALL_EXCEPTIONS,
        permitted_sections=sections("ADM CON GUA IDC RSK"),
    ),
    _row("safety.ack", Kind.SAFETY, bodies.Ack, Direction.BACK, "ack"),
    _row(
        "safety.action",
        Kind.SAFETY,
        bodies.Acted,
        Direction.EITHER,
        "act",
        exceptions=ALL_EXCEPTIONS,
        permitted_sections=sections("RSK"),
    ),
    _alarm(
        "missing.alert",
        Kind.SAFETY,
        bodies.Missing,
        Direction.FORWARD,
        "alert",
        exceptions=DANGER,
        permitted_sections=sections("IDC RSK GUA CON"),
        replies=("safety.ack", "safety.action", "missing.resolved"),
    ),
    _row(
        "missing.resolved",
        Kind.SAFETY,
        bodies.MissingResolved,
        Direction.EITHER,
        "resolve",
        also={"return": "resolve"},
        exceptions=DANGER,
        permitted_sections=sections("RSK"),
    ),
    _alarm(
        "staff.security.alert",
        Kind.SAFETY,
        bodies.StaffAlert,
        Direction.FORWARD,
        "alert",
        exceptions=frozenset({"staff_safety", "vital_interest_life"}),
        permitted_sections=sections("RSK"),
    ),
    _row(
        # Ids of messages and no content, so there is nothing to except from.
        "breach.notice",
        Kind.SAFETY,
        bodies.Breach,
        Direction.FORWARD,
        "alert",
        opens=True,
        replies=("safety.ack", "safety.action"),
        deadline=hours(24),
    ),
)
