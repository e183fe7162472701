"""Whether two records may be about one person: exact, after normalising letters. Pure.

A name is the same if its letters are, whatever their case, their width, the marks upon them and
what stands between them; a name in one script is never compared with one in another, since a
transliteration has no single form. A birth date that is known in part agrees with every date that
it leaves open. Nothing here decides: what is alike is put before a worker.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from adapters.base import Match

Sections: TypeAlias = Mapping[str, Mapping[str, Any]]

NUMBERS: Final = (
    ("nationality_documents", "identity_number"),
    ("nationality_documents", "unhcr_id"),
)
_NAME: Final = ("first_name", "second_name")
_IN_SCRIPTS: Final = ("", "original_")
_MARKED: Final = re.compile(r"LATIN|GREEK|CYRILLIC|ARABIC|HEBREW")
"""Scripts whose marks are accents or vowels that many leave out. In others they are letters."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Why two records may be about one person."""

    match: Match
    fields: tuple[str, ...]
    """Paths that are the same in both."""


def likeness(one: Sections, other: Sections) -> Likeness | None:
    """Why they may be about one person; None if nothing says so."""
    numbers = tuple(
        f"{section}.{field}"
        for section, field in NUMBERS
        if (key := number_key(one.get(section, {}).get(field))) is not None
        and key == number_key(other.get(section, {}).get(field))
    )
    names = names_of(one).keys() & names_of(other).keys()
    fields = [f"identity_core.{field}" for field in _NAME] if names else []
    born, their = (each.get("identity_core", {}).get("birthdate") for each in (one, other))
    if born is not None and their is not None:
        if not dates_agree(born, their):
            names = set()
        elif names or numbers:
            fields.append("identity_core.birthdate")
    if numbers:
        return Likeness(Match.NUMBER, (*numbers, *fields))
    return Likeness(Match.NAME, tuple(fields)) if names else None


def contradict(one: Sections, other: Sections) -> bool:
    """True if what both say of the person cannot be said of one: another number, name or date."""
    for section, field in NUMBERS:
        pair = [number_key(each.get(section, {}).get(field)) for each in (one, other)]
        if None not in pair and pair[0] != pair[1]:
            return True
    first, second = names_of(one), names_of(other)
    if first and second and not first.keys() & second.keys():
        return True
    born, their = (each.get("identity_core", {}).get("birthdate") for each in (one, other))
    return born is not None and their is not None and not dates_agree(born, their)


def names_of(sections: Sections) -> dict[str, str]:
    """The person's whole names, each in one script: normalised, to the prefix of its fields."""
    person = sections.get("identity_core", {})
    found = {}
    for prefix in _IN_SCRIPTS:
        parts = [letters(person.get(prefix + field)) for field in _NAME]
        if all(parts):
            found[" ".join(parts)] = prefix
    return found


def numbers_of(sections: Sections) -> set[str]:
    """The person's identity numbers, normalised, each with its kind."""
    keys = ((field, number_key(sections.get(section, {}).get(field))) for section, field in NUMBERS)
    return {f"{field} {key}" for field, key in keys if key is not None}


def letters(name: object) -> str:
    """The letters of a name, comparable; empty if it has none."""
    if not isinstance(name, str):
        return ""
    # In capitals, as a passport has them, the two letters i of Turkish are told apart no more.
    plain = unicodedata.normalize("NFKC", name).casefold().replace("ı", "i")
    return "".join(_without_marks(unicodedata.normalize("NFD", plain)))


def _without_marks(text: str) -> Iterable[str]:
    base = ""
    for letter in text:
        kind = unicodedata.category(letter)
        if kind[0] == "M":
            if not _MARKED.match(unicodedata.name(base, "") if base else ""):
                yield letter
        elif kind[0] in "LN":
            base = letter
            yield letter


def number_key(number: object) -> str | None:
    """A number's letters and digits. Leading zeros belong to it."""
    if not isinstance(number, str):
        return None
    plain = unicodedata.normalize("NFKC", number).casefold()
    return "".join(letter for letter in plain if letter.isalnum()) or None


def dates_agree(one: object, other: object) -> bool:
    """True if both may be the same day: `1990-XX`, `199X` and `1990` leave something open."""
    pairs = zip(_digits(one), _digits(other), strict=True)
    return all(a == b or "X" in (a, b) for a, b in pairs)


def _digits(date: object) -> str:
    bare = re.sub(r"[?~%]", "", str(date)).replace("-", "")
    return (bare + "XXXXXXXX")[:8]
