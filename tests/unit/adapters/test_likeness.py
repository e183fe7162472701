"""Who is alike is found whatever the spelling of the letters, and nothing is concluded from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Match
from adapters.conformance.words import NAMES
from adapters.likeness import contradict, dates_agree, letters, likeness, number_key, numbers_of


def person(first: str = "Invented", second: str = "Nobody", **more: Any) -> dict[str, Any]:
    number = more.pop("number", None)
    papers = {} if number is None else {"nationality_documents": {"identity_number": number}}
    return {"identity_core": {"first_name": first, "second_name": second, **more}, **papers}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Łódź-Źdźbło", "ŁÓDŹ ŹDŹBŁO"),
        ("Muñoz Peña", "Munoz Pena"),
        ("Nguyễn Đặng", "nguyen đang"),
        ("O'Nobody", "O’NOBODY"),
        ("İğdırlı", "IGDIRLI"),
        ("مُختَلَقة", "مختلقة"),
        ("Ｉｎｖｅｎｔｅｄ", "invented"),
    ],
)
def test_a_name_is_the_same_however_its_letters_are_written(one: str, other: str) -> None:
    assert letters(one) == letters(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("สมมติ", "สมมต"),  # vowels of Thai are letters, though Unicode calls them marks
        ("ប្រឌិត", "ប្រឌត"),
        ("Иванова", "Ivanova"),  # no transliteration is guessed
        ("虚构", "虛構"),
        ("Nobody", "Nobodi"),
    ],
)
def test_what_would_have_to_be_guessed_is_another_name(one: str, other: str) -> None:
    assert letters(one) != letters(other)


def test_a_name_in_its_own_script_is_enough() -> None:
    here = person("Olena", "Vygadana", original_first_name="Олена", original_second_name="Вигадана")
    there = person("Олена", "Вигадана")

    assert likeness(here, there) is not None
    assert likeness(person("Olena", "Vygadana"), there) is None


def test_an_identity_number_keeps_its_leading_zeros() -> None:
    assert number_key("00 700-1") == "007001"
    assert likeness(person(number="0071"), person("Other", "Name", number="71")) is None
    alike = likeness(person(number="007-1"), person("Other", "Name", number="007 1"))
    assert alike is not None
    assert alike.match is Match.NUMBER
    assert alike.fields == ("nationality_documents.identity_number",)


def test_numbers_of_two_kinds_are_never_compared() -> None:
    paper = {"nationality_documents": {"identity_number": "1234"}}
    unhcr = {"nationality_documents": {"unhcr_id": "1234"}}

    assert likeness(paper, unhcr) is None
    assert not numbers_of(paper) & numbers_of(unhcr)


@pytest.mark.parametrize("empty", [None, "", " - ", 7])
def test_nothing_is_never_the_same_as_nothing(empty: Any) -> None:
    nobody = person(empty, empty, number=empty)

    assert likeness(nobody, nobody) is None
    assert not contradict(nobody, nobody)


def test_the_same_name_with_another_birth_date_is_another_person() -> None:
    here, there = person(birthdate="1990-05-14"), person(birthdate="1991-05-14")

    assert likeness(here, there) is None
    assert contradict(here, there)
    assert likeness(here, person(birthdate="1990-XX")) is not None
    assert likeness(here, person()) is not None


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("1990", "1990-05-14", True),
        ("199X", "1993-01-01", True),
        ("1990-XX", "1991", False),
        ("1990-05-XX", "1990-05-14", True),
        ("1990-05~", "1990-06", False),
    ],
)
def test_dates_that_are_known_in_part(one: str, other: str, agree: bool) -> None:
    assert dates_agree(one, other) is agree


@given(st.sampled_from([pair for names in NAMES.values() for pair in names]))
def test_everybody_is_like_herself_in_every_script(names: tuple[str, str]) -> None:
    alike = likeness(person(*names), person(*names))

    assert alike is not None
    assert alike.match is Match.NAME


@given(st.text(max_size=20), st.text(max_size=20))
def test_likeness_is_mutual(one: str, other: str) -> None:
    here, there = person(one), person(other)

    assert (likeness(here, there) is None) == (likeness(there, here) is None)
