"""Sections promise: the standard's fields in their places, and silence about what they hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.conformance import full_case
from schemas import codes
from schemas.base import ProtectedModel
from schemas.codes import htcds
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
from schemas.sections.fields import date_range, is_partial_date, possibly_child, shape_of
from schemas.sections.index import View
from schemas.sections.registry import part_model
from schemas.sections.views import reduced
from schemas.sections.whole import check_together


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


def test_every_field_of_the_standard_has_exactly_one_place() -> None:
    standard = htcds.fields()
    assert len(standard) == 84
    placed = [each.column.name for spec in SECTIONS.values() for each in spec.placements()]
    assert len(placed) == len(set(placed))
    in_sections = {name for name, field in standard.items() if field.in_a_section}
    assert {name for name in placed if not name.startswith("x_")} == in_sections
    assert len(in_sections) + len(htcds.marked("directory")) + len(htcds.marked("consent")) == 84


def test_a_field_that_the_standard_gave_up_is_marked_where_it_is_accepted() -> None:
    columns = [each.column for spec in SECTIONS.values() for each in spec.placements()]
    marked = {column.name for column in columns if column.deprecated}
    assert marked == {"vic_Vulnerabilities", "vic_DetailsOfVulnerabilities"}
    assert marked | {"vic_AgreementToManagePersonalData"} == set(htcds.marked("deprecated"))


def test_each_coded_field_of_the_standard_takes_the_standards_own_list() -> None:
    lists = set(codes.list_names(codes.HTCDS))
    for spec in SECTIONS.values():
        for each in spec.placements():
            if each.column.name in lists:
                shape = shape_of(each.annotation)
                assert shape.codes == codes.code_list(codes.HTCDS, each.column.name)
                several = htcds.fields()[each.column.name].type == "multiselect"
                assert shape.many is several, each.column.name


def models() -> Iterator[type[ProtectedModel]]:
    """Every model of every section, the parts of fields included."""
    waiting = [spec.model for spec in SECTIONS.values()]
    while waiting:
        model = waiting.pop()
        yield model
        parts = (part_model(field.annotation) for field in model.model_fields.values())
        waiting += [part for part in parts if part is not None]


def test_no_field_of_any_section_or_part_is_required() -> None:
    for spec in SECTIONS.values():
        assert section_content(validate_section(spec.id, {})) == {}
    for model in models():
        assert not any(field.is_required() for field in model.model_fields.values()), model.__name__


def test_free_text_is_marked_as_such_in_the_published_schema() -> None:
    for model in models():
        properties = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            marked = "x-free-text" in str(properties[name])
            assert marked is ("WrittenByAPerson" in str(field.annotation)), (model.__name__, name)
    narrative = SECTIONS["case_narrative"].model.model_json_schema()["properties"]
    assert narrative["case_comment"]["anyOf"][0]["x-free-text"] is True


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
        ("nationality_documents", {"region_of_origin": "ZZ-YN"}, "region_of_origin: unknown_code"),
        ("identity_core", {"original_language": "uk-Cyrr"}, "original_language: unknown_code"),
        ("identity_core", {"original_language": "UK"}, "original_language: not_a_language_tag"),
        ("identity_core", {"first_name": "a\u202eb"}, "first_name: bidi_control"),
        ("identity_core", {"first_name": "a\u2066b"}, "first_name: bidi_control"),
        ("identity_core", {"first_name": "a\0b"}, "first_name: control_character"),
        ("identity_core", {"first_name": "e\u0308"}, "first_name: not_nfc"),
        ("identity_core", {"first_name": "a" * 201}, "first_name: too_long"),
        ("identity_core", {"gender": "Femin\u200bine"}, "gender: unknown_code"),
        ("case_narrative", {"case_comment": "a" * 20_001}, "case_comment: too_long"),
        ("compensation_finance", {"debts": {"currency": "XYZ"}}, "debts.currency: unknown_code"),
        ("attachments_biometrics", {"files": [{"section": "SECRET"}]}, "section: unknown_code"),
        ("health_sexual_reproductive", {"results": [{"result": "not_tested"}]}, "unknown_code"),
        (
            "return_travel",
            {"legs": [{"departs_on": "2026-02-02", "arrives_on": "2026-02-01"}]},
            "return_travel.legs.0.arrives_on: before_start",
        ),
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


# --- Sections seen together -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "day", "refused"),
    [
        ("1990-05-17", "1990-05-16", True),
        ("1990-05-17", "1990-05-17", False),
        ("1990", "1989-12-31", True),
        ("1990", "1990-01-01", False),
        ("199X", "1990-01-01", False),
        (None, "1801-01-01", False),
    ],
)
def test_what_happened_before_every_possible_day_of_birth_is_refused(
    born: str | None, day: str, refused: bool
) -> None:
    sections: dict[str, dict[str, Any]] = {
        "identity_core": {"birthdate": born} if born else {},
        "trafficking_route": {"events": [{}, {"date": day}]},
        "compensation_finance": {"claims": [{"filed_on": day}]},
        "risk_security": {"assessed_on": day},
    }
    if not refused:
        check_together(sections)
        return
    with pytest.raises(SchemaRefused) as caught:
        check_together(sections)
    assert caught.value.where == (
        "trafficking_route.events.1.date: before_birth",
        "compensation_finance.claims.0.filed_on: before_birth",
        "risk_security.assessed_on: before_birth",
    )


def test_a_place_known_by_its_country_and_kind_is_enough_for_most() -> None:
    event = {"type": "Transit", "country": "LY", "city": "SECRET", "latitude": 1.0}
    content = {
        "location_of_exploitation": "SECRET",
        "events": [event, {**event, "city": "SECRET2"}, {"type": "Exploitation"}],
    }
    left = reduced("trafficking_route", content, View.COUNTRY_LEVEL)
    assert left == {"events": [{"type": "Transit", "country": "LY"}, {"type": "Exploitation"}]}


def test_carriers_learn_whether_someone_can_travel_and_nothing_else() -> None:
    content = {"fit_to_travel": "fit_with_escort", "pregnant": "yes", "allergies": ["SECRET"]}
    left = reduced("health_general", content, View.FIT_TO_TRAVEL)
    assert left == {"fit_to_travel": "fit_with_escort"}


@pytest.mark.parametrize(
    ("content", "band"),
    [
        ({}, "none"),
        ({"needs": ["sight"]}, "some"),
        ({"needs": ["sight", "speech"], "homeless": True}, "high"),
        ({"needs": ["sight"], "need_band": "high"}, "high"),
    ],
)
def test_a_query_about_capacity_says_how_much_is_needed_and_not_what(
    content: dict[str, object], band: str
) -> None:
    assert reduced("vulnerability_needs", content, View.BANDED) == {"need_band": band}


def test_every_view_that_a_section_names_leaves_valid_content_of_it() -> None:
    case = full_case().sections
    for entry in SECTION_INDEX.values():
        for view in entry.views:
            left = reduced(entry.id, case[entry.id], view)
            assert section_content(validate_section(entry.id, left)) == left
            assert reduced(entry.id, left, view) == left  # a view of a view is that view
    with pytest.raises(ValueError, match="no such view"):
        reduced("case_admin", {}, View.BANDED)
