"""Information on request: asked, perhaps under conditions, given in part, or refused without a leak."""

from __future__ import annotations

from functools import partial

from schemas.bodies import information as bodies
from schemas.envelope import Kind
from schemas.families.base import (
    ALL_EXCEPTIONS,
    ANY_SECTION,
    CONSENTED,
    Chapter,
    Direction,
    MessageType,
    sections,
)
from schemas.families.deadline import BY_URGENCY, hours

_row = partial(MessageType, chapter=Chapter.INFORMATION, machine="inquiry")

TYPES: tuple[MessageType, ...] = (
    _row(
        # To ask needs no consent, so the hub must let it through without a grant: a notice. What
        # says whom it is about, beyond the case number, travels under a grant as everywhere.
        "info.request",
        Kind.NOTICE,
        bodies.InfoRequest,
        Direction.FORWARD,
        "ask",
        opens=True,
        permitted_sections=sections("ADM IDC"),
        replies=("info.reply", "info.refuse", "info.conditions"),
        deadline=BY_URGENCY,
    ),
    _row(
        "info.reply",
        Kind.ANSWER,
        bodies.InfoReply,
        Direction.BACK,
        "answer",
        permitted_sections=ANY_SECTION,
        filed=True,
    ),
    _row("info.refuse", Kind.ANSWER, bodies.InfoRefusal, Direction.BACK, "refuse"),
    _row(
        "info.conditions",
        Kind.NOTICE,
        bodies.InfoConditions,
        Direction.BACK,
        "set_conditions",
        replies=("info.conditions.accept", "info.conditions.reject"),
        deadline=hours(72),
    ),
    _row(
        "info.conditions.accept",
        Kind.ANSWER,
        bodies.ConditionsAccepted,
        Direction.FORWARD,
        "accept_conditions",
    ),
    _row(
        "info.conditions.reject",
        Kind.ANSWER,
        bodies.ConditionsRejected,
        Direction.FORWARD,
        "reject_conditions",
    ),
    _row(
        "info.spontaneous",
        Kind.NOTICE,
        bodies.Spontaneous,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        preconditions=CONSENTED,
        exceptions=ALL_EXCEPTIONS,
        permitted_sections=ANY_SECTION,
        replies=("referral.received",),
        deadline=hours(72),
        filed=True,
    ),
)
