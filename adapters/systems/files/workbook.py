"""Workbooks (XLSX, ECMA-376) as the same records that a CSV file gives, in flat memory.

One sheet must hold cases: the one in whose first rows a header is found. Every other sheet is
passed over; two sheets with cases are refused, since nobody can say which was meant. Cells come
typed, so that dates are dates whatever they look like on a screen, and zeros that a number format
puts in front are kept. Formulas are never taken for their last result: a row with one is rejected.

Sheets and cells are named by position, as `sheet 2, C5`; what a sheet is called may say anything.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, BinaryIO

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter

from adapters.systems.files.records import MAX_RECORD, BadRecord, Record
from schemas.errors import SchemaRefused

ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""An old workbook (.xls), or a new one behind a password."""

MOST_ROWS = 1_048_576
"""Of one sheet, by the format."""
MOST_UNPACKED = 2 * 1024**3
MOST_SHARED = 64 * 1024**2
"""Bytes of the table of shared texts, the one thing that is held whole."""
MOST_RATIO = 200
"""Unpacked to packed; a sheet of cases reaches 30."""
HEADER_WITHIN = 20
"""Rows, from the top of a sheet."""

_ALL_ZEROS = re.compile(r"0{2,40}")
_EXACT = 10**15
"""A spreadsheet keeps 15 digits of a number; above, some are lost."""


class CellTrouble(Exception):
    """A cell that says nothing we may take; holds its code."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def read_workbook(
    stream: BinaryIO, is_header: Callable[[Sequence[str]], bool]
) -> Iterator[Record | BadRecord]:
    """The header and the rows of the sheet that holds cases.

    Args:
        is_header: True for the cells of a row that names the columns of a case file.

    Raises:
        SchemaRefused: It is no workbook, or not one that may be read; names sheet and cell.
    """
    with _refusing("not a workbook that can be read"):
        _check_package(stream)
        book = openpyxl.load_workbook(stream, read_only=True, keep_links=False)
    try:
        number, at = _find(book.worksheets, is_header)
        yield from _records(book.worksheets[number - 1], number, at)
    finally:
        book.close()


def write_workbook(rows: Iterator[Sequence[str]], to: BinaryIO) -> None:
    """Write rows of texts, in flat memory; every cell is text, so that none can be a formula."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("cases")
    for row in rows:
        sheet.append([_text_cell(sheet, text) for text in row])
    book.save(to)


def _text_cell(sheet: Any, text: str) -> Any:
    if not text:
        return None
    cell = WriteOnlyCell(sheet, "")
    cell.value = text
    cell.data_type = "s"  # else a text that begins with `=` would be one
    return cell


def _check_package(stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream) as package:
        entries = package.infolist()
        if len(entries) > 2000 or sum(entry.file_size for entry in entries) > MOST_UNPACKED:
            raise SchemaRefused("the workbook unpacks to more than may be read")
        for entry in entries:
            name = entry.filename.casefold()
            if entry.file_size > MOST_RATIO * max(entry.compress_size, 4096):
                raise SchemaRefused("the workbook unpacks to more than may be read")
            if name.endswith("sharedstrings.xml") and entry.file_size > MOST_SHARED:
                raise SchemaRefused("the workbook holds too much text; export it as CSV")
            if "vbaproject" in name:
                raise SchemaRefused("the workbook holds macros")
    stream.seek(0)


def _find(sheets: Sequence[Any], is_header: Callable[[Sequence[str]], bool]) -> tuple[int, int]:
    """The number of the sheet that holds cases, and the row of its header; both from 1."""
    found: list[tuple[int, int]] = []
    for number, sheet in enumerate(sheets, start=1):
        for row, cells in _rows(sheet, number, HEADER_WITHIN):
            texts = [_plain(cell) for cell in cells]
            if is_header(texts):
                found.append((number, row))
                break
    if not found:
        raise SchemaRefused(
            "no sheet of the workbook holds cases",
            where=tuple(
                f"sheet {number}: no header in the first {HEADER_WITHIN} rows"
                for number in range(1, min(len(sheets), 10) + 1)
            ),
        )
    if len(found) > 1:
        raise SchemaRefused(
            "more than one sheet holds cases",
            where=tuple(f"sheet {number}, A{row}" for number, row in found),
        )
    return found[0]


