"""Records of a CSV file, one by one, in flat memory, whatever the file is.

RFC 4180: commas, `"` doubled inside quotes, line breaks allowed inside quotes; UTF-8, with or
without a byte order mark at the start. One bad record costs one record: a line without end, a
NUL, a byte that is not UTF-8 or a quote without a partner is given back as `BadRecord`, and
reading goes on at the next line. The first record, the header, sets the number of cells.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_RECORD = 1024 * 1024
"""Bytes of one record; a case takes a few thousand. The reader never holds
more than a few times this."""

_DISCARD = 64 * 1024
"""Bytes read at a time where nothing is kept."""

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `line` is where it begins, counting from 1."""

    line: int
    cells: list[str]
    raw: bytes
    more: tuple[list[str], ...] = ()
    """Of a workbook with a sheet for each entity: further rows about the same case."""

    def __repr__(self) -> str:
        return f"<Record {self.line}>"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What is not a record, why, and its bytes (none if there were too many)."""

    line: int
    code: str
    raw: bytes = b""
    cells: tuple[str, ...] = ()
    """Of a workbook: each cell in question, as `sheet 1, C5: code`."""

    def __repr__(self) -> str:
        return f"<BadRecord {self.line} {self.code}>"


@dataclass(slots=True)
class _Line:
    number: int
    data: bytes
    too_long: bool = False


def read_records(stream: BinaryIO) -> Iterator[Record | BadRecord]:
    """Split a stream into records. Empty lines are passed over; memory does not grow.

    A last line without a line end is `truncated`: a file that was cut off in the middle of a
    number would otherwise be read as a whole one.
    """
    # The library's own limit per cell is for the whole process; ours is per record and smaller
    # than what any other user of it here would need.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
    lines = _lines(stream)
    waiting: deque[_Line] = deque()
    width: int | None = None
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        if line.too_long:
            yield BadRecord(line.number, "line-too-long")
            continue
        if not line.data.strip():
            continue
        held = _until_quotes_close(line, waiting, lines)
        record = _record(line.number, b"".join(each.data for each in held))
        if len(held) > 1 and (
            isinstance(record, BadRecord) or (width is not None and len(record.cells) != width)
        ):
            # One stray quote must not swallow the rows after it: give up its own line alone.
            waiting.extendleft(reversed(held[1:]))
            record = BadRecord(line.number, "quote-not-closed", line.data)
        if isinstance(record, Record) and width is None:
            width = len(record.cells)
        yield record


def _until_quotes_close(first: _Line, waiting: deque[_Line], lines: Iterator[_Line]) -> list[_Line]:
    """The lines of one record. Within RFC 4180 a record ends where its quotes are even."""
    held, size = [first], len(first.data)
    is_open = first.data.count(b'"') % 2 == 1
    while is_open and size <= MAX_RECORD:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            break
        held.append(line)
        size += len(line.data)
        if line.too_long:
            break
        is_open = line.data.count(b'"') % 2 == 0
    return held


def _lines(stream: BinaryIO) -> Iterator[_Line]:
    number = 0
    while data := stream.readline(MAX_RECORD):
        number += 1
        if number == 1:
            if data.startswith(_OTHER_BOMS):
                yield _Line(1, data, too_long=False)
                continue
            data = data.removeprefix(_BOM) or b"\n"
        whole = data.endswith(b"\n")
        if not whole and len(data) >= MAX_RECORD - len(_BOM):
            data = b""
            while not whole and (rest := stream.readline(_DISCARD)):
                whole = rest.endswith(b"\n")
            yield _Line(number, b"", too_long=True)
        else:
            yield _Line(number, data)


def _record(line: int, raw: bytes) -> Record | BadRecord:
    if b"\0" in raw:
        return BadRecord(line, "nul", raw)
    if not raw.endswith(b"\n"):
        return BadRecord(line, "truncated", raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return BadRecord(line, "not-utf8", raw)
    try:
        rows = list(csv.reader([text.removesuffix("\n").removesuffix("\r")], strict=True))
    except csv.Error:
        return BadRecord(line, "bad-quoting", raw)
    return Record(line, rows[0] if rows else [], raw)
