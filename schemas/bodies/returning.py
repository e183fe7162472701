"""Bodies of return and travel: an option that the person takes or leaves, then a chain of hands."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Instant, ShortText
from schemas.bodies.common import Body, Code, Meeting, Note, Reasoned, Urgency
from schemas.codes import EXCHANGE
from schemas.sections.fields import Country

ARRIVAL_WITHIN = timedelta(hours=24)
"""After the planned arrival; then somebody has to look for her."""


class Plan(Body):
    """A plan for the return, with what there is besides the family."""

    urgency: Urgency = Urgency.NORMAL
    decision_recorded: Literal[True]
    """The informed decision is hers, or her guardian's with her own view, and it is on record."""
    risk_valid_until: date
    alternatives: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=8)]
    """Where else she could live: going to the family is never the only plan."""
    escort: bool = False
    transport: Annotated[str, *Code(EXCHANGE, "transport")]
    reception_role: ShortText
    proceedings_considered: Literal[True]
    note: Note | None = None

    def attests(self) -> frozenset[str]:
        return frozenset({"informed_decision", "risk_current"})


class PlanAgreed(Body):
    """Agreed as it stands."""

    reception_role: ShortText
    note: Note | None = None


class PlanAmended(Plan):
    """The whole plan anew, not what is different in it."""


class PlanRejected(Reasoned):
    """Not so; the person's decision stands and another plan is possible."""

    reason: Annotated[str, *Code(EXCHANGE, "plan_rejection")]


class Decision(Body):
    """What the person decided, for now. No reason is asked for and none has a place here."""

    decision: Annotated[str, *Code(EXCHANGE, "return_decision")]
    decided_on: date
    by_guardian: bool = False
    advised: bool
    """True if she was told of her options and rights before."""

    def event(self) -> str | None:
        return {"return": "decide_return", "undecided": "undecided"}.get(
            self.decision, "decide_stay"
        )


class TravelNotice(Body):
    """When and how she travels, and who is there. Days and hours are in the section."""

    planned_arrival: Instant
    transport: Annotated[str, *Code(EXCHANGE, "transport")]
    escort: bool
    received_by_role: ShortText
    risk_valid_until: date | None = None
    """Last day on which the joint assessment of risk holds, unless it travels as a section. With no
    day at all the content rules refuse."""
    via: Annotated[tuple[Country, ...], Field(max_length=6)] = ()

    def answer_by(self, sent_at: datetime) -> datetime | None:
        return max(sent_at, self.planned_arrival) + ARRIVAL_WITHIN


class TransitRequest(Body):
    """Help on the way."""

    help: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "transit_help")], ...],
        Field(min_length=1, max_length=5),
    ]
    arrives_at: Instant
    leaves_at: Instant | None = None


class TransitReply(Body):
    """Who is there, or that nobody can be."""

    possible: bool
    worker_role: ShortText | None = None
    meeting: Meeting | None = None


class Departure(Body):
    """She has left. By signing it the sender attests what must be true before anybody leaves."""

    planned_arrival: Instant
    leg: Literal["departed", "in_transit"] = "departed"
    informed_decision: Literal[True]
    guardian_and_best_interests: Literal[True]
    risk_current: Literal[True]
    no_protection_obstacle: Literal[True]
    recovery_over: Literal[True]
    identification_complete: Literal[True]
    proceedings_considered: Literal[True]
    travel_document: Literal[True]
    reception_named: Literal[True]
    risk_valid_until: date | None = None
    """Last day on which the joint assessment of risk holds, unless it travels as a section. With no
    day at all the content rules refuse."""

    def event(self) -> str | None:
        return "in_transit" if self.leg == "in_transit" else None

    def attests(self) -> frozenset[str]:
        named = type(self).model_fields
        return frozenset(name for name in named if getattr(self, name) is True)

    def answer_by(self, sent_at: datetime) -> datetime | None:
        return max(sent_at, self.planned_arrival) + ARRIVAL_WITHIN


class DepartureCancelled(Reasoned):
    """She has not left."""

    reason: Annotated[str, *Code(EXCHANGE, "departure_cancel")]


class Arrival(Body):
    """Turned over and received: by whom, with what, in which state, and what she wishes."""

    stage: Literal["arrived", "handed_over"] = "handed_over"
    at: Instant
    received_by_role: ShortText
    place: ShortText
    belongings: Annotated[str, *Code(EXCHANGE, "belongings")]
    documents_returned: bool
    condition: Annotated[str, *Code(EXCHANGE, "condition")]
    wish: Note | None = None

    def event(self) -> str | None:
        return "arrive" if self.stage == "arrived" else None


class ArrivalFailed(Body):
    """She did not arrive."""

    reason: Annotated[str, *Code(EXCHANGE, "arrival_failure")]
    last_known_at: Instant | None = None


class Completed(Body):
    """The return is documented and goes to her file."""

    completed_on: date
