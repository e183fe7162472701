"""One filed case as one CSV file, and the cases of any file; from bytes and to bytes.

What the folder adapter and the SFTP adapter have in common: where the bytes lie is theirs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from adapters.base import CannotMap, CaseRecord, RejectedRow
from adapters.systems.files.cells import CellRefused, read_cell
from adapters.systems.files.mapping import (
    BOX,
    RowRefused,
    is_header,
    is_known_column,
    names_of,
    placed_columns,
    read_header,
    read_row,
    write_row,
    written_columns,
)
from adapters.systems.files.records import MAX_RECORD, BadRecord, Record, read_records
from adapters.systems.files.rejected import Keeps
from adapters.systems.files.spelling import PLAIN, Spelling, read_spelling
from adapters.systems.files.workbook import OLE, ZIP, read_workbook, too_long, write_workbook
from schemas.errors import SchemaRefused


class Kind(Enum):
    """As what a case is filed. Both are read."""

    CSV = "csv"
    XLSX = "xlsx"


def file_name(business_id: UUID, kind: Kind = Kind.CSV) -> str:
    """The name of a filed case, and its reference."""
    return f"{business_id}.{kind.value}"


def id_and_kind(reference: str) -> tuple[UUID, Kind]:
    """A reference comes back from outside: it must be one that `file` could have given.

    Raises:
        SchemaRefused: It is none.
    """
    stem, _, suffix = reference.rpartition(".")
    try:
        found = UUID(stem), Kind(suffix)
        if file_name(*found) == reference:
            return found
    except ValueError:
        pass
    raise SchemaRefused("not a reference of the files adapter")


def checked(reference: str) -> str:
    """The same reference, if it is one; see `id_and_kind`."""
    id_and_kind(reference)
    return reference


def _row(case: CaseRecord, business_id: UUID) -> list[str]:
    return write_row(case, business_id=business_id, sender=case.sender)


def is_same(one: CaseRecord, other: CaseRecord, business_id: UUID) -> bool:
    """True if both are the same row: compared as that, the bytes may be those of an older version."""
    return _row(one, business_id) == _row(other, business_id)


def case_file(case: CaseRecord, business_id: UUID, kind: Kind = Kind.CSV) -> bytes | CannotMap:
    """The file of one case; or what of it has no place."""
    try:
        row = _row(case, business_id)
    except SchemaRefused as refused:
        return CannotMap(refused.where or (refused.detail,))
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows((written_columns(), row))
    content = text.getvalue().encode("utf-8")
    if len(content) > MAX_RECORD:
        return CannotMap(("case: too-large",))
    return _workbook(row) if kind is Kind.XLSX else content


def _workbook(row: list[str]) -> bytes | CannotMap:
    cut = [name for name, text in zip(written_columns(), row, strict=True) if too_long(text)]
    if cut:
        return CannotMap(tuple(f"{name}: too-long-for-a-cell" for name in cut))
    book = io.BytesIO()
    write_workbook((written_columns(), row), book)
    return book.getvalue()


def filed_case(content: bytes) -> CaseRecord:
    """The case in a file that `case_file` made.

    Raises:
        SchemaRefused: It is not one, or not any more.
    """
    case = next(iter(read_file(io.BytesIO(content), rejected=None)), None)
    if not isinstance(case, CaseRecord):
        raise SchemaRefused("a filed case cannot be read back; was it edited by hand?")
    return case


def load_spelling(path: Path) -> Spelling:
    """The spelling of a country's case files, every word of it tried in its column.

    Raises:
        SchemaRefused: Names the entry that is wrong.
    """
    spelling = read_spelling(path, is_known_column)
    wrong = []
    for column, words in spelling.words.items():
        place = placed_columns().get(column)
        for word in words.values():
            try:
                read_cell(word, place.shape if place else BOX)
            except CellRefused as refused:
                wrong.append(f"words.{column}: {refused.code}")
    if wrong:
        raise SchemaRefused("the spelling of the case files is wrong", where=tuple(wrong))
    return spelling


def _records(stream: BinaryIO, spelling: Spelling) -> Iterator[Record | BadRecord]:
    """The records of a CSV file or of a workbook, whichever its first bytes say it is."""
    begin = stream.read(len(OLE)) if stream.seekable() else b""
    if begin:
        stream.seek(0)
    if begin == OLE:
        raise SchemaRefused("a workbook of the old kind, or one with a password: save it as .xlsx")
    if begin.startswith(ZIP):
        return read_workbook(stream, lambda cells: names_of(cells, spelling), is_header)
    return read_records(stream)


def read_file(
    stream: BinaryIO, *, rejected: Keeps | None, spelling: Spelling = PLAIN
) -> Iterator[CaseRecord | RejectedRow]:
    """Every row of a CSV file or a workbook.

    Raises:
        SchemaRefused: The file as a whole is no case file.
    """
    records = _records(stream, spelling)
    first = next(records, None)
    if first is None:
        raise SchemaRefused("the file is empty")
    if isinstance(first, BadRecord):
        raise SchemaRefused("the first line is not a header", where=(f"line 1: {first.code}",))
    header = read_header(first.cells, spelling)
    seen: set[int] = set()
    for record in records:
        case = _read_record(header, record, seen, spelling)
        if isinstance(case, RejectedRow) and rejected is not None:
            rejected.add(case, record.raw)
        yield case


def _read_record(
    header: tuple[str, ...], record: Record | BadRecord, seen: set[int], spelling: Spelling
) -> CaseRecord | RejectedRow:
    if isinstance(record, BadRecord):
        return RejectedRow(record.line, record.cells or (f"row: {record.code}",))
    try:
        case = read_row(header, record.cells, record.more, spelling=spelling)
    except RowRefused as refused:
        return RejectedRow(record.line, refused.reasons)
    # Hashes, not texts: a hundred thousand of them stay under ten megabytes. Two numbers with one
    # hash would cost a rejected row with a wrong reason, once in 10^9 files of that size.
    mark = hash(("case", case.case_ref))
    if mark in seen:
        return RejectedRow(record.line, ("x_case_ref: twice-in-this-file",))
    seen.add(mark)
    return case
