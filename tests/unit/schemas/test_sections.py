"""Sections promise: the standard's fields in their places, and silence about what they hold."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codes
from schemas.directory import Compartment
from schemas.errors import SchemaRefused
from schemas.sections import (
    SECTION_IDS,
    SECTION_INDEX,
    SECTIONS,
    compartment_of,
    section_content,
    validate_section,
)
from schemas.sections.fields import date_range, is_partial_date, possibly_child

# The fields that the standard has for these sections, counted by its prefixes.
HTCDS_FIELDS = {"cas_": 13, "prs_": 24, "vic_": 11}


def test_there_are_twenty_eight_sections_in_one_order_everywhere() -> None:
    assert tuple(SECTIONS) == tuple(name for name in SECTION_IDS if name in SECTIONS)
    assert len(SECTION_IDS) == 28
    assert len({entry.code for entry in SECTION_INDEX.values()}) == 28


def test_health_and_justice_are_sealed_for_keys_of_their_own() -> None:
    elsewhere = {
        compartment: [s for s in SECTION_IDS if compartment_of(s) is compartment]
        for compartment in (Compartment.HEALTH, Compartment.JUSTICE)
    }
    assert elsewhere == {
        Compartment.HEALTH: [
            "health_general",
            "health_sexual_reproductive",
            "mental_health_psychosocial",
        ],
        Compartment.JUSTICE: ["perpetrator", "criminal_justice"],
    }


def test_every_htcds_field_of_these_sections_has_exactly_one_place() -> None:
    names = [c.name for spec in SECTIONS.values() for c in spec.columns().values()]
    assert len(names) == len(set(names))
    for prefix, count in HTCDS_FIELDS.items():
        assert sum(name.startswith(prefix) for name in names) == count, prefix


def test_no_field_of_any_section_is_required() -> None:
    for spec in SECTIONS.values():
        assert section_content(validate_section(spec.id, {})) == {}
        assert not any(field.is_required() for field in spec.model.model_fields.values())


def test_naming_sections_loads_no_model() -> None:
    code = (
        "import schemas.sections.index, sys; "
        "sys.exit(any(m.startswith('schemas.sections.p') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("section", "content", "complaint"),
    [
        ("identity_core", {"gender": "SECRET"}, "identity_core.gender: unknown_code"),
        ("identity_core", {"SECRET": "x"}, "identity_core.?: extra_forbidden"),
        ("identity_core", {"birthdate": "1990-02-30"}, "birthdate: not_a_partial_date"),
        ("identity_core", {"deceased": "true"}, "deceased: bool_type"),
        ("case_admin", {"outgoing_referral_date": "2026-02-30"}, "not_a_day"),
        ("case_admin", {"outgoing_referral_date": "2026-2-3"}, "not_a_day"),
        ("contact_location", {"mobile_phone": "0655501234"}, "mobile_phone: not_a_phone"),
        ("contact_location", {"mobile_phone": "+000000000"}, "mobile_phone: not_a_phone"),
        ("contact_location", {"mailing_latitude": 41.8902}, "mailing_latitude: too_precise"),
        ("nationality_documents", {"citizenship": ["ITA"]}, "citizenship.0: unknown_code"),
        ("nationality_documents", {"citizenship": ["IT", "IT"]}, "citizenship: repeated"),
        ("trafficking_experience", {"methods_of_control": ["RestrictsMovement"]}, "unknown_code"),
        ("demographics_language", {"primary_language": "alb"}, "unknown_code"),
        ("contact_location", {"mobile_phone": "+39٠٦٥٥٥٠١٢٣٤"}, "mobile_phone: not_a_phone"),
        ("identity_core", {"birthdate": "19٩٠"}, "birthdate: not_a_partial_date"),
        ("case_admin", {"reply_by": "٢٠٢٦-٠١-٠٢"}, "reply_by: not_a_day"),
        ("identity_core", {"first_name": "\ud800"}, "identity_core: string_unicode"),
        ("identity_core", {"first_name": {1, 2}}, "identity_core: not_json"),
        ("family_dependants", {"relatives": [{"age": -1}]}, "relatives.0.age"),
    ],
)
def test_what_does_not_fit_is_refused_by_path_and_rule_without_its_value(
    section: str, content: dict[str, object], complaint: str
) -> None:
    with pytest.raises(SchemaRefused) as caught:
        validate_section(section, content)
    assert complaint in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_unknown_section_is_refused_without_repeating_its_name() -> None:
    with pytest.raises(SchemaRefused) as caught:
        validate_section("SECRET", {})
    assert "SECRET" not in str(caught.value)


def test_a_section_never_shows_what_it_holds() -> None:
    model = validate_section("identity_core", {"first_name": "SECRET"})
    assert "SECRET" not in repr(model) + str(model) + f"{model}"


def test_zero_and_no_are_said_and_silence_is_not() -> None:
    given = {"number_of_children": 0, "family_must_not_know": False, "social_situation": None}
    content = section_content(validate_section("family_dependants", given))
    assert content == {"number_of_children": 0, "family_must_not_know": False}


def test_the_json_schema_names_column_and_codes() -> None:
    schema = SECTIONS["identity_core"].model.model_json_schema()["properties"]["gender"]
    assert schema["x-htcds"] == "prs_Gender"
    assert "Feminine" in schema["anyOf"][0]["enum"]


# --- Partial dates -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1990", date(1990, 1, 1), date(1990, 12, 31)),
        ("1990-02", date(1990, 2, 1), date(1990, 2, 28)),
        ("1990-05-17", date(1990, 5, 17), date(1990, 5, 17)),
        ("199X", date(1990, 1, 1), date(1999, 12, 31)),
        ("1990-XX", date(1990, 1, 1), date(1990, 12, 31)),
        ("1990-05-XX", date(1990, 5, 1), date(1990, 5, 31)),
        ("1990~", date(1989, 1, 1), date(1991, 12, 31)),
    ],
)
def test_a_partial_date_means_every_day_between_two(text: str, first: date, last: date) -> None:
    assert date_range(text) == (first, last)


@pytest.mark.parametrize(
    "text",
    ["", "90", "1990-13", "1990-02-30", "199X-05", "1990-XX-01", "1990/1991", "9131", "1990-5"],
)
def test_what_is_not_a_single_date_of_level_1_is_no_partial_date(text: str) -> None:
    assert not is_partial_date(text)


@pytest.mark.parametrize(
    ("birthdate", "is_child"),
    [
        ("2008-11-22", False),  # eighteen on the day
        ("2008-11-23", True),
        ("2008", True),  # may be born in December
        ("2007", False),
        ("200X", True),
        ("2026-11-22", True),  # born today, age 0
        ("2008-11-22~", True),
        (None, False),
    ],
)
def test_who_may_be_under_age_is_presumed_a_child(birthdate: str | None, is_child: bool) -> None:
    assert possibly_child(birthdate, date(2026, 11, 22)) is is_child


@given(st.dates(date(1900, 1, 1), date(2100, 12, 31)), st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_knowing_less_of_a_birth_date_never_turns_a_child_into_an_adult(
    born: date, on_day: date
) -> None:
    text = born.isoformat()
    if possibly_child(text, on_day):
        for vaguer in (text[:7], f"{text[:7]}-XX", text[:4], f"{text[:4]}-XX", f"{text[:3]}X"):
            assert possibly_child(vaguer, on_day)
            assert possibly_child(f"{text}~", on_day)


def test_a_leap_day_child_comes_of_age_on_the_first_of_march() -> None:
    assert possibly_child("2008-02-29", date(2026, 2, 28))
    assert not possibly_child("2008-02-29", date(2026, 3, 1))


# --- Code lists ----------------------------------------------------------------------------------


def test_countries_are_iso_3166_and_kosovo() -> None:
    assert len(codes.country_codes()) == 250
    assert codes.country("ita") == codes.country("IT ") == "IT"
    assert codes.country("XKX") == codes.country("XKK") == "XK"
    assert codes.country("ZZ") is None


def test_languages_in_any_iso_639_spelling_come_to_one_identifier() -> None:
    assert codes.language("sq") == codes.language("alb") == codes.language("SQI") == "sqi"
    assert codes.language("prs") == "prs"
    assert codes.language("und") is None
    assert len(codes.language_codes()) > 7000


def test_other_spellings_of_a_code_never_lead_out_of_its_list() -> None:
    for name in codes.list_names(codes.HTCDS):
        found = codes.code_list(codes.HTCDS, name)
        assert set(found.aliases.values()) <= set(found.codes)
        assert not set(found.aliases) & set(found.codes)
        assert not set(found.definition_only) & set(found.codes)
        assert len(set(found.codes)) == len(found.codes)


def test_the_standards_own_typing_error_is_kept_as_its_code() -> None:
    relation = codes.code_list(codes.HTCDS, "vic_RelationshipToTrafficker")
    assert "Unaquainted" in relation
    assert relation.canonical(" Unacquainted ") == "Unaquainted"


def test_our_own_codes_are_plain_words() -> None:
    for name in codes.list_names(codes.BROKER):
        for code in codes.code_list(codes.BROKER, name).codes:
            assert code == code.lower()
            assert code.replace("_", "").isalpha()
