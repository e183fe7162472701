"""Values that several sections hold: money, codes of other classifications, dates in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from schemas import codes
from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.fields import Day, Kind, one_of


def _is_currency(value: str) -> str:
    if value not in codes.currency_codes():
        raise PydanticCustomError("unknown_code", "does not fit")
    return value


Currency = Annotated[
    str,
    Kind.CURRENCY,
    AfterValidator(_is_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"}),
]
"""ISO 4217."""

Amount = Annotated[int, Field(ge=0, le=10**12)]
"""Whole units of a currency; nobody's claim depends on cents."""


class Money(ProtectedModel):
    """An amount, with its currency."""

    amount: Amount | None = None
    currency: Currency | None = None


class ClassifiedCode(ProtectedModel):
    """A code of a classification that is not part of this language, as IC-TIP.

    Both halves are the sender's: the code is carried and not checked, since we hold no table of
    that classification and invent none.
    """

    facet: Annotated[str, *one_of(BROKER, "classified_facet")] | None = None
    """What the code says something about."""
    code_system: Annotated[str, *one_of(BROKER, "code_system")] | None = None
    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")] | None = (
        None
    )


Classified = Annotated[tuple[ClassifiedCode, ...], Field(max_length=40)]


def not_before(start: str) -> AfterValidator:
    """Annotation of a day that may not lie before another field of the same model.

    The other field must stand above this one: `Annotated[Day | None, not_before("from_day")]`.
    """

    def check(value: date | None, info: ValidationInfo) -> date | None:
        begun = info.data.get(start)
        if value is not None and begun is not None and value < begun:
            raise PydanticCustomError("before_start", "does not fit")
        return value

    checked: Callable[[date | None, ValidationInfo], date | None] = check
    return AfterValidator(checked)


__all__ = ["Amount", "Classified", "ClassifiedCode", "Currency", "Day", "Money", "not_before"]
