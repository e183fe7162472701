"""The sheets of a workbook as one table: one of persons, others of events, plans, cases, joined.

A row of another sheet belongs to the row of the main one that has its case number. The first goes
into the same record; further ones are further rows about the same case. What belongs to no case of
the main sheet is rejected by its place, so that nothing of a workbook is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from adapters.systems.files.records import BadRecord, Record
from schemas.errors import SchemaRefused

NamesOf = Callable[[Sequence[str]], tuple[str | None, ...]]

KEY: Final = "x_case_ref"
MOST_BESIDE: Final = 64 * 1024**2
"""Characters of the other sheets: they are held whole, while the main one streams."""


@dataclass(frozen=True, slots=True)
class Table:
    """One sheet that holds cases, or a part of them."""

    sheet: int
    header: int
    """Its row; both from 1."""
    texts: tuple[str, ...]
    names: tuple[str | None, ...]

    @property
    def key(self) -> int:
        """Where the case number is."""
        return self.names.index(KEY)


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as wide as its header; with trouble, why it cannot be taken."""

    number: int
    texts: list[str]
    raw: bytes
    trouble: tuple[str, ...] = ()


def filled_from_above(texts: Sequence[str], above: Sequence[str]) -> list[str]:
    """A row whose empty cells say what stands above them."""
    return [
        text if text.strip() else over for text, over in zip_longest(texts, above, fillvalue="")
    ]


def choose(found: Sequence[Table]) -> list[Table]:
    """The main sheet, then the others.

    Raises:
        SchemaRefused: Two hold the same column: nobody can say which was meant.
    """
    named: set[str | None] = {None, "", KEY}
    for table in found:
        if (set(table.names) - {None, "", KEY}) & named:
            raise SchemaRefused(
                "more than one sheet holds cases",
                where=tuple(f"sheet {each.sheet}, A{each.header}" for each in found),
            )
        named |= set(table.names)
    main = next(
        (each for each in found if any(str(name).startswith("prs_") for name in each.names)),
        found[0],
    )
    return [main, *(each for each in found if each is not main)]


def joined(
    main: Table, others: Sequence[Table], read: Mapping[int, Iterator[Row]]
) -> Iterator[Record | BadRecord]:
    """The header of all sheets together, then each case; at the end what belongs to none.

    Args:
        read: The rows below the header, by the number of the sheet.
    """
    header = [*main.texts, *(text for other in others for text in _without(other, other.texts))]
    yield Record(main.header, header, b"")
    beside = [_by_case(other, read[other.sheet]) for other in others]
    for row in read[main.sheet]:
        key = row.texts[main.key].strip()
        linked = [rows.pop(key, []) for rows in beside]
        yield _record(row, others, linked)
    for other, rows in zip(others, beside, strict=True):
        for key, left in rows.items():
            code = "no-such-case" if key else "missing"
            for row in left:
                where = row.trouble or (f"sheet {other.sheet}, row {row.number}: {code}",)
                yield BadRecord(row.number, code, row.raw, where)


def _record(row: Row, others: Sequence[Table], linked: Sequence[list[Row]]) -> Record | BadRecord:
    raw = b"".join((row.raw, *(each.raw for rows in linked for each in rows)))
    trouble = (*row.trouble, *(why for rows in linked for each in rows for why in each.trouble))
    if trouble:
        return BadRecord(row.number, trouble[0].rpartition(": ")[2], raw, trouble)
    lines: list[list[str]] = []
    for at in range(max([1, *map(len, linked)])):
        cells = row.texts if at == 0 else [""] * len(row.texts)
        for other, rows in zip(others, linked, strict=True):
            texts = rows[at].texts if at < len(rows) else [""] * len(other.texts)
            cells = [*cells, *_without(other, texts)]
        lines.append(cells)
    return Record(row.number, lines[0], raw, tuple(lines[1:]))


def _without(table: Table, texts: Sequence[str]) -> list[str]:
    return [text for at, text in enumerate(texts) if at != table.key]


def _by_case(table: Table, rows: Iterator[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    size = 0
    for row in rows:
        size += sum(map(len, row.texts))
        if size > MOST_BESIDE:
            raise SchemaRefused(
                "the sheets beside the cases hold too much", where=(f"sheet {table.sheet}",)
            )
        found.setdefault(row.texts[table.key].strip(), []).append(row)
    return found
