"""Strict JSON: the first thing that happens to bytes from outside.

Both `json.loads` and pydantic take the last of two members with one name without a word, accept
NaN, and turn an escape into half a character. Two readers of one signed document could so read two
things. Here all of that is refused before any model sees the bytes (`docs/protocol.md`, section 2).
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from schemas.errors import MalformedJson, TooLarge

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
"""RFC 8785 and JavaScript go no further without loss."""
_MAX_DIGITS = 16


def parse(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> object:
    """Parse JSON that can be read in one way only.

    Args:
        data: The bytes as received.
        limit: The most bytes that this kind of object may have.
        depth: How many arrays and objects may stand inside each other.

    Raises:
        TooLarge: Longer than `limit`.
        MalformedJson: Not UTF-8, a byte order mark, a duplicate member, NaN or Infinity, an integer
            beyond 2^53 - 1, half a surrogate pair, too deep, or not JSON. The text is not repeated.
    """
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes, at most {limit}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedJson("not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedJson(f"not JSON at character {error.pos}") from None
    except RecursionError:
        raise MalformedJson(f"deeper than {depth}") from None
    _check(value, depth)
    return value


def parse_object(data: bytes, *, limit: int, depth: int = MAX_DEPTH) -> dict[str, object]:
    """Parse strictly; only an object will do.

    Raises:
        TooLarge: Longer than `limit`.
        MalformedJson: See `parse`; or an array or a bare value.
    """
    value = parse(data, limit=limit, depth=depth)
    if not isinstance(value, dict):
        raise MalformedJson("not an object")
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("duplicate member")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise MalformedJson("NaN or Infinity")


def _integer(text: str) -> int:
    # The length is looked at first: converting a million digits takes quadratic time.
    if len(text) > _MAX_DIGITS + 1 or abs(value := int(text)) > MAX_INTEGER:
        raise MalformedJson("integer beyond 2^53 - 1")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedJson("number too large")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_constant=_no_constant,
    parse_int=_integer,
    parse_float=_float,
)


def _check(value: object, depth: int) -> None:
    """Refuse what is too deep, and text that cannot be written as UTF-8."""
    # A level at a time and not by recursion: what was sent must not choose our stack.
    level = [value]
    while level:
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                for name in item:
                    _check_text(name)
                below.extend(item.values())
                _check_depth(depth)
            elif isinstance(item, list):
                below.extend(item)
                _check_depth(depth)
        level = below
        depth -= 1


def _check_depth(left: int) -> None:
    if left <= 0:
        raise MalformedJson("too deep")


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("half a surrogate pair") from None
