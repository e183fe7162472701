"""The kinds of field that sections are made of, and where each lies in a case file.

Every check here raises with a rule's name (`unknown_code`, `not_a_phone` …) and never with the
value. Strings are canonical on the wire: alpha-2 countries, ISO 639-3 languages, E.164 phones
with `+`, ISO dates. Adapters bring other spellings into this form; the models do not guess.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import phonenumbers
from edtf import parse_edtf
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas import codes
from schemas.base import FreeText, ShortText


@dataclass(frozen=True, slots=True)
class Column:
    """The column of a case file that holds this field: the only place where the two are joined.

    A name without prefix `x_` is a column of HTCDS 2.0; one with it is our extension.
    """

    name: str
    deprecated: bool = False
    """Given up by the standard; accepted, and still written where a case holds it."""

    @property
    def is_htcds(self) -> bool:
        """True for a column of the standard."""
        return not self.name.startswith("x_")

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        described["x-htcds" if self.is_htcds else "x-column"] = self.name
        if self.deprecated:
            described["deprecated"] = True
        return described


class Kind(Enum):
    """What a field's text means, for whoever reads or writes other spellings of it."""

    TEXT = "text"
    CODE = "code"
    DAY = "day"
    PARTIAL_DATE = "partial date"
    COUNTRY = "country"
    SUBDIVISION = "subdivision"
    LANGUAGE = "language"
    SCRIPT = "script"
    CURRENCY = "currency"
    SECTION = "section"
    PHONE = "phone"
    DEGREES = "degrees"
    NUMBER = "number"
    YES_NO = "yes or no"


@dataclass(frozen=True, slots=True)
class Shape:
    """A field as seen from outside: its kind, its code list, whether it holds several."""

    kind: Kind
    codes: codes.CodeList | None = None
    many: bool = False


@dataclass(frozen=True, slots=True)
class CodedBy:
    """Marks a field with its code list, for whoever reads or writes other spellings of it."""

    standard: str
    name: str

    @property
    def codes(self) -> codes.CodeList:
        """The list itself."""
        return codes.code_list(self.standard, self.name)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.codes.codes)}


def _refuse(rule: str) -> PydanticCustomError:
    return PydanticCustomError(rule, "does not fit")


