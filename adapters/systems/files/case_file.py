"""One filed case as one CSV file, and the cases of any file; from bytes and to bytes.

What the folder adapter and the SFTP adapter have in common: where the bytes lie is theirs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO
from uuid import UUID

from adapters.base import CannotMap, CaseRecord, RejectedRow
from adapters.systems.files.mapping import (
    RowRefused,
    is_header,
    read_header,
    read_row,
    write_row,
    written_columns,
)
from adapters.systems.files.records import MAX_RECORD, BadRecord, Record, read_records
from adapters.systems.files.rejected import RejectedFile
from adapters.systems.files.workbook import OLE, ZIP, read_workbook
from schemas.errors import SchemaRefused


def file_name(business_id: UUID) -> str:
    """The name of a filed case, and its reference."""
    return f"{business_id}.csv"


def checked(reference: str) -> str:
    """A reference comes back from outside: it must be one that `file` could have given."""
    try:
        if file_name(UUID(reference.removesuffix(".csv"))) == reference:
            return reference
    except ValueError:
        pass
    raise SchemaRefused("not a reference of the files adapter")


def _row(case: CaseRecord, business_id: UUID) -> list[str]:
    return write_row(case, business_id=business_id, sender=case.sender)


def is_same(one: CaseRecord, other: CaseRecord, business_id: UUID) -> bool:
    """True if both are the same row: compared as that, the bytes may be those of an older version."""
    return _row(one, business_id) == _row(other, business_id)


def case_file(case: CaseRecord, business_id: UUID) -> bytes | CannotMap:
    """The file of one case; or what of it has no place."""
    try:
        row = _row(case, business_id)
    except SchemaRefused as refused:
        return CannotMap(refused.where or (refused.detail,))
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows((written_columns(), row))
    content = text.getvalue().encode("utf-8")
    return content if len(content) <= MAX_RECORD else CannotMap(("case: too-large",))


def filed_case(content: bytes) -> CaseRecord:
    """The case in a file that `case_file` made.

    Raises:
        SchemaRefused: It is not one, or not any more.
    """
    case = next(iter(read_file(io.BytesIO(content), rejected=None)), None)
    if not isinstance(case, CaseRecord):
        raise SchemaRefused("a filed case cannot be read back; was it edited by hand?")
    return case


def _records(stream: BinaryIO) -> Iterator[Record | BadRecord]:
    """The records of a CSV file or of a workbook, whichever its first bytes say it is."""
    begin = stream.read(len(OLE)) if stream.seekable() else b""
    if begin:
        stream.seek(0)
    if begin == OLE:
        raise SchemaRefused("a workbook of the old kind, or one with a password: save it as .xlsx")
    if begin.startswith(ZIP):
        return read_workbook(stream, is_header)
    return read_records(stream)


def read_file(
    stream: BinaryIO, *, rejected: RejectedFile | None
) -> Iterator[CaseRecord | RejectedRow]:
    """Every row of a CSV file or a workbook.

    Raises:
        SchemaRefused: The file as a whole is no case file.
    """
    records = _records(stream)
    first = next(records, None)
    if first is None:
        raise SchemaRefused("the file is empty")
    if isinstance(first, BadRecord):
        raise SchemaRefused("the first line is not a header", where=(f"line 1: {first.code}",))
    header = read_header(first.cells)
    seen: set[int] = set()
    for record in records:
        case = _read_record(header, record, seen)
        if isinstance(case, RejectedRow) and rejected is not None:
            rejected.add(case, record.raw)
        yield case


def _read_record(
    header: tuple[str, ...], record: Record | BadRecord, seen: set[int]
) -> CaseRecord | RejectedRow:
    if isinstance(record, BadRecord):
        return RejectedRow(record.line, record.cells or (f"row: {record.code}",))
    try:
        case = read_row(header, record.cells)
    except RowRefused as refused:
        return RejectedRow(record.line, refused.reasons)
    # Hashes, not texts: a hundred thousand of them stay under ten megabytes. Two numbers with one
    # hash would cost a rejected row with a wrong reason, once in 10^9 files of that size.
    mark = hash(("case", case.case_ref))
    if mark in seen:
        return RejectedRow(record.line, ("x_case_ref: twice-in-this-file",))
    seen.add(mark)
    return case
