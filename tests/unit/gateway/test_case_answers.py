"""A decision in a case system becomes exactly one message, and what is unclear none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from adapters.base import News, Step
from broker.gateway.cases.answers import (
    TOLD,
    Answer,
    ForAPerson,
    answer_of,
    business_id_of,
    reason_of,
    step_of,
)
from schemas.bodies.common import DeclineReason
from schemas.catalogue import catalogue, message_type

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SAID = (Step.RECEIVED, Step.ACCEPTED, Step.IN_PROGRESS, Step.COMPLETED)


def news(step: Step, reason: str | None = None, *services: str) -> News:
    return News("n", UUID(int=1), step, NOW, reason, services)


@pytest.mark.parametrize("step", SAID)
def test_a_step_is_said_in_a_message_that_its_type_accepts(step: Step) -> None:
    answer = answer_of(news(step))
    assert isinstance(answer, Answer)
    catalogue[answer.type].body.from_json(json.dumps(dict(answer.body)))


@pytest.mark.parametrize("reason", sorted(set(DeclineReason) - {DeclineReason.OTHER}))
def test_a_decline_keeps_its_reason(reason: DeclineReason) -> None:
    answer = answer_of(news(Step.DECLINED, reason.value))
    assert answer == Answer("referral.decline", {"reason": reason.value})
    catalogue["referral.decline"].body.from_json(json.dumps(dict(answer.body)))


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (news(Step.DECLINED), "unknown-reason"),
        (news(Step.DECLINED, "not_specified"), "unknown-reason"),
        (news(Step.DECLINED, "other"), "unknown-reason"),
        (news(Step.ACCEPTED, None, "massage"), "unknown-service"),
        (news(Step.FAILED), "step-failed"),
        (news(Step.CANCELLED), "step-cancelled"),
        (news(Step.UPDATED), "step-updated"),
    ],
)
def test_what_is_unclear_is_for_a_person(item: News, code: str) -> None:
    assert answer_of(item) == ForAPerson(code)


def test_the_same_decision_found_again_is_the_same_message() -> None:
    assert business_id_of("n", "referral.accept") == business_id_of("n", "referral.accept")
    assert business_id_of("n", "referral.accept") != business_id_of("m", "referral.accept")


def test_whatever_a_system_is_told_of_has_a_step() -> None:
    for name in TOLD:
        assert name in catalogue
        assert isinstance(step_of(name, {}), Step)
    assert step_of("referral.outcome", {"result": "contact_lost"}) is Step.FAILED
    assert step_of("referral.outcome", {"result": "service_given"}) is Step.COMPLETED
    assert reason_of({"reason": "no_capacity"}) == "no_capacity"
    assert reason_of({}) is None


def test_a_decision_is_said_only_where_the_message_knows_such_an_answer() -> None:
    """What a case system says of a case file is no `referral.accept`: both sides sign a hand-over."""
    steps = [news(step) for step in SAID] + [news(Step.DECLINED, "no_capacity")]
    types = {answer.type for answer in map(answer_of, steps) if isinstance(answer, Answer)}

    assert len(types) == len(steps)
    assert types <= set(message_type("referral.request").replies)
    assert not types & set(message_type("transfer.casefile").replies)
