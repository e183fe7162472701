"""At every change there is a sentence for the person, in her language, and none of them blames her."""

from __future__ import annotations

import pytest

from broker.gateway.consent.receipt import words_of
from broker.gateway.notices.said import SAID
from schemas.codes.labels import LANGUAGES
from schemas.states import MACHINES

UNSAID = {"draft", "consent_pending", "delivered", "cancel_requested", "none"}


def test_only_states_that_exist_are_told() -> None:
    for machine, states in SAID.items():
        assert states.keys() <= MACHINES[machine].states


def test_every_state_of_a_referral_is_told_but_what_only_machines_do() -> None:
    assert MACHINES["referral"].states - SAID["referral"].keys() == UNSAID - {"none"}


def test_every_end_of_an_exchange_about_her_is_told() -> None:
    ends = {(name, state) for name in SAID for state in MACHINES[name].terminal}
    told = {(name, state) for name, states in SAID.items() for state in states}
    assert ends - told == {("return", "closed")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_there(language: str) -> None:
    words = words_of(language, "broker.gateway.notices")
    assert words["said"].keys() == {key for states in SAID.values() for key in states.values()}
    assert all(words["said"].values())
