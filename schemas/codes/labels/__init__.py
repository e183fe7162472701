"""What codes, fields, sections, types and states are called in English, French and Arabic.

A coded field travels as its code, so that what Rome sends is read in Arabic in Tunis. The words are
our own, in `<language>.toml` beside this file; names of countries, languages, scripts and
currencies are those of the Unicode CLDR, as babel has them, with entries of ours for what it lacks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from schemas import codes

LANGUAGES = ("en", "fr", "ar")


def label(found: codes.CodeList, code: str, language: str) -> str:
    """What one code of a list is called.

    Raises:
        KeyError: No such language, or no such code in the list: a mistake of the program.
    """
    if code not in found.codes:
        raise KeyError(found.name)
    words = _words(language)
    own = words["lists"].get(f"{found.standard}/{found.name}", {})
    return str(own.get(code) or words["codes"][code])


def section_label(section: str, language: str) -> str:
    """What a section is called. Raises `KeyError` as `label` does."""
    return str(_words(language)["sections"][section])


def field_label(path: str, language: str) -> str:
    """What a field is called: `section.field`, or `section.field.part` of one that holds several.

    Raises:
        KeyError: No such language or field.
    """
    words = _words(language)
    return str(words["fields_at"].get(path) or words["fields"][path.rpartition(".")[2]])


def body_label(code: str, language: str) -> str:
    """What a code of a message's body is called that belongs to no list of a standard: why it was
    declined, which service, how urgent. Raises `KeyError` as `label` does."""
    words = _words(language)
    return str(words["bodies"].get(code) or words["codes"][code])


def type_label(name: str, language: str) -> str:
    """What a message type is called. Raises `KeyError` as `label` does."""
    return str(_words(language)["types"][name])


def state_label(state: str, language: str) -> str:
    """What a state is called, of an exchange or of a message on its way; a fact is called as the
    state that it leads to. Raises `KeyError` as `label` does."""
    return str(_words(language)["states"][state])


def place_label(code: str, language: str) -> str:
    """A country (ISO 3166-1, XK), or a part of one: its own name, or that of the country with it."""
    own = _words(language)["places"].get(code)
    if own is not None:
        return str(own)
    country, _, part = code.partition("-")
    name = _cldr(language, "territories", country)
    return f"{name} ({code})" if part else name


def language_label(code: str, language: str) -> str:
    """A language by its ISO 639-3 identifier; the identifier itself where nobody has a name."""
    own = _words(language)["languages"].get(code)
    return str(own) if own is not None else _cldr(language, "languages", _short().get(code, code))


def script_label(code: str, language: str) -> str:
    """A script by its ISO 15924 code."""
    return _cldr(language, "scripts", code)


def currency_label(code: str, language: str) -> str:
    """A currency by its ISO 4217 code."""
    return _cldr(language, "currencies", code)


def is_right_to_left(language: str) -> bool:
    """True if the language is written from right to left."""
    return language == "ar"


@cache
def _words(language: str) -> Mapping[str, Any]:
    if language not in LANGUAGES:
        raise KeyError(language)
    text = (files("schemas.codes.labels") / f"{language}.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


@cache
def _cldr(language: str, kind: str, code: str) -> str:
    from babel import Locale  # its data are read when a name is first asked for

    if language not in LANGUAGES:
        raise KeyError(language)
    return str(getattr(Locale(language), kind).get(code, code))


@cache
def _short() -> Mapping[str, str]:
    """ISO 639-3 identifiers to the two-letter codes under which CLDR keeps those languages."""
    pairs = (line.split() for line in codes.data_lines("iso-639-other.txt"))
    return {identifier: others[0] for identifier, *others in pairs if len(others[0]) == 2}
