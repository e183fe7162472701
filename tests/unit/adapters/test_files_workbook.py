"""Workbooks promise: typed cells mean what they say, and whatever is hostile is refused by its cell."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import CaseRecord, RejectedRow
from adapters.conformance import full_case
from adapters.systems.files import FilesSystem, workbook
from adapters.systems.files.mapping import write_row, written_columns
from adapters.systems.files.workbook import write_workbook
from schemas.errors import SchemaRefused

HEADER = ("x_case_ref", "prs_FirstName", "prs_Birthdate", "prs_IdentityNumber", "prs_MobilePhone")


def book(*rows: tuple[Any, ...], prepare: Callable[[Any], None] | None = None) -> io.BytesIO:
    """A workbook of one sheet."""
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    if prepare is not None:
        prepare(made)
    stream = io.BytesIO()
    made.save(stream)
    stream.seek(0)
    return stream


def read(stream: io.BytesIO) -> list[CaseRecord | RejectedRow]:
    return list(FilesSystem(Path("nowhere")).read_cases(stream))


def the_case(stream: io.BytesIO) -> CaseRecord:
    (found,) = read(stream)
    assert isinstance(found, CaseRecord)
    return found


def reasons(stream: io.BytesIO) -> tuple[str, ...]:
    (found,) = read(stream)
    assert isinstance(found, RejectedRow)
    return found.reasons


def refusal(stream: io.BytesIO) -> SchemaRefused:
    with pytest.raises(SchemaRefused) as caught:
        read(stream)
    return caught.value


def test_a_case_with_every_section_comes_back_from_a_workbook_as_it_was() -> None:
    case = full_case()
    stream = io.BytesIO()
    row = write_row(case, business_id=None, sender=case.sender)
    write_workbook(iter((written_columns(), row)), stream)
    stream.seek(0)
    back = the_case(stream)
    assert (back.case_ref, back.sections) == (case.case_ref, case.sections)


def test_no_cell_that_we_write_is_a_formula() -> None:
    stream = io.BytesIO()
    write_workbook(iter((("=1+1", "007", "\u202bx", "+39"),)), stream)
    (row,) = openpyxl.load_workbook(stream).active.iter_rows()
    assert [cell.data_type for cell in row] == ["s", "s", "s", "s"]
    assert [cell.value for cell in row] == ["=1+1", "007", "\u202bx", "+39"]


def test_dates_are_dates_whatever_they_look_like() -> None:
    def as_seen_in_america(made: Any) -> None:
        made.active["C2"].number_format = "mm/dd/yy"

    for day in (date(1990, 3, 12), datetime(1990, 3, 12)):  # noqa: DTZ001
        row = ("A-1", "Invented", day, None, None)
        case = the_case(book(HEADER, row, prepare=as_seen_in_america))
        assert case.sections["identity_core"]["birthdate"] == "1990-03-12"


def test_zeros_that_a_format_puts_in_front_are_kept_and_so_are_those_of_a_text() -> None:
    def as_seven_digits(made: Any) -> None:
        made.active["D2"].number_format = "0000000"

    case = the_case(book(HEADER, ("A-1", "X", None, 42, None), prepare=as_seven_digits))
    assert case.sections["nationality_documents"]["identity_number"] == "0000042"
    case = the_case(book(HEADER, ("A-1", "X", None, "007", 390655501234)))
    assert case.sections["nationality_documents"]["identity_number"] == "007"
    assert case.sections["contact_location"]["mobile_phone"] == "+390655501234"


def test_the_sheet_and_its_header_are_found_among_others() -> None:
    def with_more(made: Any) -> None:
        made.active.insert_rows(1, 3)
        made.active["A1"] = "A title, with a logo"
        made.create_sheet("Codes", 0).append(("code", "meaning"))
        made.create_sheet("Empty", 0)

    case = the_case(book(HEADER, ("A-1", "X"), prepare=with_more))
    assert case.case_ref == "A-1"


def test_a_cell_that_was_merged_over_others_loses_no_row_its_value() -> None:
    rows = [(f"A-{number}", "Invented", None, "7", None) for number in range(1, 6)]

    def merged(made: Any) -> None:
        made.active.merge_cells("B3:B4")  # the name of A-2 seems to be that of A-3 too
        made.active.merge_cells("C6:D6")
        made.active.merge_cells("A8:E9")  # below the cases, with nothing in it

    found = read(book(HEADER, *rows, prepare=merged))
    assert [one.case_ref if isinstance(one, CaseRecord) else one.reasons for one in found] == [
        "A-1",
        ("sheet 1, B3: merged-cells",),
        ("sheet 1, B4: merged-cells",),
        "A-4",
        ("sheet 1, C6: merged-cells",),
    ]


def test_more_merged_cells_than_anybody_makes_refuse_the_workbook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workbook, "MOST_MERGED", 1)

    def merged(made: Any) -> None:
        made.active.merge_cells("A3:A4")
        made.active.merge_cells("A6:A7")

    assert "merged" in str(refusal(book(HEADER, ("A-1", "X"), prepare=merged)))


def test_where_no_sheet_holds_cases_each_is_named_by_its_number() -> None:
    error = refusal(book(("name", "SECRET"), prepare=lambda made: made.create_sheet("SECRET")))
    assert error.where == (
        "sheet 1: no header in the first 20 rows",
        "sheet 2: no header in the first 20 rows",
    )


def test_two_sheets_with_cases_are_not_chosen_between() -> None:
    def twice(made: Any) -> None:
        made.create_sheet().append(HEADER)

    assert refusal(book(HEADER, prepare=twice)).where == ("sheet 1, A1", "sheet 2, A1")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("=HYPERLINK(SECRET)", "sheet 1, B2: formula"),
        ("#N/A", "sheet 1, B2: spreadsheet-error"),
        (390655501234567890, "sheet 1, B2: number-lost-digits"),
        (time(12, 30), "sheet 1, B2: bad-value"),
    ],
)
def test_a_cell_that_may_not_be_taken_rejects_its_row_by_its_place(
    value: object, complaint: str
) -> None:
    assert reasons(book(HEADER, ("A-1", value))) == (complaint,)


def test_a_cell_beside_the_columns_is_not_dropped() -> None:
    assert reasons(book(HEADER, ("A-1", "X", None, None, None, None, "lost?"))) == (
        "sheet 1, G2: no-column",
    )


def test_a_cell_that_does_not_fit_its_column_is_told_by_the_column() -> None:
    assert reasons(book(HEADER, ("A-1", "X", "12/03/1990"))) == ("prs_Birthdate: date-ambiguous",)


def test_rows_that_are_empty_say_nothing_and_rows_keep_their_numbers() -> None:
    found = read(book(HEADER, ("A-1", "X"), (), (None,), ("A-2", "=1")))
    assert isinstance(found[0], CaseRecord)
    assert isinstance(found[1], RejectedRow)
    assert (len(found), found[1].line) == (2, 5)


def repacked(stream: io.BytesIO, name: str, content: bytes) -> io.BytesIO:
    """The same package with one part replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry.filename, old.read(entry))
        new.writestr(name, content)
    out.seek(0)
    return out


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = repacked(book(HEADER), "xl/bomb.xml", b" " * 20_000_000)
    assert "unpacks to more" in refusal(bomb).detail


