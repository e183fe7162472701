"""The fields of HTCDS 2.0, as the standard names them; where each lies is said by the sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from schemas.codes import data_lines


@dataclass(frozen=True, slots=True)
class StandardField:
    """One field of the standard, with the standard's marks and ours."""

    name: str
    type: str
    marks: frozenset[str]

    @property
    def core(self) -> bool:
        """Part of the standard's minimum."""
        return "core" in self.marks

    @property
    def deprecated(self) -> bool:
        """Given up by version 2.0; still accepted."""
        return "deprecated" in self.marks

    @property
    def in_a_section(self) -> bool:
        """False for what belongs to an organisation or to a consent record."""
        return not self.marks & {"directory", "consent"}


@cache
def fields() -> Mapping[str, StandardField]:
    """All 84, by name, in the order of the standard."""
    found = {}
    for line in data_lines("htcds-2.0-fields.txt"):
        name, kind, *marks = line.split()
        found[name] = StandardField(name, kind, frozenset(marks))
    return MappingProxyType(found)


def marked(mark: str) -> tuple[str, ...]:
    """The names of all fields with one mark."""
    return tuple(name for name, field in fields().items() if mark in field.marks)
