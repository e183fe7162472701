"""Bodies of oversight: counts of many, never one person."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, model_validator

from schemas.base import ProtectedModel
from schemas.bodies.common import Body, Code
from schemas.bodies.referral import FieldPath
from schemas.codes import EXCHANGE
from schemas.sections.fields import Country

SMALLEST_CELL = 11
"""CTDC's k: a smaller count is not given."""


class Cell(ProtectedModel):
    """One figure of a table. Where a heading is absent, it counts all of that heading."""

    exploitation: Annotated[str, *Code(EXCHANGE, "exploitation")] | None = None
    age: Annotated[str, *Code(EXCHANGE, "age_band")] | None = None
    sex: Annotated[str, *Code(EXCHANGE, "sex_band")] | None = None
    count: Annotated[int, Field(ge=SMALLEST_CELL)] | None
    """None is held back: fewer than eleven, none among them, or what would give those away."""


class Aggregate(Body):
    """The tables of one corridor in one period, as they were published: with their totals, and
    with what is held back in them chosen so that nobody can compute it."""

    first: date
    last: date
    origin: Country
    destination: Country
    cells: Annotated[tuple[Cell, ...], Field(min_length=1, max_length=2000)]

    @model_validator(mode="after")
    def _one_cell_for_each(self) -> Aggregate:
        if self.last < self.first:
            raise ValueError("a period ends after it begins")
        if len({(cell.exploitation, cell.age, cell.sex) for cell in self.cells}) < len(self.cells):
            raise ValueError("a cell is there twice")
        return self


class FilingOutcome(StrEnum):
    """What became of a referral in a case system that has no place for all of it."""

    FILED_WITH_GAPS = "filed_with_gaps"
    """Filed; the fields named are kept in the recipient's gateway alone."""
    CANNOT_MAP = "cannot_map"
    """Not filed; a person enters it by hand, or the sender amends it."""
    PERSON_UNCLEAR = "person_unclear"
    """Not filed yet: whom it is about is being made sure of. Does not say whether anybody is known
    there, who, or by what; what becomes of it follows as a receipt."""


class FilingReport(Body):
    """Says field by field what the recipient's case system could not take. Names, never values."""

    referral: UUID
    """Business id of the message that it is about."""
    outcome: FilingOutcome
    fields: Annotated[tuple[FieldPath, ...], Field(max_length=64)] = ()
