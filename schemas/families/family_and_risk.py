"""Family, risk and best interests: what is known before anybody decides about a return."""

from __future__ import annotations

from functools import partial

from schemas.bodies import family as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    CONSENTED,
    TOWARDS_ORIGIN,
    WITH_GUARDIAN,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    Precondition,
    sections,
    under,
)
from schemas.families.deadline import BY_URGENCY, EARLY_WINDOW, working_days

_FAMILY = frozenset({Purpose.FAMILY_TRACING, Purpose.FAMILY_ASSESSMENT})
_RISK = frozenset({Purpose.PROTECTION, Purpose.RETURN_PLANNING, Purpose.TRAVEL_RECEPTION})
_row = partial(MessageType, chapter=Chapter.FAMILY_AND_RISK, machine="inquiry")
_ask = partial(_row, also={"return": "assess"}, opens=True)
_told = partial(_row, also={"return": "result"})

TYPES: tuple[MessageType, ...] = (
    _ask(
        "family.tracing.request",
        Kind.REQUEST,
        bodies.TracingRequest,
        Direction.FORWARD,
        "ask",
        corridor=Corridor.TO_ORIGIN,
        preconditions=TOWARDS_ORIGIN,
        required_sections=sections("FAM IDC"),
        permitted_sections=sections("RSK"),
        purposes=_FAMILY,
        replies=("family.tracing.result",),
        deadline=working_days(10),
    ),
    _told(
        "family.tracing.result",
        Kind.ANSWER,
        bodies.TracingResult,
        Direction.BACK,
        "answer",
        corridor=Corridor.TO_DESTINATION,
        preconditions=under(Precondition.RELATIVES),
        permitted_sections=sections("FAM"),
        purposes=_FAMILY,
        filed=True,
    ),
    _ask(
        "family.assessment.request",
        Kind.REQUEST,
        bodies.AssessmentRequest,
        Direction.FORWARD,
        "ask",
        corridor=Corridor.TO_ORIGIN,
        preconditions=under(Precondition.CONSENT, Precondition.RELATIVES, Precondition.GUARDIAN),
        required_sections=sections("FAM"),
        permitted_sections=sections("IDC VUL RSK"),
        purposes=_FAMILY,
        replies=("family.assessment.result",),
        deadline=EARLY_WINDOW,
    ),
    _told(
        "family.assessment.result",
        Kind.ANSWER,
        bodies.AssessmentResult,
        Direction.BACK,
        "answer",
        corridor=Corridor.TO_DESTINATION,
        preconditions=under(Precondition.RELATIVES),
        permitted_sections=sections("FAM VUL RSK"),
        purposes=_FAMILY,
        filed=True,
    ),
    _ask(
        "risk.assessment.request",
        Kind.REQUEST,
        bodies.RiskRequest,
        Direction.FORWARD,
        "ask",
        preconditions=CONSENTED,
        required_sections=sections("RSK"),
        permitted_sections=sections("PER MIG FAM"),
        purposes=_RISK,
        replies=("risk.assessment.contribution", "risk.assessment.joint"),
        deadline=BY_URGENCY,
    ),
    _told(
        "risk.assessment.contribution",
        Kind.ANSWER,
        bodies.RiskContribution,
        Direction.EITHER,
        "contribute",
        permitted_sections=sections("RSK PER MIG"),
        purposes=_RISK,
    ),
    _row(
        "risk.assessment.joint",
        Kind.ANSWER,
        bodies.RiskJoint,
        Direction.EITHER,
        "answer",
        also={"return": "joint"},
        permitted_sections=sections("RSK"),
        purposes=_RISK,
        filed=True,
    ),
    _ask(
        "bestinterests.request",
        Kind.REQUEST,
        bodies.BestInterestsRequest,
        Direction.FORWARD,
        "ask",
        preconditions=WITH_GUARDIAN,
        required_sections=sections("GUA"),
        permitted_sections=sections("FAM RSK IDC"),
        replies=("bestinterests.result",),
        deadline=working_days(10),
    ),
    _told(
        "bestinterests.result",
        Kind.ANSWER,
        bodies.BestInterestsResult,
        Direction.BACK,
        "answer",
        permitted_sections=sections("GUA FAM RSK"),
        filed=True,
    ),
)
