"""How each kind of field is spelled in a cell of a case file.

Reading accepts what national exports are known to contain and mean without doubt (codes with
blanks around them, three-letter countries, phones without `+`), and refuses by name what may mean
two things (dates that a spreadsheet rewrote). Writing has one spelling.
"""

from __future__ import annotations

import re
from decimal import ROUND_DOWN, Decimal

from schemas import codes
from schemas.sections.fields import Kind, Shape, is_partial_date

JsonValue = str | int | float | bool | list[str]

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[T ]00:00(?::00(?:\.0+)?)?", re.ASCII)
_SLASHED = re.compile(r"\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}")
_MONTH_NAME = re.compile(r"(?i)(?:\d{1,4}[ -])?[^\W\d]{3,}[ .-]+\d{2,4}")
_SERIAL = re.compile(r"\d{4,5}(?:[.,]\d+)?")
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")
_NUMBER = re.compile(r"(\d{1,9})(?:\.0+)?", re.ASCII)
"""`12.0` is how a spreadsheet's export spells twelve."""
_DEGREES = re.compile(r"-?\d{1,3}(?:\.\d{1,15})?", re.ASCII)
_PHONE_SPACING = re.compile(r"[ ().\u00a0-]")
_CODE_SEPARATORS = re.compile(r"[;,\s]+")
_YES = frozenset({"true", "1", "1.0", "yes", "y", "t", "on", "checked", "✓", "✔", "☑"})
_NO = frozenset({"false", "0", "0.0", "no", "n", "f", "off", "unchecked", "☐"})
"""Words of one language alone are for the spelling of a country: one means yes here and no there."""

_HUNDREDTH = Decimal("0.01")
_FORMULA_STARTS = ("=", "+", "-", "@")


class CellRefused(Exception):
    """A cell that does not fit its column. Holds a reason's code, never the cell."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def read_cell(text: str, shape: Shape) -> JsonValue:
    """The JSON value of a cell that is not empty.

    Raises:
        CellRefused: With one of the codes of `docs/adapters.md`.
    """
    if shape.kind is Kind.TEXT:
        if shape.many:
            return [item.strip() for item in text.split(";") if item.strip()]
        return unshield(text)
    if shape.many:
        items = [_read_one(item, shape) for item in _CODE_SEPARATORS.split(text) if item]
        return list(dict.fromkeys(str(item) for item in items))
    return _read_one(text.strip(), shape)


def _read_one(text: str, shape: Shape) -> JsonValue:
    match shape.kind:
        case Kind.CODE:
            return _code(text, shape)
        case Kind.DAY:
            return _day(text)
        case Kind.PARTIAL_DATE:
            return _partial_date(text)
        case Kind.COUNTRY:
            return _known(codes.country(text))
        case Kind.LANGUAGE:
            return _known(codes.language(text))
        case Kind.SCRIPT:
            return _known(text.title() if text.title() in codes.script_codes() else None)
        case Kind.PHONE:
            return _phone(text)
        case Kind.DEGREES:
            if not _DEGREES.fullmatch(text):
                raise CellRefused("bad-number")
            # Truncated, not rounded: the section may not say more precisely where somebody lives.
            return float(Decimal(text).quantize(_HUNDREDTH, rounding=ROUND_DOWN))
        case Kind.NUMBER:
            if not (number := _NUMBER.fullmatch(text)):
                raise CellRefused("bad-number")
            return int(number[1])
        case Kind.YES_NO:
            return _yes_no(text)
        case _:
            return text


def _known(code: str | None) -> str:
    if code is None:
        raise CellRefused("unknown-code")
    return code


def _code(text: str, shape: Shape) -> str:
    assert shape.codes is not None  # noqa: S101 - a code field has a list; see `shape_of`
    found = shape.codes.canonical(text)
    if found is not None:
        return found
    if text in shape.codes.definition_only:
        # The standard defines it and its picklist lacks it; a neighbour would change the facts.
        raise CellRefused("cannot-map")
    if not shape.many and all(shape.codes.canonical(item) for item in _CODE_SEPARATORS.split(text)):
        raise CellRefused("several-values")
    raise CellRefused("unknown-code")


def _day(text: str) -> str:
    if _ISO_DAY.fullmatch(text):
        return text
    if match := _ISO_MIDNIGHT.fullmatch(text):
        return match[1]
    raise CellRefused(_why_no_date(text))


def _partial_date(text: str) -> str:
    if match := _ISO_MIDNIGHT.fullmatch(text):
        return match[1]
    if is_partial_date(text):
        return text
    raise CellRefused(_why_no_date(text))


def _why_no_date(text: str) -> str:
    """Tell what a spreadsheet did to a date: day and month in doubt, a serial number, hashes."""
    if _ISO_DAY.fullmatch(text):
        return "bad-date"
    if _SLASHED.fullmatch(text) or _MONTH_NAME.fullmatch(text):
        return "date-ambiguous"
    if _SERIAL.fullmatch(text):
        return "date-spreadsheet-number"
    if text.startswith("#"):
        return "date-lost"
    return "bad-date"


def _phone(text: str) -> str:
    if _SCIENTIFIC.fullmatch(text):
        raise CellRefused("number-lost-digits")
    bare = _PHONE_SPACING.sub("", text)
    # HTCDS makes the plus optional; the first digit is then the country's, never zero.
    number = bare if bare.startswith("+") else f"+{bare}"
    if not number[1:].isascii() or not number[1:].isdigit() or number[1:2] == "0":
        raise CellRefused("bad-phone")
    return number


def _yes_no(text: str) -> bool:
    folded = text.casefold()
    if folded in _YES:
        return True
    if folded in _NO:
        return False
    raise CellRefused("bad-checkbox")


def write_cell(value: object, shape: Shape) -> str | None:
    """The cell for a JSON value; None if no cell would be read back as the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _join(value, shape)
    if shape.kind is Kind.TEXT:
        return shield(str(value))
    return str(value)


def _join(items: list[object], shape: Shape) -> str | None:
    texts = [str(item) for item in items]
    joined = ";".join(texts)
    if shape.kind is Kind.TEXT and (_would_run(joined) or read_cell(joined, shape) != texts):
        return None
    return joined


def shield(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula, in a way that `unshield` undoes."""
    if _would_run(text) or not text.strip() or unshield(text) != text:
        return f"'{text}"
    return text


def unshield(text: str) -> str:
    """The text that was shielded. An apostrophe before anything else belongs to the text."""
    rest = text[1:]
    if (
        text.startswith("'")
        and rest
        and (_would_run(rest) or rest.startswith("'") or not rest.strip())
    ):
        return rest
    return text


def _would_run(text: str) -> bool:
    return text.lstrip().startswith(_FORMULA_STARTS)
