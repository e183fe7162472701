"""Our states in others' words: they come back, or the table says that they do not."""

from __future__ import annotations

import pytest

from schemas.codes import HTCDS, code_list
from schemas.machine import By, step
from schemas.mappings import (
    FHIR_TASK,
    GRAVITY_TASK,
    HTCDS_CASE,
    IHE_360X,
    NEEDS_STATUS_REASON,
    PRIMERO_TRANSFER,
    WORDS,
    Words,
)
from schemas.states import MACHINES, REFERRAL, TRANSFER

TASK = (
    "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed"
    " entered-in-error"
)
tables = pytest.mark.parametrize("words", WORDS, ids=lambda words: words.standard[:20])


@tables
def test_a_state_comes_back_as_itself_or_is_declared_lost(words: Words) -> None:
    assert words.word.keys() <= MACHINES[words.machine].states
    for state, word in words.word.items():
        back = words.state(word)
        assert back is not None
        assert (back == state) != (state in words.lost())
        assert words.word[back] == word


@tables
def test_a_word_comes_back_as_itself(words: Words) -> None:
    for word in set(words.word.values()):
        state = words.state(word)
        assert state is not None
        assert words.word[state] == word
    assert words.state("invented") is None


@tables
def test_an_end_is_never_told_as_something_that_goes_on(words: Words) -> None:
    machine = MACHINES[words.machine]
    ends = {word for state, word in words.word.items() if state in machine.terminal}
    open_ = {word for state, word in words.word.items() if state not in machine.terminal}
    assert not ends & open_


def test_every_state_of_a_referral_is_a_task_status() -> None:
    assert FHIR_TASK.word.keys() == REFERRAL.states
    assert set(FHIR_TASK.word.values()) <= set(TASK.split())
    assert FHIR_TASK.lost() == {
        "consent_pending",
        "delivered",
        "scheduled",
        "no_show",
        "appointment_cancelled",
        "cancel_requested",
        "clarifying",
        "redirected",
        "withdrawn",
        "expired",
        "undeliverable",
    }


GRAVITY = {
    "draft": {"requested"},
    "requested": {"accepted", "rejected", "cancelled"},
    "accepted": {"in-progress", "on-hold", "cancelled", "completed", "failed"},
    "in-progress": {"on-hold", "completed", "failed", "cancelled"},
    "on-hold": {"in-progress", "cancelled", "completed", "failed"},
}
BEYOND_GRAVITY = {
    ("requested", "on-hold"),  # a question before the decision
    ("on-hold", "requested"),
    ("on-hold", "rejected"),
    ("requested", "in-progress"),  # asked to cancel before it was accepted
    ("accepted", "rejected"),  # 360X: declined after acceptance
    ("in-progress", "rejected"),
    ("requested", "failed"),  # expired, undeliverable, not possible
    ("draft", "cancelled"),  # withdrawn before it was sent
}


def test_each_move_is_one_that_gravity_permits_or_is_named_here() -> None:
    moves = {
        (GRAVITY_TASK.word[source], GRAVITY_TASK.word[target])
        for (source, _, _), target in REFERRAL.edges.items()
        if target != "recalled"
    }
    beyond = {(a, b) for a, b in moves if a != b and b not in GRAVITY.get(a, set())}
    assert beyond == BEYOND_GRAVITY
    assert "received" not in GRAVITY_TASK.word.values()


IHE = [
    ("2.0", "accept", By.RECIPIENT, "3.0"),
    ("2.0", "decline", By.RECIPIENT, "4.0"),
    ("2.0", "cancel_request", By.SENDER, "5.2"),
    ("3.0", "decline", By.RECIPIENT, "4.0"),
    ("3.0", "schedule", By.RECIPIENT, "5.1.1"),
    ("3.0", "cancel_request", By.SENDER, "5.2"),
    ("3.0", "interim", By.RECIPIENT, "5.1.4"),
    ("3.0", "outcome", By.RECIPIENT, "7.0"),
    *((code, "decline", By.RECIPIENT, "4.0") for code in ("5.1.1", "5.1.2", "5.1.3", "5.1.4")),
    *((code, "schedule", By.RECIPIENT, "5.1.1") for code in ("5.1.1", "5.1.2", "5.1.3", "5.1.4")),
    ("5.1.1", "no_show", By.RECIPIENT, "5.1.2"),
    *((code, "appointment_cancel", By.RECIPIENT, "5.1.3") for code in ("5.1.1", "5.1.2")),
    *((code, "cancel_request", By.SENDER, "5.2") for code in ("5.1.1", "5.1.2", "5.1.3", "5.1.4")),
    ("5.1.1", "interim", By.RECIPIENT, "5.1.4"),
    ("5.1.1", "outcome", By.RECIPIENT, "7.0"),
    ("5.1.4", "outcome", By.RECIPIENT, "7.0"),
    ("5.2", "outcome", By.RECIPIENT, "7.0"),
    ("5.2", "cancel_confirm", By.RECIPIENT, "6.0"),
    ("5.2", "cancel_refuse", By.RECIPIENT, "5.1.4"),
]


@pytest.mark.parametrize(("at", "event", "by", "to"), IHE)
def test_each_transition_of_360x_is_one_of_ours(at: str, event: str, by: By, to: str) -> None:
    state = IHE_360X.state(at)
    assert state is not None
    after = step(REFERRAL, state, event, by).state
    assert IHE_360X.word[after] == to


def test_what_needs_a_reason_there_has_one_here() -> None:
    assert {"rejected", "cancelled", "on-hold", "failed"} == NEEDS_STATUS_REASON


def test_primero_s_accepted_transfer_is_ours_only_when_both_have_signed() -> None:
    assert PRIMERO_TRANSFER.state("accepted") == "completed"
    assert PRIMERO_TRANSFER.word.keys() == TRANSFER.states - {"none"}


def test_a_case_status_is_one_of_htcds() -> None:
    assert set(HTCDS_CASE.word.values()) <= set(code_list(HTCDS, "cas_Status").codes)
