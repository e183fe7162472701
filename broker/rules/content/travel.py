"""Return is an option, prepared only when the person has had her time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from broker.rules.content.question import Found, Question, path, rule
from schemas.consent import Purpose
from schemas.errors import PolicyRefused

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
)
def recovery_comes_first(question: Question) -> Found:
    """Until recovery and reflection are over, no travel is prepared, unless the person asks."""
    if question.person.asked_to_go_on:
        return
    today = question.now.date()
    if any(today <= end for end in _recovery_ends(question)):
        for entry in question.message.scopes:
            if entry.purpose in TRAVEL:
                yield PolicyRefused, path(entry)