def test_macros_are_refused() -> None:
    assert "macros" in refusal(repacked(book(HEADER), "xl/vbaProject.bin", b"x")).detail


def test_an_entity_that_swells_does_not() -> None:
    lines = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    sheet = f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{"".join(lines)}]><worksheet>&a11;</worksheet>'
    refusal(repacked(book(HEADER), "xl/worksheets/sheet1.xml", sheet.encode()))


def test_rows_that_a_sheet_leaves_out_are_passed_over() -> None:
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1" t="inlineStr"><is><t>x_case_ref</t></is></c>'
        '<c r="B1" t="inlineStr"><is><t>prs_FirstName</t></is></c></row>'
        '<row r="9"><c r="A9" t="inlineStr"><is><t>A-1</t></is></c>'
        '<c r="B9" t="inlineStr"><is><t>X</t></is></c></row></sheetData></worksheet>'
    )
    whole = repacked(book(HEADER), "xl/worksheets/sheet1.xml", sheet.encode())
    assert the_case(whole).case_ref == "A-1"


@pytest.mark.parametrize("begin", [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)])
def test_a_workbook_of_the_old_kind_is_refused_with_what_to_do(begin: bytes) -> None:
    assert ".xlsx" in refusal(io.BytesIO(begin)).detail


WHOLE = book(HEADER, ("A-1", "X", date(1990, 1, 1), "007", None)).getvalue()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(4, len(WHOLE) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_workbook_is_read_or_refused_and_nothing_else(at: int, junk: bytes) -> None:
    for data in (WHOLE[:at], WHOLE[:at] + junk + WHOLE[at + len(junk) :]):
        with suppress(SchemaRefused):
            read(io.BytesIO(data))