def _rows(sheet: Any, number: int, most: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """Rows with their numbers, as far as they go; what the sheet says of its size is not believed."""
    sheet.reset_dimensions()
    rows = sheet.iter_rows(max_row=most)
    for row in range(1, most + 1):
        with _refusing("the sheet is damaged", f"sheet {number}, A{row}"):
            cells = next(rows, None)
        if cells is None:
            return
        yield row, cells


def _records(sheet: Any, number: int, header: int) -> Iterator[Record | BadRecord]:
    width: int | None = None
    for row, cells in _rows(sheet, number, MOST_ROWS):
        if row < header:
            continue
        if width is None:
            texts = [_plain(cell) for cell in cells]
            while texts and not texts[-1].strip():
                texts.pop()
            width = len(texts)
            yield Record(row, texts, b"")
            continue
        record = _record(row, cells, width, number)
        if record is not None:
            yield record


def _record(row: int, cells: Sequence[Any], width: int, number: int) -> Record | BadRecord | None:
    texts: list[str] = []
    trouble: list[str] = []
    for column, cell in enumerate(cells, start=1):
        try:
            texts.append(text_of(cell))
        except CellTrouble as found:
            texts.append(_plain(cell))
            trouble.append(f"sheet {number}, {get_column_letter(column)}{row}: {found.code}")
    if not any(texts) and not trouble:
        return None
    beyond = next((at for at in range(width, len(texts)) if texts[at].strip()), None)
    if beyond is not None:
        trouble.append(f"sheet {number}, {get_column_letter(beyond + 1)}{row}: no-column")
    if sum(len(text) for text in texts) > MAX_RECORD:
        return BadRecord(row, "line-too-long")
    line = io.StringIO()
    csv.writer(line).writerow(texts)
    raw = line.getvalue().encode("utf-8", "backslashreplace")
    if trouble:
        return BadRecord(row, trouble[0].rpartition(": ")[2], raw, tuple(trouble))
    return Record(row, [*texts[:width], *[""] * (width - len(texts))], raw)


def text_of(cell: Any) -> str:
    """A cell's value as the text that a case file would hold.

    Raises:
        CellTrouble: A formula, an error of the spreadsheet, a number that lost digits, a time.
    """
    value, kind = cell.value, cell.data_type
    if value is None:
        return ""
    if kind == "f":
        raise CellTrouble("formula")
    if kind == "e":
        raise CellTrouble("spreadsheet-error")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        midnight = not (value.hour or value.minute or value.second or value.microsecond)
        return value.date().isoformat() if midnight else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return _number(value, cell.number_format)
    if isinstance(value, str):
        return value
    raise CellTrouble("bad-value")


def _number(value: float, number_format: object) -> str:
    if abs(value) >= _EXACT:
        raise CellTrouble("number-lost-digits")
    if value != int(value):
        return repr(value)
    zeros = _ALL_ZEROS.fullmatch(number_format) if isinstance(number_format, str) else None
    return str(int(value)).zfill(len(zeros[0]) if zeros else 0)


def _plain(cell: Any) -> str:
    """A cell as it stands, for a header or for the worker who must correct it."""
    return "" if cell.value is None else str(cell.value)


@contextmanager
def _refusing(detail: str, *where: str) -> Iterator[None]:
    """Turn whatever a broken workbook makes the library raise into one refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and pictures, which nobody reads here
            yield
    except SchemaRefused:
        raise
    except Exception:
        # The library has no error of its own: a broken package, part, number or date each raise
        # what they happened to meet. None of it is ours, and its text may hold a cell.
        raise SchemaRefused(detail, where=where) from None