def _only(permitted: frozenset[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in permitted:
            raise _refuse("unknown_code")
        return value

    return AfterValidator(check)


def one_of(standard: str, name: str) -> tuple[CodedBy, AfterValidator]:
    """Annotations of a field that holds one code: `Annotated[str, *one_of(HTCDS, "…")]`."""
    coded = CodedBy(standard, name)
    return coded, _only(frozenset(coded.codes.codes))


def defined_only(standard: str, name: str) -> tuple[CodedBy, AfterValidator]:
    """Annotations of a code that the standard defines but leaves out of the list of that name."""
    coded = CodedBy(standard, f"{name}:defined")
    return coded, _only(frozenset(coded.codes.codes))


def no_repeats(value: tuple[str, ...]) -> tuple[str, ...]:
    """A list of codes is a set that keeps its order."""
    if len(set(value)) != len(value):
        raise _refuse("repeated")
    return value


# --- Dates -------------------------------------------------------------------------------------

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _to_day(value: object) -> object:
    if isinstance(value, str):
        if not _DAY.fullmatch(value):
            raise _refuse("not_a_day")
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise _refuse("not_a_day") from None
    return value


Day = Annotated[
    date,
    Kind.DAY,
    BeforeValidator(_to_day),
    PlainSerializer(date.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date"}),
]
"""A calendar day; travels as `YYYY-MM-DD`."""

_CENTURY = "(?:1[89]|2[01])"
_PARTIAL = re.compile(
    rf"(?:({_CENTURY}\d\d)(?:-(\d\d)(?:-(\d\d|XX))?|-XX(?:-XX)?)?|{_CENTURY}\dX|{_CENTURY}XX)[?~%]?",
    re.ASCII,
)


def _is_partial_date(value: str) -> str:
    match = _PARTIAL.fullmatch(value)
    if match is None:
        raise _refuse("not_a_partial_date")
    year, month, day = match.groups()
    if month is not None and not 1 <= int(month) <= 12:
        raise _refuse("not_a_partial_date")
    if month and day and day != "XX" and not 1 <= int(day) <= monthrange(int(year), int(month))[1]:
        raise _refuse("not_a_partial_date")
    return value


PartialDate = Annotated[
    str,
    Kind.PARTIAL_DATE,
    StringConstraints(max_length=11),
    AfterValidator(_is_partial_date),
    WithJsonSchema({"type": "string", "pattern": f"^{_PARTIAL.pattern}$"}),
]
"""A date of which parts may be unknown or uncertain: EDTF (ISO 8601-2:2019), single dates of
level 1 only: `1994`, `1994-05`, `1994-05-17`, `199X`, `1994-XX`, `1994-05-XX`, each with an
optional `?` (uncertain), `~` (approximate) or `%` (both). Years 1800 to 2199."""


def is_partial_date(text: str) -> bool:
    """True if the text is a `PartialDate`."""
    try:
        _is_partial_date(text)
    except PydanticCustomError:
        return False
    return True


@lru_cache(maxsize=4096)
def date_range(value: str) -> tuple[date, date]:
    """The earliest and the latest day that a partial date can mean, its uncertainty included.

    How far `~` and `?` reach is the edtf library's convention: a year for a year, a month for a
    month, a day for a day, doubled for `%`.
    """
    parsed = parse_edtf(_is_partial_date(value))
    lower = min(parsed.lower_strict()[:3], parsed.lower_fuzzy()[:3])
    upper = max(parsed.upper_strict()[:3], parsed.upper_fuzzy()[:3])
    return date(*lower), date(*upper)


def possibly_child(birthdate: str | None, on_date: date, *, majority: int = 18) -> bool:
    """True if the person may be under age on that day: in doubt, a child (CETS 197, Art 10(3)).

    Args:
        birthdate: A `PartialDate`; None means unknown, which alone presumes nothing.
        majority: Age of majority in whole years.
    """
    if birthdate is None:
        return False
    _, latest = date_range(birthdate)
    years = on_date.year - latest.year - ((on_date.month, on_date.day) < (latest.month, latest.day))
    return years < majority


# --- Places, languages, phones ------------------------------------------------------------------


def _is_country(value: str) -> str:
    if value not in codes.country_codes():
        raise _refuse("unknown_code")
    return value


_SUBDIVISION = re.compile(r"([A-Z]{2})-[A-Z0-9]{1,3}")


def _is_subdivision(value: str) -> str:
    match = _SUBDIVISION.fullmatch(value)
    if match is None or match[1] not in codes.country_codes():
        raise _refuse("unknown_code")
    return value


def _is_language(value: str) -> str:
    if value not in codes.language_codes():
        raise _refuse("unknown_code")
    return value


def _is_script(value: str) -> str:
    if value not in codes.script_codes():
        raise _refuse("unknown_code")
    return value


_TAG = re.compile(r"([a-z]{2,3})(?:-([A-Z][a-z]{3}))?(?:-([A-Z]{2}))?", re.ASCII)


def _is_language_tag(value: str) -> str:
    match = _TAG.fullmatch(value)
    if match is None:
        raise _refuse("not_a_language_tag")
    spoken, script, region = match.groups()
    known = (
        codes.language(spoken) is not None
        and (script is None or script in codes.script_codes())
        and (region is None or region in codes.country_codes())
    )
    if not known:
        raise _refuse("unknown_code")
    return value


_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)


def _is_phone(value: str) -> str:
    if not _E164.fullmatch(value) or not _is_possible(value):
        raise _refuse("not_a_phone")
    return value


def _is_possible(value: str) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


def _is_coarse(value: float) -> float:
    if round(value, 2) != value:
        raise _refuse("too_precise")
    return value


Country = Annotated[
    str,
    Kind.COUNTRY,
    AfterValidator(_is_country),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"}),
]
"""ISO 3166-1 alpha-2, or XK."""

Subdivision = Annotated[
    str,
    Kind.SUBDIVISION,
    AfterValidator(_is_subdivision),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}-[A-Z0-9]{1,3}$"}),
]
"""ISO 3166-2 in form, as `CN-YN`; only the country part is checked against a list."""

Language = Annotated[
    str,
    Kind.LANGUAGE,
    AfterValidator(_is_language),
    WithJsonSchema({"type": "string", "pattern": "^[a-z]{3}$"}),
]
"""ISO 639-3."""

Script = Annotated[
    str,
    Kind.SCRIPT,
    AfterValidator(_is_script),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z][a-z]{3}$"}),
]
"""ISO 15924."""

