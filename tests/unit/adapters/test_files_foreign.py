"""A workbook that others made is read whole, or each row that is not says why; nothing is guessed."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import CannotMap, CaseRecord, RejectedRow
from adapters.conformance import full_case
from adapters.conformance.checks import new_id
from adapters.systems.files.case_file import (
    Kind,
    case_file,
    filed_case,
    is_same,
    load_spelling,
    read_file,
)
from adapters.systems.files.spelling import PLAIN, Spelling
from schemas.errors import SchemaRefused

SPELLING = """
[columns]
"Case no" = "x_case_ref"
"Given  name" = "prs_FirstName"
Geburtstag = "prs_Birthdate"
Room = "not-carried"

[words.prs_Gender]
F = "Feminine"

[words.prs_Citizenship]
"Albania" = "AL"
"Viet Nam" = "VN"

[dates]
order = "day-first"
numbers = 1900

[boxes]
yes = ["oui"]
no = ["non"]
"""


@pytest.fixture
def spelling(tmp_path: Path) -> Spelling:
    (tmp_path / "spelling.toml").write_text(SPELLING, encoding="utf-8")
    return load_spelling(tmp_path / "spelling.toml")


def book(**sheets: list[tuple[Any, ...]]) -> io.BytesIO:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    made.save(stream)
    stream.seek(0)
    return stream


def changed(stream: io.BytesIO, change: Callable[[Any], None]) -> io.BytesIO:
    made = openpyxl.load_workbook(stream)
    change(made)
    out = io.BytesIO()
    made.save(out)
    out.seek(0)
    return out


def read(stream: io.BytesIO, spelling: Spelling = PLAIN) -> list[CaseRecord | RejectedRow]:
    return list(read_file(stream, rejected=None, spelling=spelling))


def cases(stream: io.BytesIO, spelling: Spelling = PLAIN) -> list[CaseRecord]:
    found = read(stream, spelling)
    assert all(isinstance(each, CaseRecord) for each in found), found
    return [each for each in found if isinstance(each, CaseRecord)]


def reasons(stream: io.BytesIO, spelling: Spelling = PLAIN) -> list[tuple[str, ...]]:
    return [each.reasons for each in read(stream, spelling) if isinstance(each, RejectedRow)]


# --- A sheet for each entity -----------------------------------------------------------------------

PERSONS = [("x_case_ref", "prs_FirstName"), ("A-1", "Invented One"), ("A-2", "Invented Two")]
EVENTS = [
    ("hte_Type", "hte_Country", "x_case_ref"),
    ("Exploitation", "ITA", "A-2"),
    ("Recruitment", "AL", " A-1 "),
    ("Transit", "ME", "A-1"),
]
PLANS = [("x_case_ref", "spl_Type"), ("A-1", "Legal"), ("A-1", "Education"), ("A-1", "Health")]


def test_the_sheets_of_one_workbook_are_one_table_joined_by_the_case_number() -> None:
    first, second = cases(book(Codes=[("a", "b")], Events=EVENTS, Persons=PERSONS, Plans=PLANS))
    events = first.sections["trafficking_route"]["events"]
    assert [(each["type"], each["country"]) for each in events] == [
        ("Recruitment", "AL"),
        ("Transit", "ME"),
    ]
    plans = first.sections["reintegration_plan"]["plans"]
    assert [each["type"] for each in plans] == ["Legal", "Education", "Health"]
    assert [e["country"] for e in second.sections["trafficking_route"]["events"]] == ["IT"]


def test_a_row_of_another_sheet_that_belongs_to_no_case_is_rejected_by_its_place() -> None:
    stray = [*EVENTS, ("Transit", "ME", "A-9"), ("Transit", "ME", None)]
    found = read(book(Persons=PERSONS, Events=stray))
    assert [each.reasons for each in found if isinstance(each, RejectedRow)] == [
        ("sheet 2, row 5: no-such-case",),
        ("sheet 2, row 6: missing",),
    ]
    assert sum(isinstance(each, CaseRecord) for each in found) == 2


def test_two_values_where_a_case_has_one_are_not_chosen_between() -> None:
    twice = [("x_case_ref", "cas_Status"), ("A-1", "Active"), ("A-1", "Closed"), ("A-2", "Active")]
    assert reasons(book(Persons=PERSONS, Cases=twice)) == [("cas_Status: several-values",)]
    same = [("x_case_ref", "cas_Status"), ("A-1", "Active"), ("A-1", "Active")]
    assert len(cases(book(Persons=PERSONS, Cases=same))) == 2


def test_a_cell_that_may_not_be_taken_rejects_the_case_that_it_belongs_to() -> None:
    bad = [*EVENTS[:3], ("=HYPERLINK(1)", "ME", "A-1")]
    assert reasons(book(Persons=PERSONS, Events=bad)) == [("sheet 2, A4: formula",)]


def test_sheets_that_share_a_column_are_not_chosen_between() -> None:
    with pytest.raises(SchemaRefused) as refused:
        read(book(One=PERSONS, Two=PERSONS))
    assert refused.value.where == ("sheet 1, A1", "sheet 2, A1")


# --- Headers as people draw them -------------------------------------------------------------------


def test_a_header_over_two_rows_with_merged_cells_is_found() -> None:
    rows: list[tuple[Any, ...]] = [
        ("A register of nobody",),
        ("x_case_ref", "Person", None, "cas_Status"),
        (None, "prs_FirstName", "prs_Gender", None),
        ("A-1", "Invented", "Feminine", "Active"),
    ]

    def merge(made: Any) -> None:
        for cells in ("A2:A3", "B2:C2", "D2:D3", "A1:D1"):
            made.active.merge_cells(cells)

    (case,) = cases(changed(book(Sheet=rows), merge))
    assert case.case_ref == "A-1"
    assert case.sections["identity_core"] == {"first_name": "Invented", "gender": "Feminine"}


def test_a_cell_under_a_header_that_says_nothing_is_not_dropped() -> None:
    rows: list[tuple[Any, ...]] = [("x_case_ref", None, "prs_FirstName"), ("A-1", None, "X")]
    assert len(cases(book(Sheet=rows))) == 1
    assert reasons(book(Sheet=[*rows, ("A-2", "lost?", "X")])) == [("column 2: no-column",)]
    csv = b"x_case_ref,,prs_FirstName\nA-1,,X\nA-2,lost?,X\n"
    assert reasons(io.BytesIO(csv)) == [("column 2: no-column",)]


# --- The country's own spelling --------------------------------------------------------------------

THEIRS = ("Case no", "Given name", "GEBURTSTAG", "prs_Gender", "prs_Deceased", "Room")


def test_columns_words_dates_and_boxes_are_read_as_the_country_spells_them(
    spelling: Spelling,
) -> None:
    rows: list[tuple[Any, ...]] = [
        THEIRS,
        (12.0, "Invented ", "3/12/1990", "f", "OUI", 7),
        ("A-2", "Invented", 33012, "Feminine ", 0, None),
        ("A-3", "Invented", datetime(1990, 12, 3), None, False, None),  # noqa: DTZ001
        ("A-4", "Invented", "1990-12", None, "non", None),
        ("A-5", "Invented", 1990, None, None, None),
    ]
    found = cases(book(Sheet=rows), spelling)
    born = [case.sections["identity_core"]["birthdate"] for case in found]
    assert born == ["1990-12-03", "1990-05-19", "1990-12-03", "1990-12", "1990"]
    assert found[0].case_ref == "12"
    assert found[0].not_carried == ("column 6",)
    assert found[1].not_carried == ()
    deceased = [case.sections["identity_core"].get("deceased") for case in found]
    assert deceased == [True, False, False, False, None]
    assert found[0].sections["identity_core"]["gender"] == "Feminine"


def test_several_words_in_one_cell_are_each_in_the_countrys_spelling(spelling: Spelling) -> None:
    rows = b"Case no,prs_Citizenship\nA-1,Viet Nam; Albania\nA-2,Viet Nam\nA-3,it al\nA-4,Utopia\n"
    found = read(io.BytesIO(rows), spelling)
    said = [
        each.sections["nationality_documents"]["citizenship"]
        for each in found
        if isinstance(each, CaseRecord)
    ]
    assert said == [["VN", "AL"], ["VN"], ["IT", "AL"]]
    assert isinstance(found[3], RejectedRow)
    assert found[3].reasons == ("prs_Citizenship: unknown-code",)


def test_the_spreadsheets_two_ways_to_count_days_agree_with_the_spreadsheet() -> None:
    from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, to_excel

    from schemas.sections.fields import Kind as FieldKind
    from schemas.sections.fields import Shape

    for since, epoch in ((1900, WINDOWS_EPOCH), (1904, MAC_EPOCH)):
        for day in (date(1920, 2, 29), date(1999, 12, 31), date(2026, 11, 22)):
            number = str(to_excel(datetime(day.year, day.month, day.day), epoch))  # noqa: DTZ001
            read = Spelling(days_since=since).cell("x", number, Shape(FieldKind.DAY))
            assert read == day.isoformat()


def test_without_a_spelling_what_may_mean_two_things_rejects_its_row() -> None:
    header = ("x_case_ref", "prs_FirstName", "prs_Birthdate", "prs_Gender", "prs_Deceased")
    rows: list[tuple[Any, ...]] = [
        header,
        ("A-1", "X", "3/12/1990", "F", "oui"),
        ("A-2", "X", 33012, None, "x"),
        ("A-3", "X", "31/31/1990", None, "1.0"),
    ]
    assert reasons(book(Sheet=rows)) == [
        ("prs_Birthdate: date-ambiguous", "prs_Gender: unknown-code", "prs_Deceased: bad-checkbox"),
        ("prs_Birthdate: date-spreadsheet-number", "prs_Deceased: bad-checkbox"),
        ("prs_Birthdate: date-ambiguous",),
    ]


def test_a_day_that_does_not_exist_in_the_countrys_order_rejects_its_row(
    spelling: Spelling,
) -> None:
    rows = b"Case no,Geburtstag\nA-1,3/31/1990\nA-2,29-02-2001\n"
    assert (
        reasons(io.BytesIO(rows), spelling)
        == [
            ("prs_Birthdate: not-a-partial-date",),
            ("prs_Birthdate: not-a-partial-date",),
        ]
        or reasons(io.BytesIO(rows), spelling) == [("prs_Birthdate: bad-date",)] * 2
    )


def test_counts_that_a_spreadsheet_wrote_as_fractions_are_counts() -> None:
    rows = b"x_case_ref,prs_NumberOfChildren,vic_AgeWhenTrafficked\nA-1,2.0,17\nA-2,2.5,\n"
    found = read(io.BytesIO(rows))
    assert isinstance(found[0], CaseRecord)
    assert 2 in found[0].sections["family_dependants"].values()
    assert isinstance(found[1], RejectedRow)
    assert found[1].reasons == ("prs_NumberOfChildren: bad-number",)


def test_an_unknown_column_still_refuses_the_file_by_its_place_alone(spelling: Spelling) -> None:
    with pytest.raises(SchemaRefused) as refused:
        read(io.BytesIO(b"Case no,Given name,SECRET\nA-1,X,Y\n"), spelling)
    assert refused.value.where == ("1 unknown, at position 3",)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[colums]\n", "?: extra_forbidden"),
        ('[columns]\nA = "prs_Firstname"\n', "prs_Firstname: no such column"),
        ('[columns]\n"A b" = "prs_FirstName"\n"a  B" = "prs_Gender"\n', "columns: repeated"),
        ('[words.prs_Gender]\nF = "Female"\n', "words.prs_Gender: unknown-code"),
        ('[words.prs_Sex]\nF = "Feminine"\n', "prs_Sex: no such column"),
        ('[dates]\norder = "best"\n', "dates.order"),
        ("[dates]\nnumbers = 1970\n", "dates.numbers"),
        ('[boxes]\nyes = ["x"]\nno = ["X"]\n', "boxes: repeated"),
        ("columns = 3\n", "columns"),
        ("words = 3\n", "words"),
        ("not toml", "spelling.toml"),
    ],
)
def test_a_wrong_spelling_is_refused_by_its_entry(text: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "spelling.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaRefused) as refused:
        load_spelling(tmp_path / "spelling.toml")
    assert any(each.startswith(where) for each in refused.value.where)


# --- What we file as a workbook --------------------------------------------------------------------


def test_a_case_filed_as_a_workbook_is_the_same_case() -> None:
    business_id = new_id()
    content = case_file(full_case(), business_id, Kind.XLSX)
    assert isinstance(content, bytes)
    assert is_same(filed_case(content), full_case(), business_id)


@settings(max_examples=60, deadline=None)
@given(
    st.text("_x0041DFa \n\t'=é\u0644\U0001f600;", min_size=1, max_size=20).filter(
        lambda t: t.strip()
    )
)
def test_no_text_is_changed_by_a_workbook(text: str) -> None:
    case = CaseRecord("A-1", {"case_narrative": {"case_comment": text}})
    content = case_file(case, new_id(), Kind.XLSX)
    assert isinstance(content, bytes)
    assert filed_case(content).sections == case.sections


def test_a_text_that_a_spreadsheet_would_cut_is_not_filed_as_a_workbook() -> None:
    case = CaseRecord("A-1", {"case_narrative": {"case_comment": "\U0001f600" * 9000}})
    assert isinstance(case_file(case, new_id(), Kind.XLSX), bytes)
    more = CaseRecord(
        "A-1", {"vulnerability_needs": {"assessments": [{"finding": "x" * 9000}] * 4}}
    )
    assert case_file(more, new_id(), Kind.XLSX) == CannotMap(("x_more: too-long-for-a-cell",))
    assert isinstance(case_file(more, new_id(), Kind.CSV), bytes)
