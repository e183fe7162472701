"""One country, as its gateway and its partners need to know it: `profile.toml`, strictly read.

What most countries share stands in `defaults.toml` and `law.toml`; a profile says what is its own.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from adapters.base import CaseRecord
from adapters.countries.folders import Folder
from adapters.countries.law import DataProtection, Fact, Sourced, position_of
from schemas.base import ShortText, WireModel
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS
from schemas.sections.fields import Country, Language, Script, Subdivision

Calendar = Literal[
    "gregory", "ethiopic", "persian", "buddhist", "islamic", "islamic-civil", "chinese", "bengali"
]
"""As CLDR names them; ours for Bengali, which CLDR has not. Dates always travel as Gregorian."""

NameOrder = Literal[
    "given-family", "family-given", "given-father-grandfather", "given-patronymic", "one-name"
]
AddressPart = Literal["street", "postal_code", "city", "state", "village", "commune", "province"]
Trap = Literal[
    "right-to-left",
    "zawgyi",
    "decomposed",
    "no-word-spaces",
    "arabic-letter-variants",
    "several-transliterations",
    "own-digits",
    "one-name",
]
"""What has gone wrong with this country's text elsewhere; the conformance kit makes cases of it."""


def _is_field(path: str) -> str:
    section, _, field = path.partition(".")
    if section not in SECTIONS or field not in SECTIONS[section].model.model_fields:
        raise ValueError("no such field of a section")
    return path


class Change(WireModel):
    """A position that changed on a day: what was true before does not hold after."""

    on: date
    what: ShortText


class CountryProfile(WireModel):
    """One country, as its gateway and its partners need to know it."""

    country: Country
    name: ShortText
    partners: tuple[Subdivision, ...] = ()
    """Parts of the country that are partners of their own, ISO 3166-2."""
    particulars: Sourced
    """How role, languages, scripts, calendars, names and addresses are known."""
    programmes: tuple[ShortText, ...] = ()
    """Where it stands in our sources: corridors and studies."""
    roles: Annotated[tuple[Literal["destination", "origin", "transit"], ...], Field(min_length=1)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)]
    """Of its mechanism and its people, the main one first."""
    scripts: Annotated[tuple[Script, ...], Field(min_length=1)]
    calendars: Annotated[tuple[Calendar, ...], Field(min_length=1)]
    """In which its papers are dated, the usual one first."""
    name_order: NameOrder
    address_form: Annotated[tuple[AddressPart, ...], Field(min_length=1)]
    """In the order in which an address is written."""
    traps: tuple[Trap, ...] = ()
    age_of_majority: Fact
    channel: Literal["mailbox", "rabbitmq", "carrier"]
    adapter: ShortText
    """Name in `adapters.registry`."""
    required_fields: tuple[Annotated[str, AfterValidator(_is_field)], ...]
    """`section.field`: what its case system cannot open a case without. Never free text."""
    data_protection: DataProtection
    changes: tuple[Change, ...] = ()

    @field_validator("age_of_majority")
    @classmethod
    def _is_age(cls, fact: Fact) -> Fact:
        if not (fact.value.isdecimal() and 15 <= int(fact.value) <= 21):
            raise ValueError("an age of majority in whole years")
        return fact

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


def read_profile(folder: Folder) -> CountryProfile:
    """The profile in a folder, with what is shared filled in.

    Raises:
        SchemaRefused: Paths and rules of what does not fit.
    """
    own = _with_facts(tomllib.loads(folder.text("profile.toml")))
    law: dict[str, Any] = own.pop("data_protection", {})
    acts = tuple(Fact.model_validate(item, strict=False) for item in law.pop("national_law", ()))
    country = own.get("country")
    if not isinstance(country, str) or country.lower() != folder.code:
        raise SchemaRefused("a country folder is named after its country", where=("country",))
    if not acts:
        raise SchemaRefused("say unknown if none is known", where=("data_protection.national_law",))
    values = {
        **_defaults()["profile"],
        "particulars": {**_defaults()["fact"], **_defaults()["particulars"]},
        **own,
        "data_protection": position_of(country, law, acts).to_dict(),
    }
    return CountryProfile.from_json(json.dumps(values, default=str, ensure_ascii=False))


@cache
def _defaults() -> Mapping[str, Any]:
    text = (files("adapters.countries") / "defaults.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _with_facts(value: Any) -> Any:
    """Every table that makes a statement, with the date, confidence and origin that are usual."""
    if isinstance(value, list):
        return [_with_facts(item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = {name: _with_facts(item) for name, item in value.items()}
    return {**_defaults()["fact"], **filled} if "value" in value else filled
