"""Where a message of ours stands: who knows of it, and what its sender can do."""

from __future__ import annotations

from typing import Any

import pytest

from broker.cli.cases.standing import UNHEARD, just_stored, of_message, of_thread
from broker.cli.terminal.alarms import ALARMS, explained
from broker.gateway.send.compose import NEVER_ARRIVED
from schemas.states.delivery import DELIVERY


def sent(state: str, submitted_at: str | None = None) -> dict[str, Any]:
    return {
        "id": "M",
        "partner": "al.nrm",
        "state": state,
        "submitted_at": submitted_at,
        "expires_at": "2026-12-01T00:00:00Z",
    }


@pytest.mark.parametrize("state", [*sorted(DELIVERY.states - {"created"}), "queued", "unknown"])
def test_each_state_in_which_the_partner_may_know_nothing_says_so(state: str) -> None:
    line = of_message(sent(state))
    if state in (*UNHEARD, *NEVER_ARRIVED):
        assert line
    else:
        assert line is None, "what was received says it by its state"


def test_what_the_hub_does_not_have_is_told_apart_from_what_the_partner_could_not_file() -> None:
    never, there = of_message(sent("failed")), of_message(sent("failed", "2026-11-22T10:00:00Z"))
    assert never is not None
    assert there is not None
    assert "referral gateway replay M" in never
    assert "replay" not in there
    assert "unknown" not in str(of_message(sent("unknown"))), "the code is explained, not repeated"


@pytest.mark.parametrize("state", NEVER_ARRIVED)
def test_what_never_arrived_can_be_said_anew(state: str) -> None:
    assert "referral send --replaces M" in str(of_message(sent(state)))


def test_an_exchange_names_what_the_partner_may_not_have_heard() -> None:
    said = {"type": "referral.accept", "message": "M", "unsaid": False}
    history = [
        {**said, "sent": None},
        {**said, "sent": "delivered"},
        {**said, "sent": "failed", "unsaid": True},
    ]
    thread = {"partner": "al.nrm", "history": history}
    assert of_thread(thread) == []
    history.append({**said, "sent": "failed"})
    [line] = of_thread(thread)
    assert line.startswith("al.nrm may not have heard this: referral.accept, failed")


def test_an_alarm_says_what_to_do_and_one_of_a_newer_gateway_where_it_is_explained() -> None:
    for code in ALARMS:
        assert explained({"code": code})["do"]
    assert "docs/operations" in explained({"code": "of-tomorrow"})["do"]


def test_whoever_has_just_sent_something_hears_where_it_is_and_how_to_see_where_it_stands() -> None:
    said = just_stored({"id": "M", "state": "queued"})
    assert "goes as soon as the hub takes it" in said
    assert "referral show M" in said
