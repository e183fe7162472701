"""Return and travel: an option that can be left until the person is on her way, then a chain of hands."""

from __future__ import annotations

from functools import partial

from schemas.bodies import returning as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    CONSENTED,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    Precondition,
    sections,
    under,
)
from schemas.families.deadline import BY_URGENCY, hours
from schemas.sections.index import View

_P = Precondition
_row = partial(
    MessageType,
    chapter=Chapter.RETURN,
    machine="return",
    purposes=frozenset({Purpose.RETURN_PLANNING, Purpose.TRAVEL_RECEPTION}),
    permitted_sections=sections("RET"),
)
_back = partial(_row, corridor=Corridor.TO_DESTINATION)
_PLANNING = under(_P.RISK_CURRENT, _P.CONSENT, _P.GUARDIAN, _P.RECOVERY_OVER)
_plan = partial(
    _row,
    preconditions=_PLANNING,
    permitted_sections=sections("RSK REI NAT HLT"),
    views={"health_general": View.FIT_TO_TRAVEL},
    replies=("return.plan.agree", "return.plan.amend", "return.plan.reject"),
    deadline=BY_URGENCY,
)
_LEAVING = "departure.confirm", "departure.cancelled"
_MET = "arrival.handover.confirm", "arrival.failed"

TYPES: tuple[MessageType, ...] = (
    _plan(
        "return.plan.propose",
        Kind.REQUEST,
        bodies.Plan,
        Direction.EITHER,
        "propose",
        opens=True,
        required_sections=sections("RET"),
    ),
    _row(
        "return.plan.agree",
        Kind.ANSWER,
        bodies.PlanAgreed,
        Direction.EITHER,
        "agree",
        also={"transfer": "plan_return"},
    ),
    _plan(
        "return.plan.amend",
        Kind.REQUEST,
        bodies.PlanAmended,
        Direction.EITHER,
        "amend",
        required_sections=sections("RET"),
    ),
    _row("return.plan.reject", Kind.ANSWER, bodies.PlanRejected, Direction.EITHER, "reject"),
    _row(
        # Under no condition at all, so that nothing ever stands between her and a change of mind.
        "return.decision",
        Kind.NOTICE,
        bodies.Decision,
        Direction.FORWARD,
        "decide",
        corridor=Corridor.TO_ORIGIN,
        alarm="",
    ),
    _row(
        "travel.notice",
        Kind.NOTICE,
        bodies.TravelNotice,
        Direction.FORWARD,
        "schedule_travel",
        also={"dialogue": "say"},
        corridor=Corridor.TO_ORIGIN_OR_TRANSIT,
        preconditions=under(_P.CONSENT, _P.RISK_CURRENT, _P.GUARDIAN),
        required_sections=sections("RET"),
        permitted_sections=sections("RSK CON"),
        tells_shelter=True,
        replies=("referral.received", *_LEAVING, *_MET),
        deadline=hours(24),
        alarm="arrival-missing",
        filed=True,
    ),
    _row(
        "transit.assist.request",
        Kind.REQUEST,
        bodies.TransitRequest,
        Direction.FORWARD,
        "begin",
        machine="dialogue",
        opens=True,
        corridor=Corridor.WITH_TRANSIT,
        preconditions=CONSENTED,
        required_sections=sections("RET"),
        replies=("transit.assist.reply",),
        deadline=hours(72),
    ),
    _row(
        "transit.assist.reply",
        Kind.ANSWER,
        bodies.TransitReply,
        Direction.BACK,
        "say",
        machine="dialogue",
        corridor=Corridor.WITH_TRANSIT,
        replies=("travel.notice", *_LEAVING),
    ),
    _row(
        "departure.confirm",
        Kind.NOTICE,
        bodies.Departure,
        Direction.FORWARD,
        "depart",
        also={"transfer": "depart", "dialogue": "say"},
        corridor=Corridor.TO_ORIGIN_OR_TRANSIT,
        preconditions=under(
            _P.CONSENT, _P.RISK_CURRENT, _P.GUARDIAN, _P.RECOVERY_OVER, _P.NO_ASYLUM_BLOCK
        ),
        replies=_MET,
        deadline=hours(24),
        overdue="arrival_overdue",
        alarm="arrival-missing",
    ),
    _row(
        "departure.cancelled",
        Kind.NOTICE,
        bodies.DepartureCancelled,
        Direction.FORWARD,
        "cancel_departure",
        also={"transfer": "leave_return", "dialogue": "say"},
        corridor=Corridor.TO_ORIGIN_OR_TRANSIT,
    ),
    _back(
        "arrival.handover.confirm",
        Kind.ANSWER,
        bodies.Arrival,
        Direction.BACK,
        "hand_over",
        also={"transfer": "arrive"},
        filed=True,
    ),
    _back("arrival.failed", Kind.ANSWER, bodies.ArrivalFailed, Direction.BACK, "arrival_failed"),
    _back(
        "return.completed",
        Kind.PROGRESS,
        bodies.Completed,
        Direction.BACK,
        "complete",
        permitted_sections=sections("RET ATT"),
    ),
)
