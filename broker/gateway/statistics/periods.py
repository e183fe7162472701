"""Quarters: the only stretches of time that are counted, so that no two tables differ by a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from schemas.errors import SchemaRefused


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    """Three months of a year."""

    year: int
    number: int
    """1 to 4."""

    @classmethod
    def of(cls, day: date) -> Quarter:
        return cls(day.year, (day.month - 1) // 3 + 1)

    def __str__(self) -> str:
        return f"{self.year}-Q{self.number}"

    @property
    def first(self) -> date:
        return date(self.year, 3 * self.number - 2, 1)

    @property
    def last(self) -> date:
        return self.next().first - timedelta(days=1)

    def next(self) -> Quarter:
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)


def quarters(first: date, last: date) -> tuple[Quarter, ...]:
    """The quarters of a period.

    Raises:
        SchemaRefused: It does not begin and end with one, or is longer than ten years.
    """
    found = [Quarter.of(first)]
    while found[-1].last < last and len(found) < 40:
        found.append(found[-1].next())
    if first != found[0].first or last != found[-1].last:
        raise SchemaRefused("statistics are of whole quarters", where=("first", "last"))
    return tuple(found)
