"""Labels promise: every code, field and section has a name in each language that a reader can read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from sqlalchemy import CheckConstraint

from adapters.conformance import full_case
from broker.gateway.store.tables import inbox, outbox
from schemas import codes
from schemas.base import ProtectedModel
from schemas.bodies.words import own_codes, parts_of
from schemas.catalogue import catalogue
from schemas.codes import labels
from schemas.evidence import Fact
from schemas.sections import SECTION_IDS, SECTIONS
from schemas.sections.registry import part_model
from schemas.sections.words import in_words
from schemas.states import MACHINES, THREADED

ALL_LISTS = [
    codes.code_list(standard, name)
    for standard in (*codes.STANDARDS, codes.EXCHANGE)
    for name in codes.list_names(standard)
]
BRANDS = frozenset(codes.code_list(codes.HTCDS, "vic_RecruitmentWebsitesAndApps").codes) - {"Other"}
"""Names of companies: the same in every Latin alphabet."""

LANGUAGE = pytest.mark.parametrize("language", labels.LANGUAGES)
SEEDS_SPEAK = [
    "deu",
    "ell",
    "tur",
    "fra",
    "pol",
    "por",
    "spa",
    "eng",
    "sqi",
    "ara",
    "ukr",
    "rus",
    "ron",
    "ben",
    "hau",
    "yor",
    "ibo",
    "amh",
    "orm",
    "tir",
    "bam",
    "ful",
    "ckb",
    "kur",
    "pus",
    "fas",
    "prs",
    "ind",
    "khm",
    "lao",
    "mya",
    "vie",
    "zho",
    "iii",
    "hun",
    "nld",
    "zgh",
    "ita",
]


STATES = {
    *(state for name in THREADED | {"delivery", "erasure"} for state in MACHINES[name].states),
    *(fact.value for fact in Fact if fact is not Fact.TOMBSTONE),
    *(
        state
        for box in (outbox, inbox)
        for rule in box.constraints
        if isinstance(rule, CheckConstraint)
        for state in re.findall(r"'([a-z]+)'", str(rule.sqltext))
    ),
    "unknown",
}
"""Of exchanges, of messages on their way, and of what a gateway keeps of them."""


def body_codes(model: type[BaseModel]) -> Iterator[str]:
    """The codes of a body's fields that no list has, also of its parts."""
    for field in model.model_fields.values():
        yield from own_codes(field.annotation)
        for part in parts_of(field.annotation):
            yield from body_codes(part)


BODY_CODES = {code for row in catalogue.values() for code in body_codes(row.body)}


def paths() -> Iterator[str]:
    """Every field of every section and part, by its path."""
    waiting: list[tuple[str, type[ProtectedModel]]] = [
        (spec.id, spec.model) for spec in SECTIONS.values()
    ]
    while waiting:
        path, model = waiting.pop()
        for name, field in model.model_fields.items():
            yield f"{path}.{name}"
            part = part_model(field.annotation)
            if part is not None:
                waiting.append((f"{path}.{name}", part))


def everything(language: str) -> Iterator[tuple[str, str]]:
    """(what is named, its name) for all that has one; missing ones raise."""
    for found in ALL_LISTS:
        for code in found.codes:
            yield code, labels.label(found, code, language)
    for path in paths():
        yield path.rpartition(".")[2], labels.field_label(path, language)
    for section in SECTION_IDS:
        yield section, labels.section_label(section, language)
    for name in catalogue:
        yield name, labels.type_label(name, language)
    for state in STATES:
        yield state, labels.state_label(state, language)
    for code in BODY_CODES:
        yield code, labels.body_label(code, language)


@LANGUAGE
def test_every_code_field_section_type_and_state_has_a_label(language: str) -> None:
    found = list(everything(language))
    assert len(found) > 1000
    for name, said in found:
        assert said == said.strip() != "", name


