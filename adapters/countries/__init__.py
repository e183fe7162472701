"""What is known of each country, as data: profile, law, languages, its own words for codes.

One folder for each country: `profile.toml`, `codes.toml`, `README.md`. A statement about law says
where it comes from, when it was written down and how sure we are; it helps to configure, and is
no legal advice.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from adapters.base import CaseRecord
from schemas.base import ShortText, WireModel
from schemas.codes import BROKER, code_list
from schemas.errors import NotFound
from schemas.sections import SECTIONS
from schemas.sections.fields import Country, Day, Language, Script

_COUNTRIES = ("al", "it")


class Fact(WireModel):
    """A statement with its source; `confidence` is ours, not the source's."""

    value: ShortText
    source: ShortText
    recorded_on: Day
    confidence: Literal["high", "medium", "low"]


class DataProtection(WireModel):
    """Where the country stands towards those it exchanges data with."""

    gdpr: Fact
    """`gdpr-applies`, `adequacy` or `no-adequacy`."""
    convention_108: Fact
    """Council of Europe Convention 108: `party` or `not-party`."""
    convention_197: Fact
    """Council of Europe Convention on action against trafficking: `party` or `not-party`."""
    national_law: tuple[Fact, ...]


def _is_field(path: str) -> str:
    section, _, field = path.partition(".")
    if section not in SECTIONS or field not in SECTIONS[section].model.model_fields:
        raise ValueError("no such field of a section")
    return path


class CountryProfile(WireModel):
    """One country, as its gateway and its partners need to know it."""

    country: Country
    name: ShortText
    roles: Annotated[tuple[Literal["destination", "origin", "transit"], ...], Field(min_length=1)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Of its mechanism, the main one first."""
    scripts: Annotated[tuple[Script, ...], Field(min_length=1)]
    age_of_majority: Fact
    adapter: ShortText
    """Name in `adapters.registry`."""
    required_fields: tuple[Annotated[str, AfterValidator(_is_field)], ...]
    """`section.field`: what its case system cannot open a case without. Never free text."""
    data_protection: DataProtection

    @property
    def majority(self) -> int:
        """Age of majority in whole years."""
        return int(self.age_of_majority.value)

    def missing_fields(self, case: CaseRecord) -> tuple[str, ...]:
        """Which required fields a case lacks; what the worker is told before sending."""
        return tuple(
            path
            for path in self.required_fields
            for section, _, field in [path.partition(".")]
            if field not in case.sections.get(section, {})
        )


def country_codes_here() -> tuple[str, ...]:
    """The countries that have a folder, in lower case."""
    return _COUNTRIES


@cache
def country_profile(code: str) -> CountryProfile:
    """The profile of one country.

    Raises:
        NotFound: There is no folder for it.
    """
    return CountryProfile.from_json(json.dumps(_toml(code, "profile.toml"), default=str))


@cache
def country_codes(code: str) -> Mapping[str, Mapping[str, str]]:
    """A country's own words for our codes: list name to (word in lower case to code).

    Raises:
        NotFound: There is no folder for it.
    """
    tables = _toml(code, "codes.toml")
    found = {}
    for name, words in tables.items():
        known = code_list(BROKER, name)
        if not set(words.values()) <= set(known.codes):
            raise ValueError(f"{code}: {name} names a code that is not in its list")
        found[name] = MappingProxyType({word.casefold(): value for word, value in words.items()})
    return MappingProxyType(found)


def from_national(code: str, list_name: str, word: str) -> str | None:
    """Our code for a country's own word; None if it is not in the table. Never a guess."""
    return country_codes(code).get(list_name, {}).get(word.strip().casefold())


def _toml(code: str, name: str) -> dict[str, Any]:
    if code not in _COUNTRIES:
        raise NotFound("no such country")
    text = (files("adapters.countries") / code / name).read_text(encoding="utf-8")
    return tomllib.loads(text)
