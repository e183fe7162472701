"""What only shows when sections are seen together: days before the person was born."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from typing import Any

from schemas.base import ProtectedModel
from schemas.errors import SchemaRefused
from schemas.sections.fields import Kind, date_range, is_partial_date, kind_of
from schemas.sections.registry import SECTIONS, part_model

_BIRTH = "birthdate"


def check_together(sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the contents of a case's sections, each already valid by itself, against each other.

    A day is refused if it lies before every day on which the person can have been born. A birth
    date of which nothing is known refuses nothing.

    Raises:
        SchemaRefused: `section.field: before_birth` for each; never a value.
    """
    born = sections.get("identity_core", {}).get(_BIRTH)
    if not isinstance(born, str) or not is_partial_date(born):
        return
    earliest, _ = date_range(born)
    where = tuple(
        f"{section}.{path}: before_birth"
        for section, content in sections.items()
        if section in SECTIONS
        for path, latest in _days(SECTIONS[section].model, content)
        if latest < earliest
    )
    if where:
        raise SchemaRefused(where=where[:20])


def _days(model: type[ProtectedModel], content: Mapping[str, Any]) -> Iterator[tuple[str, date]]:
    """Every date in a section's JSON with its path; of a partial one, the latest day it can mean."""
    for name, part in _dated(model):
        value = content.get(name)
        if value is None:
            continue
        if part is None:
            if is_partial_date(value):
                yield name, date_range(value)[1]
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{path}", day) for path, day in _days(part, value))
        else:
            for index, item in enumerate(value):
                yield from ((f"{name}.{index}.{path}", day) for path, day in _days(part, item))


@cache
def _dated(model: type[ProtectedModel]) -> tuple[tuple[str, type[ProtectedModel] | None], ...]:
    """The fields of a model that are dates, and those whose parts have some."""
    found: list[tuple[str, type[ProtectedModel] | None]] = []
    for name, field in model.model_fields.items():
        part = part_model(field.annotation)
        if part is not None:
            if _dated(part):
                found.append((name, part))
        elif name != _BIRTH and kind_of(field.annotation) in (Kind.DAY, Kind.PARTIAL_DATE):
            found.append((name, None))
    return tuple(found)