@pytest.mark.parametrize("language", ["fr", "ar"])
def test_no_label_is_the_raw_code_by_accident(language: str) -> None:
    same = {name for name, said in everything(language) if said.casefold() == name.casefold()}
    assert same <= BRANDS


def test_an_arabic_label_is_in_arabic_script() -> None:
    for name, said in everything("ar"):
        assert any("\u0600" <= character <= "\u06ff" for character in said), name


def test_a_label_is_in_one_language_alone() -> None:
    for name, said in [*everything("en"), *everything("fr")]:
        assert not any("\u0600" <= character <= "\u06ff" for character in said), name


@LANGUAGE
def test_two_codes_of_one_list_never_have_one_label(language: str) -> None:
    for found in ALL_LISTS:
        said = [labels.label(found, code, language) for code in found.codes]
        assert len(set(said)) == len(said), found.name


@LANGUAGE
def test_no_label_is_left_over_from_a_code_that_is_gone(language: str) -> None:
    words = labels._words(language)
    known = {code for found in ALL_LISTS for code in found.codes}
    assert set(words["codes"]) <= known
    assert set(words["types"]) == set(catalogue)
    assert set(words["states"]) == STATES
    assert set(words["bodies"]) <= BODY_CODES
    assert set(words["sections"]) == set(SECTION_IDS)
    assert set(words["fields"]) == {path.rpartition(".")[2] for path in paths()}
    assert set(words["fields_at"]) <= set(paths())
    for name, own in words["lists"].items():
        standard, _, short = name.partition("/")
        assert set(own) <= set(codes.code_list(standard, short).codes), name


@LANGUAGE
def test_every_country_has_a_name_and_so_has_yunnan(language: str) -> None:
    for code in codes.country_codes():
        assert labels.place_label(code, language) != code
    assert "CN-YN" not in labels.place_label("CN-YN", language)
    assert labels.place_label("AL-01", language).endswith("(AL-01)")


@LANGUAGE
def test_the_languages_of_the_corridors_have_names(language: str) -> None:
    for code in SEEDS_SPEAK:
        named = labels.language_label(code, language)
        assert named != code or (code, language) == ("lao", "fr")  # French calls it so
    assert labels.language_label("aaa", language)


@LANGUAGE
def test_two_fields_of_one_section_or_part_never_have_one_label(language: str) -> None:
    said: dict[str, list[str]] = {}
    for path in paths():
        said.setdefault(path.rpartition(".")[0], []).append(labels.field_label(path, language))
    for within, found in said.items():
        assert len(set(found)) == len(found), within


def test_a_code_outside_its_list_has_no_label() -> None:
    gender = codes.code_list(codes.HTCDS, "prs_Gender")
    with pytest.raises(KeyError):
        labels.label(gender, "Single", "en")
    with pytest.raises(KeyError):
        labels.label(gender, "Feminine", "tlh")


def test_the_standards_typing_error_is_read_as_what_it_means() -> None:
    relation = codes.code_list(codes.HTCDS, "vic_RelationshipToTrafficker")
    assert labels.label(relation, "Unaquainted", "en") == "Unacquainted"


@LANGUAGE
def test_a_whole_case_is_read_without_meeting_a_code(language: str) -> None:
    case = full_case()
    said = [
        line
        for section, content in case.sections.items()
        for line in in_words(section, content, language)
    ]
    texts = {text for _, text in said}
    assert {"DebtBondage", "PossibleVictimOfTrafficking", "asylum_seeker", "sqi"}.isdisjoint(texts)
    assert any("مختلق" in text for text in texts)  # what the person wrote stays


def test_what_is_sent_in_rome_is_read_in_arabic_in_tunis() -> None:
    content = {"events": [{"type": "Transit", "country": "LY"}], "transit_countries": ["NE"]}
    assert list(in_words("trafficking_route", content, "ar")) == [
        ("أحداث المسار 1: النوع", "العبور"),
        ("أحداث المسار 1: البلد", "ليبيا"),
        ("بلدان العبور", "النيجر"),
    ]