LanguageTag = Annotated[
    str,
    AfterValidator(_is_language_tag),
    WithJsonSchema({"type": "string", "pattern": f"^{_TAG.pattern}$"}),
]
"""BCP 47: language, then script and region where they matter, as `uk-Latn` or `ar-TN`."""

Phone = Annotated[
    str,
    Kind.PHONE,
    AfterValidator(_is_phone),
    WithJsonSchema({"type": "string", "pattern": r"^\+[1-9]\d{1,14}$"}),
]
"""E.164 with `+`; of a possible length for its country."""

Email = Annotated[
    ShortText, StringConstraints(pattern=r"^[^@\s,;]{1,64}@[^@\s,;]+\.[^@\s,;]+$", max_length=200)
]

Latitude = Annotated[float, Kind.DEGREES, Field(ge=-90, le=90), AfterValidator(_is_coarse)]
Longitude = Annotated[float, Kind.DEGREES, Field(ge=-180, le=180), AfterValidator(_is_coarse)]
"""Degrees with at most two decimals (about a kilometre): enough to plan, too coarse to find a door."""

Age = Annotated[int, Field(ge=0, le=130)]
"""Whole years; 0 is an age."""

Count = Annotated[int, Field(ge=0, le=99)]

Texts = Annotated[tuple[ShortText, ...], Field(max_length=20)]


_PLAIN = {str: Kind.TEXT, bool: Kind.YES_NO, int: Kind.NUMBER}


def shape_of(annotation: Any) -> Shape:
    """Read a field's shape off its annotation.

    Raises:
        TypeError: A field that is not text, code, number, day or a list of these has no shape.
    """
    if annotation in _PLAIN:
        return Shape(_PLAIN[annotation])
    inner, *marks = get_args(annotation) or (None,)
    if get_origin(annotation) is Annotated:
        for mark in marks:
            if isinstance(mark, Kind):
                return Shape(mark)
            if isinstance(mark, CodedBy):
                return Shape(Kind.CODE, mark.codes)
        return shape_of(inner)
    if get_origin(annotation) is tuple and marks == [...]:
        return replace(shape_of(inner), many=True)
    if marks == [NoneType]:
        return shape_of(inner)
    raise TypeError(f"no shape for {annotation}")


def kind_of(annotation: Any) -> Kind | None:
    """The kind of a field, or None if it is of no kind that a cell could hold."""
    try:
        return shape_of(annotation).kind
    except TypeError:
        return None


def column_of(metadata: list[Any]) -> Column | None:
    """The column among a field's annotations, if it has one."""
    return next((item for item in metadata if isinstance(item, Column)), None)


__all__ = [
    "Age",
    "CodedBy",
    "Column",
    "Count",
    "Country",
    "Day",
    "Email",
    "FreeText",
    "Kind",
    "Language",
    "LanguageTag",
    "Latitude",
    "Longitude",
    "PartialDate",
    "Phone",
    "Script",
    "Shape",
    "ShortText",
    "Subdivision",
    "Texts",
    "column_of",
    "date_range",
    "defined_only",
    "is_partial_date",
    "kind_of",
    "no_repeats",
    "one_of",
    "possibly_child",
    "shape_of",
]
