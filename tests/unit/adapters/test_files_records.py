"""The record reader promises: flat memory, one bad record costs one record, nothing is guessed."""

from __future__ import annotations

import csv
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.systems.files.records import MAX_RECORD, BadRecord, Record, read_records

CELLS = st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), max_size=12)


def read(data: bytes) -> list[Record | BadRecord]:
    return list(read_records(io.BytesIO(data)))


def told(data: bytes) -> list[tuple[int, object]]:
    return [(r.line, r.cells if isinstance(r, Record) else r.code) for r in read(data)]


class Endless(io.RawIOBase):
    """A stream made of a header, one line of the given size, and a last good row."""

    def __init__(self, size: int) -> None:
        self._parts: list[int | bytes] = [b"a,b\n", size, b"\nc,d\n"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while self._parts:
            part = self._parts[0]
            if isinstance(part, int):
                count = min(part, len(buffer))
                buffer[:count] = b"x" * count
                self._parts[0] = part - count
                if not self._parts[0]:
                    self._parts.pop(0)
                if count:
                    return count
            else:
                self._parts.pop(0)
                buffer[: len(part)] = part
                return len(part)
        return 0


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8))
def test_what_the_standard_library_writes_is_read_as_it_was(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    records = read(text.getvalue().encode())
    assert [r.cells for r in records if isinstance(r, Record)] == rows


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_or_repeat_itself_for_ever(data: bytes) -> None:
    assert len(read(data)) <= data.count(b"\n") + 1


@given(st.lists(st.sampled_from([b'"', b",", b"\n", b"a", b'""', b"\r\n"]), max_size=40))
def test_no_arrangement_of_quotes_makes_the_reader_fail(parts: list[bytes]) -> None:
    data = b"".join(parts)
    lines = [r.line for r in read(data)]
    assert lines == sorted(set(lines))


def test_a_byte_order_mark_at_the_start_is_accepted_and_elsewhere_is_text() -> None:
    assert told(b"\xef\xbb\xbfa,b\n\xef\xbb\xbfc,d\n") == [(1, ["a", "b"]), (2, ["\ufeffc", "d"])]


def test_another_encoding_is_named() -> None:
    assert told("a,b\n".encode("utf-16"))[0] in {(1, "nul"), (1, "not-utf8")}
    assert told(b"a,b\nInvent\xe9,c\n")[1] == (2, "not-utf8")


def test_a_nul_costs_its_record() -> None:
    assert told(b"a,b\nc\0,d\ne,f\n") == [(1, ["a", "b"]), (2, "nul"), (3, ["e", "f"])]


def test_a_file_that_was_cut_off_is_noticed() -> None:
    assert told(b"a,b\nc,d\ne,+39065550")[-1] == (3, "truncated")
    assert told(b'a,b\nc,d\ne,"begun')[-1] == (3, "truncated")


def test_line_breaks_inside_quotes_belong_to_the_cell() -> None:
    assert told(b'a,b\n"x\ny","z\r\n"\nc,d\n') == [
        (1, ["a", "b"]),
        (2, ["x\ny", "z\r\n"]),
        (5, ["c", "d"]),
    ]


def test_a_stray_quote_costs_its_own_line_alone() -> None:
    data = b'a,b\nc,"d\n' + b"e,f\n" * 3 + b'g,"h\ni,j\n'
    assert told(data) == [
        (1, ["a", "b"]),
        (2, "quote-not-closed"),
        *[(n, ["e", "f"]) for n in (3, 4, 5)],
        (6, "quote-not-closed"),
        (7, ["i", "j"]),
    ]


def test_a_quote_that_is_never_closed_does_not_swallow_the_file() -> None:
    rows = MAX_RECORD // 4 + 1000
    found = read(b'a,b\nc,"d\n' + b"e,f\n" * rows)
    assert isinstance(found[1], BadRecord)
    assert sum(isinstance(r, Record) for r in found) == rows + 1


def test_empty_lines_are_passed_over_and_counted() -> None:
    assert told(b"a,b\n\n \r\nc,d\n") == [(1, ["a", "b"]), (4, ["c", "d"])]


def test_an_overlong_line_costs_one_record_and_no_memory() -> None:
    size = 100_000_000
    stream = io.BufferedReader(Endless(size))
    tracemalloc.start()
    try:
        found = [(r.line, getattr(r, "code", None)) for r in read_records(stream)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(1, None), (2, "line-too-long"), (3, None)]
    assert peak < 4 * MAX_RECORD


@pytest.mark.parametrize(
    "record", [Record(1, ["SECRET"], b"SECRET"), BadRecord(1, "nul", b"SECRET")]
)
def test_a_record_does_not_show_what_it_holds(record: Record | BadRecord) -> None:
    assert "SECRET" not in repr(record)
