"""The files adapter's mapping promises: what goes in comes out, and nothing is dropped silently."""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import CaseRecord
from adapters.conformance import full_case
from adapters.systems.files.cells import CellRefused, read_cell, shield, unshield
from adapters.systems.files.mapping import (
    RowRefused,
    beyond_columns,
    placed_columns,
    read_header,
    read_row,
    write_row,
    written_columns,
)
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS, section_content, validate_section
from schemas.sections.fields import Kind, Shape
from schemas.sections.whole import check_together

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PHONES = ("+390655501234", "+355692222222", "+447700900100")
TEXT = (
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Cn"), exclude_characters=BIDI, codec="utf-8")
        | st.sampled_from("\n\t'\"=+-@; ,"),
        min_size=1,
        max_size=30,
    )
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: not any(unicodedata.category(c) == "Cn" for c in text))
)


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of one kind of field, as JSON."""
    one: st.SearchStrategy[Any]
    match shape.kind:
        case Kind.TEXT:
            one = TEXT
        case Kind.CODE:
            assert shape.codes is not None
            one = st.sampled_from(shape.codes.codes)
        case Kind.DAY:
            one = st.dates(date(1900, 1, 1)).map(date.isoformat)
        case Kind.PARTIAL_DATE:
            one = st.sampled_from(["1990", "199X", "19XX", "1990-05", "1990-XX", "1990-05-XX"])
            one = st.tuples(one, st.sampled_from(["", "?", "~", "%"])).map("".join)
            one |= st.dates(date(1900, 1, 1), date(2199, 12, 31)).map(date.isoformat)
        case Kind.COUNTRY:
            one = st.sampled_from(["IT", "AL", "XK", "CN"])
        case Kind.LANGUAGE:
            one = st.sampled_from(["sqi", "ita", "prs", "ckb"])
        case Kind.SCRIPT:
            one = st.sampled_from(["Latn", "Arab", "Cyrl", "Ethi"])
        case Kind.PHONE:
            one = st.sampled_from(PHONES)
        case Kind.DEGREES:
            one = st.integers(-9000, 9000).map(lambda hundredths: hundredths / 100)
        case Kind.NUMBER:
            one = st.integers(0, 99)
        case Kind.YES_NO:
            one = st.booleans()
    return st.lists(one, min_size=1, max_size=4, unique=True) if shape.many else one


@st.composite
def cases(draw: st.DrawFn) -> CaseRecord:
    """Any case made of fields that have a column, and some that have none."""
    sections: dict[str, dict[str, Any]] = {}
    for place in placed_columns().values():
        if place.field == "email" or draw(st.integers(0, 5)):
            continue
        content = sections.setdefault(place.section, {})
        if place.part is not None:
            content = content.setdefault(place.field, [{}])[0]
        content[place.part or place.field] = draw(values(place.shape))
    if draw(st.booleans()):
        sections.setdefault("health_general", {})["injuries"] = draw(TEXT)
    if draw(st.booleans()):
        sections.setdefault("vulnerability_needs", {})
    if draw(st.booleans()):
        events = sections.setdefault("trafficking_route", {}).setdefault("events", [{}])
        events += draw(st.lists(st.sampled_from([{}, {"country": "TN"}]), max_size=2))
        events[0] |= draw(st.sampled_from([{}, {"position": 1}]))
    try:
        check_together(sections)
    except SchemaRefused:
        sections["identity_core"].pop("birthdate")
    if draw(st.booleans()):
        sections.setdefault("identity_core", {})["aliases"] = draw(
            st.lists(TEXT, min_size=1, max_size=3)
        )
    return CaseRecord(
        case_ref="XA-0", sections=sections, sender="xa.nrm", invented=draw(st.booleans())
    )


def through_csv(case: CaseRecord, business_id: UUID) -> CaseRecord:
    text = io.StringIO()
    row = write_row(case, business_id=business_id, sender=case.sender)
    csv.writer(text).writerows([written_columns(), row])
    header, cells = csv.reader(io.StringIO(text.getvalue(), newline=""))
    return read_row(read_header(header), cells)


def row_of(**cells: str) -> CaseRecord:
    cells = {"x_case_ref": "XA-0", **cells}
    return read_row(read_header(list(cells)), list(cells.values()))


def reasons_of(**cells: str) -> tuple[str, ...]:
    with pytest.raises(RowRefused) as caught:
        row_of(**cells)
    return caught.value.reasons


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(cases())
def test_every_case_comes_back_from_its_row_as_it_was(case: CaseRecord) -> None:
    business_id = uuid4()
    back = through_csv(case, business_id)
    assert back.sections == case.sections
    assert (back.case_ref, back.business_id, back.sender, back.invented) == (
        case.case_ref,
        business_id,
        case.sender,
        case.invented,
    )


@pytest.mark.parametrize("column", list(placed_columns()))
def test_each_column_carries_its_field_both_ways(column: str) -> None:
    place = placed_columns()[column]

    @settings(max_examples=10, deadline=None, database=None)
    @given(values(place.shape))
    def both_ways(value: object) -> None:
        if place.field == "email":
            value = "invented@example.org"
        content = {place.field: [{place.part: value}] if place.part else value}
        assert section_content(validate_section(place.section, content)) == content
        case = CaseRecord("XA-0", {place.section: content})
        header = list(written_columns())
        row = write_row(case, business_id=None, sender=None)
        assert read_row(header, row).sections == case.sections
        carried = row[header.index(column)] or row[header.index("x_more")]
        assert carried

    both_ways()


def test_a_case_with_every_section_loses_nothing() -> None:
    case = full_case()
    assert through_csv(case, uuid4()).sections == case.sections


@given(TEXT)
def test_no_text_that_we_write_is_a_formula_for_a_spreadsheet(text: str) -> None:
    assert not shield(text).lstrip().startswith(("=", "+", "-", "@"))
    assert unshield(shield(text)) == text


def test_an_apostrophe_that_belongs_to_a_name_stays() -> None:
    assert row_of(prs_SecondName="'Abd").sections["identity_core"]["second_name"] == "'Abd"
    assert row_of(prs_SecondName="'").sections["identity_core"]["second_name"] == "'"


# --- What national files are known to hold ---------------------------------------------------------


def test_the_survey_forms_column_names_are_understood() -> None:
    case = row_of(prs_First_Name="Invented", vic_Methods_of_Control="DebtBondage ")
    assert case.sections["identity_core"] == {"first_name": "Invented"}
    assert case.sections["trafficking_experience"] == {"methods_of_control": ["DebtBondage"]}


def test_the_survey_forms_blanks_between_codes_are_understood() -> None:
    case = row_of(vic_MethodsOfControl="DebtBondage  FalsePromises", prs_Citizenship="ita, AL;XKX")
    assert case.sections["trafficking_experience"]["methods_of_control"] == [
        "DebtBondage",
        "FalsePromises",
    ]
    assert case.sections["nationality_documents"]["citizenship"] == ["IT", "AL", "XK"]


def test_spellings_of_the_field_definitions_become_the_picklists() -> None:
    case = row_of(vic_MethodsOfControl="ThreatOfLawEnforcement;PsychoactiveSubstances")
    assert case.sections["trafficking_experience"]["methods_of_control"] == [
        "ThreatsLawEnforcement",
        "PsychoactiveSubstance",
    ]


@pytest.mark.parametrize("code", ["RestrictsMovement", "UsesChildren", "Threats"])
def test_a_method_that_the_picklist_lacks_is_refused_by_name_and_has_a_column(code: str) -> None:
    assert reasons_of(vic_MethodsOfControl=f"DebtBondage;{code}") == (
        "vic_MethodsOfControl: cannot-map",
    )
    case = row_of(x_methods_of_control_defined=code)
    assert case.sections["trafficking_experience"]["methods_of_control_defined"] == [code]


def test_several_industries_in_a_single_picklist_are_refused_and_not_cut() -> None:
    two = "A_AgricultureForestryAndFishing F_Construction"
    assert reasons_of(vic_ForcedLabourIndustry=two) == ("vic_ForcedLabourIndustry: several-values",)


def test_zeros_are_kept() -> None:
    case = row_of(
        prs_NumberOfChildren="0",
        vic_AgeWhenTrafficked="0",
        prs_MailingPostalCode="00184",
        prs_IdentityNumber="007",
        prs_MobilePhone="390655501234",
    )
    assert case.sections["family_dependants"]["number_of_children"] == 0
    assert case.sections["trafficking_experience"]["age_when_trafficked"] == 0
    assert case.sections["contact_location"]["mailing_postal_code"] == "00184"
    assert case.sections["contact_location"]["mobile_phone"] == "+390655501234"
    assert case.sections["nationality_documents"]["identity_number"] == "007"


def test_coordinates_are_made_coarse_on_the_way_in() -> None:
    case = row_of(prs_MailingLatitude="41.8999", prs_MailingLongitude="-12.4999")
    assert case.sections["contact_location"] == {
        "mailing_latitude": 41.89,
        "mailing_longitude": -12.49,
    }


def test_names_in_two_unicode_forms_are_one_name() -> None:
    decomposed = unicodedata.normalize("NFD", "Shëmbulli Çdo")
    case = row_of(prs_SecondName=decomposed)
    assert case.sections["identity_core"]["second_name"] == "Shëmbulli Çdo"


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [
        ("prs_Birthdate", "12/03/1990", "date-ambiguous"),
        ("prs_Birthdate", "1990/03/12", "date-ambiguous"),
        ("prs_Birthdate", "Mar-90", "date-ambiguous"),
        ("prs_Birthdate", "12-Mar-90", "date-ambiguous"),
        ("prs_Birthdate", "33012", "date-spreadsheet-number"),
        ("prs_Birthdate", "########", "date-lost"),
        ("prs_Birthdate", "1990-02-30", "bad-date"),
        ("cas_OutgoingReferralDate", "1.2.2026", "date-ambiguous"),
        ("cas_OutgoingReferralDate", "46054", "date-spreadsheet-number"),
        ("cas_OutgoingReferralDate", "2026-02-30", "not-a-day"),
        ("prs_MobilePhone", "3.90656E+11", "number-lost-digits"),
        ("prs_MobilePhone", "0039065550123", "bad-phone"),
        ("prs_MobilePhone", "+12", "not-a-phone"),
        ("prs_Gender", "Female", "unknown-code"),
        ("prs_MailingCountry", "ZZ", "unknown-code"),
        ("prs_PrimaryLanguage", "albanian", "unknown-code"),
        ("prs_Deceased", "maybe", "bad-checkbox"),
        ("prs_NumberOfChildren", "-1", "bad-number"),
        ("prs_MailingLatitude", "41,89", "bad-number"),
        ("prs_FirstName", "a\u202eb", "bidi-control"),
        ("x_more", '{"identity_core":{"aliases":[],"aliases":[]}}', "bad-json"),
        ("x_more", '{"SECRET":{}}', "unknown-section"),
        ("x_business_id", "7", "bad-form"),
        ("x_sender", "Italy", "bad-form"),
    ],
)
def test_a_cell_that_may_mean_two_things_or_none_is_refused_with_its_column(
    column: str, cell: str, code: str
) -> None:
    (reason,) = reasons_of(prs_Salutation="", **{column: cell})
    assert reason.startswith(column)
    assert reason.endswith(code)
    assert "SECRET" not in reason


def test_a_date_with_midnight_from_a_database_export_is_a_day() -> None:
    case = row_of(cas_OutgoingReferralDate="2026-11-20 00:00:00", prs_Birthdate="1990-05-17T00:00")
    assert case.sections["case_admin"]["outgoing_referral_date"] == "2026-11-20"
    assert case.sections["identity_core"]["birthdate"] == "1990-05-17"


def test_every_reason_of_a_row_is_told_at_once() -> None:
    assert reasons_of(prs_Gender="x", prs_Birthdate="1/2/3", prs_Deceased="?") == (
        "prs_Gender: unknown-code",
        "prs_Birthdate: date-ambiguous",
        "prs_Deceased: bad-checkbox",
    )


def test_a_field_in_its_column_and_in_x_more_is_refused() -> None:
    reasons = reasons_of(prs_FirstName="A", x_more='{"identity_core":{"first_name":"B"}}')
    assert reasons == ("prs_FirstName: also-in-x_more",)


@pytest.mark.parametrize("ref", ["XA-ROSSI-1", "XA-19900517", "XA-17-05-1990"])
def test_a_case_number_that_gives_the_person_away_is_refused(ref: str) -> None:
    reasons = reasons_of(x_case_ref=ref, prs_SecondName="Rossi", prs_Birthdate="1990-05-17")
    assert reasons == ("x_case_ref: names-the-person",)


def test_consent_boxes_of_both_versions_are_told_and_are_no_section() -> None:
    case = row_of(prs_FirstName="A", con_Consent="true", con_DataForResearch="no")
    assert case.consent_boxes == {"con_Consent": True, "con_DataForResearch": False}
    assert list(case.sections) == ["identity_core"]


def test_what_no_section_carries_is_named() -> None:
    case = row_of(prs_FirstName="A", org_Name="x", org_Phone="", prs_Title="y")
    assert case.not_carried == ("org_Name", "prs_Title")


# --- Headers -------------------------------------------------------------------------------------


def test_a_foreign_header_is_refused_by_position_and_never_repeated() -> None:
    with pytest.raises(SchemaRefused) as caught:
        read_header(["x_case_ref", "SECRET", "prs_FirstName", "prs_First_Name"])
    assert caught.value.where == ("doubled: prs_FirstName", "1 unknown, at position 2")


def test_a_header_without_case_number_is_refused() -> None:
    with pytest.raises(SchemaRefused, match="missing: x_case_ref"):
        read_header(["prs_FirstName"])


def test_a_header_without_any_section_is_refused() -> None:
    with pytest.raises(SchemaRefused, match="no column of any section"):
        read_header(["x_case_ref", "con_Consent"])


def test_semicolons_instead_of_commas_are_named() -> None:
    with pytest.raises(SchemaRefused, match="separated by commas"):
        read_header(["x_case_ref;prs_FirstName"])


def test_a_row_with_a_cell_too_many_is_refused() -> None:
    with pytest.raises(RowRefused, match="wrong-number-of-cells"):
        read_row(read_header(["x_case_ref", "prs_FirstName"]), ["XA-0", "A", "B"])


def test_a_refused_cell_says_its_code_alone() -> None:
    with pytest.raises(CellRefused) as caught:
        read_cell("SECRET", Shape(Kind.COUNTRY))
    assert str(caught.value) == "unknown-code"


def test_the_written_header_names_every_column_once() -> None:
    columns = written_columns()
    assert len(set(columns)) == len(columns)
    assert {each.column.name for s in SECTIONS.values() for each in s.placements()} < set(columns)


def test_what_the_standards_columns_cannot_hold_is_told_field_by_field() -> None:
    case = CaseRecord(
        "XA-0",
        {
            "identity_core": {"first_name": "A", "aliases": ["B"], "original_script": "Arab"},
            "trafficking_route": {
                "events": [{"country": "LY", "position": 1}, {"country": "TN"}],
                "transit_countries": ["NE"],
            },
        },
    )
    assert beyond_columns(case) == (
        "identity_core.aliases",
        "identity_core.original_script",
        "trafficking_route.events.0.position",
        "trafficking_route.events.1",
        "trafficking_route.transit_countries",
    )
