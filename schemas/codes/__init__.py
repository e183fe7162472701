"""Code lists: what a coded field may hold, by standard and edition, from data files.

The codes themselves travel; labels are for screens and are not here. A list is read from the
package once, on first use, and never changes while a process lives: a new edition is a new file.
Sources and licences of the codes are in `data/NOTICE`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

HTCDS = "htcds-2.0"
BROKER = "broker-1"
CTDC = "ctdc-2021"
STANDARDS = (HTCDS, CTDC, BROKER)
EXCHANGE = "exchange-1"


@dataclass(frozen=True, slots=True)
class CodeList:
    """One list: its codes in the order of the standard, and what else means the same."""

    name: str
    standard: str
    edition: str
    codes: tuple[str, ...]
    aliases: Mapping[str, str]
    """Other spellings of the same code. Read from files, never written, never on the wire."""
    definition_only: tuple[str, ...] = ()
    """Codes that the standard defines in prose but leaves out of this list (an HTCDS quirk). They
    form a list of their own, named `<list>:defined`."""

    def __contains__(self, code: object) -> bool:
        return code in self.codes

    def canonical(self, text: str) -> str | None:
        """The code for a spelling met in a file, blanks around it ignored; None if there is none."""
        bare = text.strip()
        return bare if bare in self.codes else self.aliases.get(bare)


@cache
def _lists(standard: str) -> Mapping[str, CodeList]:
    content = tomllib.loads(_text(f"{standard}.toml"))
    aliases = content.get("aliases", {})
    extra = content.get("definition_only", {})
    lists = content["lists"] | {f"{name}:defined": codes for name, codes in extra.items()}
    return MappingProxyType(
        {
            name: CodeList(
                name=name,
                standard=standard,
                edition=content["edition"],
                codes=tuple(codes),
                aliases=MappingProxyType(aliases.get(name, {})),
                definition_only=tuple(extra.get(name, ())),
            )
            for name, codes in lists.items()
        }
    )


def code_list(standard: str, name: str) -> CodeList:
    """One list of one standard.

    Raises:
        KeyError: No such list: a mistake in the code, not in a message.
    """
    return _lists(standard)[name]


def list_names(standard: str) -> tuple[str, ...]:
    """The names of all lists of one standard."""
    return tuple(_lists(standard))


@cache
def _countries() -> Mapping[str, str]:
    """Every accepted spelling of a country code, in upper case, to its alpha-2 code."""
    found: dict[str, str] = {}
    for line in data_lines("iso-3166-1.txt"):
        alpha2, *others = line.split()
        found[alpha2] = alpha2
        found.update(dict.fromkeys(others, alpha2))
    return MappingProxyType(found)


@cache
def country_codes() -> frozenset[str]:
    """ISO 3166-1 alpha-2, and XK."""
    return frozenset(_countries().values())


def country(text: str) -> str | None:
    """The alpha-2 code for a two- or three-letter code in any case; None if unknown."""
    return _countries().get(text.strip().upper())


@cache
def language_codes() -> frozenset[str]:
    """ISO 639-3 identifiers."""
    return frozenset(word for line in data_lines("iso-639-3.txt") for word in line.split())


@cache
def _other_languages() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in data_lines("iso-639-other.txt"):
        identifier, *others = line.split()
        found.update(dict.fromkeys(others, identifier))
    return MappingProxyType(found)


def language(text: str) -> str | None:
    """The ISO 639-3 identifier for an ISO 639-1, 639-2 or 639-3 code; None if unknown."""
    bare = text.strip().lower()
    return bare if bare in language_codes() else _other_languages().get(bare)


@cache
def script_codes() -> frozenset[str]:
    """ISO 15924, as in `Latn`, `Arab`, `Cyrl`."""
    return frozenset(word for line in data_lines("iso-15924.txt") for word in line.split())


@cache
def currency_codes() -> frozenset[str]:
    """ISO 4217 alphabetic codes of currencies in use."""
    return frozenset(word for line in data_lines("iso-4217.txt") for word in line.split())


def data_lines(name: str) -> list[str]:
    """The lines of a data file of this package that are no comments."""
    return [line for line in _text(name).splitlines() if line and not line.startswith("#")]


def _text(name: str) -> str:
    return (files("schemas.codes") / "data" / name).read_text(encoding="utf-8")
