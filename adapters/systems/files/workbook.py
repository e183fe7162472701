"""Workbooks (XLSX, ECMA-376) as the same records that a CSV file gives, in flat memory.

The sheets that hold cases are those in whose first rows a header is found; every other sheet is
passed over. Several such sheets that share no column but the case number are one table, a sheet for
each entity, and are joined by it (`sheets`); several that share more are refused, since nobody can
say which was meant. Cells come typed, so that dates are dates whatever they look like on a screen,
and zeros that a number format puts in front are kept. Formulas are never taken for their last
result: a row with one is rejected.

Sheets and cells are named by position, as `sheet 2, C5`; what a sheet is called may say anything.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Any, BinaryIO

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter, range_boundaries

from adapters.systems.files.records import MAX_RECORD, BadRecord, Record
from adapters.systems.files.sheets import NamesOf, Row, Table, choose, filled_from_above, joined
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
ANY_RATIO = 4 * 1024**2
"""Bytes that any part may unpack to: one long text of one case packs better than a sheet."""
HEADER_WITHIN = 20
"""Rows, from the top of a sheet."""

MOST_CELL = 32_767
"""Characters of one cell, by the format, in UTF-16: a spreadsheet cuts what is longer."""

MOST_MERGED = 100_000
"""Ranges of one sheet."""
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]{0,200}?ref="([A-Za-z0-9:$]{1,40})"')
_LONGEST_TAG = 256

_ALL_ZEROS = re.compile(r"0{2,40}")
_EXACT = 10**15
"""A spreadsheet keeps 15 digits of a number; above, some are lost."""


class CellTrouble(Exception):
    """A cell that says nothing we may take; holds its code."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def read_workbook(
    stream: BinaryIO, names_of: NamesOf, is_header: Callable[[Sequence[str | None]], bool]
) -> Iterator[Record | BadRecord]:
    """The header and the rows of the sheets that hold cases.

    Args:
        names_of: The columns that the cells of a row name, if it is a header.
        is_header: True if they are those of a case file.

    Raises:
        SchemaRefused: It is no workbook, or not one that may be read; names sheet and cell.
    """
    with _refusing("not a workbook that can be read"):
        _check_package(stream)
        book = openpyxl.load_workbook(stream, read_only=True, keep_links=False)
    try:
        main, *others = choose(_find(book.worksheets, names_of, is_header))
        read = {
            each.sheet: _body(book.worksheets[each.sheet - 1], each) for each in (main, *others)
        }
        yield from joined(main, others, read)
    finally:
        book.close()


def write_workbook(rows: Iterable[Sequence[str]], to: BinaryIO) -> None:
    """Write rows of texts, in flat memory; every cell is text, so that none can be a formula.

    A text of more than `MOST_CELL` characters does not fit into a cell: see `too_long`.
    """
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
            if entry.file_size > max(MOST_RATIO * entry.compress_size, ANY_RATIO):
                raise SchemaRefused("the workbook unpacks to more than may be read")
            if name.endswith("sharedstrings.xml") and entry.file_size > MOST_SHARED:
                raise SchemaRefused("the workbook holds too much text; export it as CSV")
            if "vbaproject" in name:
                raise SchemaRefused("the workbook holds macros")
    stream.seek(0)


def too_long(text: str) -> bool:
    """True for what no cell of a workbook holds whole."""
    return len(text) * 2 > MOST_CELL and len(text.encode("utf-16-le")) // 2 > MOST_CELL


def _find(
    sheets: Sequence[Any],
    names_of: NamesOf,
    is_header: Callable[[Sequence[str | None]], bool],
) -> list[Table]:
    """The header of each sheet that has one."""
    found: list[Table] = []
    for number, sheet in enumerate(sheets, start=1):
        above: list[str] = []
        headers: list[Table] = []
        for row, cells in _rows(sheet, number, HEADER_WITHIN):
            texts = [_plain(cell) for cell in cells]
            # Merged cells: a header over two rows has its upper part in the row above alone.
            for candidate in (texts, filled_from_above(texts, above)):
                if is_header(names := names_of(candidate)):
                    headers.append(Table(number, row, *_trimmed(candidate, names)))
            above = texts
        if headers:
            found.append(min(headers, key=lambda each: each.names.count(None)))
    if not found:
        raise SchemaRefused(
            "no sheet of the workbook holds cases",
            where=tuple(
                f"sheet {number}: no header in the first {HEADER_WITHIN} rows"
                for number in range(1, min(len(sheets), 10) + 1)
            ),
        )
    return found


def _trimmed(
    texts: list[str], names: tuple[str | None, ...]
) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
    width = max(at for at, text in enumerate(texts, start=1) if text.strip())
    return tuple(texts[:width]), names[:width]


class _Merged:
    """The rows of a sheet over which cells were merged. Such a cell says something in one place and
    nothing in the others that it covers on the screen, and nobody can say for which it was meant.

    The format puts the list behind the rows, so it is looked for beforehand, in flat memory.
    """

    def __init__(self, sheet: Any) -> None:
        ranges: list[tuple[int, int, int]] = []
        with sheet.parent._archive.open(sheet._worksheet_path) as part:
            kept = b""
            while chunk := part.read(1 << 16):
                text, end = kept + chunk, 0
                for found in _MERGED.finditer(text):
                    column, first, _, last = _corners(found[1].decode())
                    ranges.append((first, last, column))
                    end = found.end()
                    if len(ranges) > MOST_MERGED:
                        raise SchemaRefused("the workbook has too many merged cells")
                kept = text[end:][-_LONGEST_TAG:]
        self._spans: list[tuple[int, int, int]] = []
        for first, last, column in sorted(ranges):
            if self._spans and first <= self._spans[-1][1]:
                begin, end, at = self._spans.pop()
                self._spans.append((begin, max(end, last), min(at, column)))
            else:
                self._spans.append((first, last, column))

    def column(self, row: int) -> int | None:
        """The first column of what is merged over this row; None if nothing is."""
        at = bisect_right(self._spans, row, key=lambda span: span[0]) - 1
        return self._spans[at][2] if at >= 0 and row <= self._spans[at][1] else None


def _corners(text: str) -> tuple[int, int, int, int]:
    """First column and row, last column and row."""
    first_column, first_row, last_column, last_row = range_boundaries(text)
    if None in (first_column, first_row, last_column, last_row):
        raise ValueError("a range of cells has both corners")
    return first_column, first_row, last_column, last_row


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


def _body(sheet: Any, table: Table) -> Iterator[Row]:
    """The rows below the header that are not empty."""
    width = len(table.texts)
    with _refusing("the sheet is damaged", f"sheet {table.sheet}"):
        merged = _Merged(sheet)
    for number, cells in _rows(sheet, table.sheet, MOST_ROWS):
        if number > table.header and (row := _row(number, cells, width, table.sheet)) is not None:
            column = merged.column(number)
            if column is not None and column <= width:
                why = f"sheet {table.sheet}, {get_column_letter(column)}{number}: merged-cells"
                row = replace(row, trouble=(*row.trouble, why))
            yield row


def _row(row: int, cells: Sequence[Any], width: int, number: int) -> Row | None:
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
        return Row(row, [""] * width, b"", ("row: line-too-long",))
    line = io.StringIO()
    csv.writer(line).writerow(texts)
    raw = line.getvalue().encode("utf-8", "backslashreplace")
    return Row(row, [*texts[:width], *[""] * (width - len(texts))], raw, tuple(trouble))


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
