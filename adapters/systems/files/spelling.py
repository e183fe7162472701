"""How one country writes its case files, where it differs from HTCDS: said once, never guessed.

    [columns]                         # its header -> a column of ours, or "not-carried"
    "Case number" = "x_case_ref"
    "Given name" = "prs_FirstName"
    "Room" = "not-carried"

    [words.prs_Gender]                # its words in a column -> the standard's codes
    F = "Feminine"

    [dates]
    order = "day-first"               # 12/03/1990 is the twelfth of March; or "month-first"
    numbers = 1900                    # 33012 is a count of days since 1900, or since 1904

    [boxes]
    yes = ["oui"]
    no = ["non"]

A file of this form stands beside the cases and is made by whoever knows the system that wrote them.
Without it a word, a column or a date that may mean two things rejects the row that it stands in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.base import paths_of
from schemas.errors import SchemaRefused
from schemas.sections.fields import Kind, Shape

NOT_CARRIED: Final = "not-carried"
"""What is in such a column is named to the worker, and not sent."""
MAX_FILE: Final = 1 << 20

_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?:[T ]00:00(?::00)?)?", re.ASCII)
_DAYS = re.compile(r"(\d{4,5})(?:\.0+)?", re.ASCII)
_SOONEST_NUMBER: Final = 4000
"""Days, some time in 1910: a smaller number in a column of dates is a year."""
_SEPARATORS = re.compile(r"[;,]")


def comparable(name: str) -> str:
    """A column's name, whatever its blanks, and, of the standard's, its underscores and case."""
    bare = " ".join(name.split())
    return bare if bare.startswith("x_") else bare.replace("_", "").casefold()


@dataclass(frozen=True, slots=True)
class Spelling:
    """One country's way; empty, it is the standard's own."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """By `comparable` name of the country's column: ours, or `NOT_CARRIED`."""
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By our column, then by the country's word, folded."""
    boxes: Mapping[str, str] = field(default_factory=dict)
    """Words that tick a box, or leave it empty, as `true` or `false`."""
    date_order: str | None = None
    days_since: int | None = None
    """1900 or 1904: the first year of the spreadsheet's count of days."""

    def word(self, column: str, text: str) -> str:
        """A cell in the standard's word, if this spelling has another for it; else as it stands."""
        folded = _folded(text)
        words = self.words.get(column)
        if words is not None and folded in words:
            return words[folded]
        return self.boxes.get(folded, text)

    def cell(self, column: str, text: str, shape: Shape) -> str:
        """A cell of a section's column, as the standard would have spelled it."""
        if self is PLAIN:
            return text
        match shape.kind:
            case Kind.DAY | Kind.PARTIAL_DATE:
                return self._date(text)
            case Kind.YES_NO:
                return self.word(column, text)
        words = self.words.get(column)
        if words is None:
            return text
        if shape.many and _folded(text) not in words:
            return ";".join(words.get(_folded(each), each) for each in _SEPARATORS.split(text))
        return words.get(_folded(text), text)

    def _date(self, text: str) -> str:
        bare = text.strip()
        if self.date_order is not None and (match := _SLASHED.fullmatch(bare)):
            first, _, second, year = match.groups()
            day, month = (first, second) if self.date_order == "day-first" else (second, first)
            return f"{year}-{int(month):02}-{int(day):02}"  # no such day is refused by its column
        if (
            self.days_since is not None
            and (match := _DAYS.fullmatch(bare))
            and int(match[1]) >= _SOONEST_NUMBER
        ):
            # The spreadsheets count a 29 February 1900 that never was.
            begin = date(1899, 12, 30) if self.days_since == 1900 else date(1904, 1, 1)
            return (begin + timedelta(days=int(match[1]))).isoformat()
        return text


PLAIN: Final = Spelling()


def read_spelling(path: Path, is_known: Callable[[str], bool]) -> Spelling:
    """The spelling in a file.

    Args:
        is_known: True for a column of ours.

    Raises:
        SchemaRefused: Names the table and the entry that is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SchemaRefused(f"the spelling cannot be read: errno {error.errno}") from None
    try:
        if len(content) > MAX_FILE:
            raise ValueError
        table = tomllib.loads(content.decode("utf-8-sig"))
    except ValueError:  # no UTF-8, no TOML
        raise SchemaRefused("the spelling is no TOML file", where=(path.name,)) from None
    return spelling_of(table, is_known)


def spelling_of(table: Mapping[str, Any], is_known: Callable[[str], bool]) -> Spelling:
    """The spelling in a table; see `read_spelling`."""
    try:
        given = _Table.model_validate(table)
    except ValidationError as error:
        raise SchemaRefused("the spelling is wrong", where=tuple(paths_of(error))) from None
    columns = {comparable(theirs): ours for theirs, ours in given.columns.items()}
    named = [*(each for each in columns.values() if each != NOT_CARRIED), *given.words]
    wrong = [f"{each}: no such column" for each in named if not is_known(each)]
    if len(columns) != len(given.columns):
        wrong.append("columns: repeated")
    boxes = {_folded(word): "true" for word in given.boxes.yes}
    boxes |= {_folded(word): "false" for word in given.boxes.no}
    if len(boxes) != len(given.boxes.yes) + len(given.boxes.no) or "" in boxes:
        wrong.append("boxes: repeated")
    if wrong:
        raise SchemaRefused("the spelling is wrong", where=tuple(wrong))
    words = {
        column: {_folded(theirs): ours for theirs, ours in table.items()}
        for column, table in given.words.items()
    }
    return Spelling(columns, words, boxes, given.dates.order, given.dates.numbers)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Dates(_Part):
    order: Literal["day-first", "month-first"] | None = None
    numbers: Literal[1900, 1904] | None = None


class _Boxes(_Part):
    yes: list[str] = []
    no: list[str] = []


class _Table(_Part):
    columns: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    dates: _Dates = _Dates()
    boxes: _Boxes = _Boxes()


def _folded(word: str) -> str:
    return word.strip().casefold()
