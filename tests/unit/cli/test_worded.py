"""What a worker reads: words of the reader's language, in columns that stay where they are."""

from __future__ import annotations

from typing import Any

import pytest

from broker.cli.terminal.output import END_OF_ISOLATE, ISOLATE, fields, isolated, table
from broker.cli.terminal.worded import in_language

OPENED: dict[str, Any] = {
    "type": "referral.decline",
    "partner": "tn.nrm",
    "state": "read",
    "urgency": "urgent",
    "body": {"reason": "no_capacity", "note": "no_capacity, she says", "services": ["legal"]},
    "sections": {"identity_core": {"gender": "Feminine"}},
    "facts": [{"fact": "delivered", "by": "tn.nrm"}],
}


def test_types_states_and_codes_are_words_and_ids_and_what_was_written_is_not() -> None:
    assert in_language(OPENED, "fr") == {
        "type": "Orientation déclinée",
        "partner": "tn.nrm",
        "state": "lu",
        "urgency": "Pressant : 72 heures",
        "body": {
            "reason": "aucune place disponible",
            "note": "no_capacity, she says",
            "services": ["legal"],  # no field of this body
        },
        "sections": {"Identité": {"Genre": "Féminin"}},
        "facts": [{"fact": "remis", "by": "tn.nrm"}],
    }
    assert in_language(OPENED, None) == OPENED


@pytest.mark.parametrize("language", ["en", "fr", "ar"])
def test_a_word_of_a_newer_gateway_stays_as_it_is(language: str) -> None:
    answer = {"type": "referral.teleport", "state": "elsewhere", "body": {"how": "fast"}}
    assert in_language(answer, language) == answer


def test_arabic_is_set_apart_and_takes_the_columns_that_it_takes() -> None:
    assert isolated("Rome") == "Rome"
    assert isolated("روما") == f"{ISOLATE}روما{END_OF_ISOLATE}"
    shown = table(
        [{"type": "قُبلت", "partner": "it.nrm"}, {"type": "Rome", "partner": "al.nrm"}],
        ("type", "partner"),
    )
    # The vowel mark and the isolates take none: both partners stand in one column.
    assert shown.splitlines()[1:] == [
        f"{ISOLATE}قُبلت{END_OF_ISOLATE}  it.nrm",
        "Rome  al.nrm",
    ]
    assert fields({"النوع": "x", "ab": "y"}) == f"{ISOLATE}النوع{END_OF_ISOLATE}  x\nab     y"
