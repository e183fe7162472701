"""Return is an option, prepared only when the person has had her time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from broker.rules.content.question import Found, Moment, Question, path, rule
from schemas.consent import Purpose
from schemas.errors import PolicyRefused
from schemas.families.base import Precondition

TRAVEL = frozenset({Purpose.RETURN_PLANNING, Purpose.TRAVEL_RECEPTION})


def _recovery_ends(question: Question) -> Iterator[date]:
    if question.person.recovery_until is not None:
        yield question.person.recovery_until
    status = question.content("identification_status")
    for item in status.get("identifications", ()):
        until = item.get("reflection_until")
        if until is not None:
            yield date.fromisoformat(until)


@rule(
    "travel.recovery",
    "CETS 197, Art 13; Directive 2004/81/EC, Art 6; CJEU C-66/21",
    keeps=Precondition.RECOVERY_OVER,
)
def recovery_comes_first(question: Question) -> Found:
    """Until recovery and reflection are over, no travel is prepared, unless the person asks."""
    if question.person.asked_to_go_on:
        return
    today = question.now.date()
    if any(today <= end for end in _recovery_ends(question)):
        if Precondition.RECOVERY_OVER in question.type.preconditions:
            yield PolicyRefused, "type"
        for entry in question.message.scopes:
            if entry.purpose in TRAVEL:
                yield PolicyRefused, path(entry)


@rule("travel.risk", "CETS 197, Art 16(2) and (7)", keeps=Precondition.RISK_CURRENT)
def risk_was_assessed(question: Question) -> Found:
    """Nobody travels, and no case changes hands, without an assessment of risk that still holds.

    Until when it holds is said in the section or in the body; not said is not assessed, and nobody
    says a later day than the two agreed on. What was sent in time may be read later.
    """
    if question.moment is Moment.OPEN:
        return
    if Precondition.RISK_CURRENT not in question.type.preconditions:
        return
    said = (
        question.content("risk_security").get("valid_until"),
        question.message.body.get("risk_valid_until"),
    )
    days = [date.fromisoformat(str(day)) for day in said if day is not None]
    agreed = question.person.assessed_until
    late = question.moment is Moment.SEND and bool(days) and min(days) < question.now.date()
    if not days or late or (agreed is not None and min(days) > agreed):
        yield PolicyRefused, "sections.risk_security"
