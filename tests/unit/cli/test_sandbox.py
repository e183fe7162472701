"""The sandbox's script says only what the language has, and says so when it is asked for more."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from broker.cli.sandbox.script import BEHAVIOURS, DEFAULT, Conversation, Say, script
from schemas.catalogue import catalogue
from schemas.errors import SchemaRefused


@pytest.mark.parametrize("word", BEHAVIOURS)
def test_what_a_behaviour_says_is_a_message_of_the_language(word: str) -> None:
    for move in BEHAVIOURS[word]:
        if isinstance(move, Say):
            body = json.dumps(dict(move.body)).replace("PARTNER", "al")
            catalogue[move.type].body.from_json(body)
            assert move.type in catalogue["referral.request"].replies


def test_a_script_goes_round_and_refuses_what_it_does_not_know() -> None:
    assert list(islice(script("accept, silent"), 3)) == ["accept", "silent", "accept"]
    assert set(DEFAULT.split(",")) <= set(BEHAVIOURS)
    for words in ("accept,sing", "", " , "):
        with pytest.raises(SchemaRefused):
            script(words)


def test_a_conversation_ends_with_its_script() -> None:
    one = Conversation("m", "t", None, "decline")
    assert isinstance(one.next_move, Say)
    one.done += 1
    assert one.next_move is None
    assert Conversation("m", "t", None, "silent").next_move is None
