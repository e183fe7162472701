"""Where countries stand in law: facts with source, date and confidence, shared and corrected.

What holds for many countries stands once, in `law.toml`; a country's own `profile.toml` corrects
it for itself. A fact that nobody is sure of says `unknown` to whoever relies on it, and unknown is
never a permission. The facts help to configure and to refuse; they are no legal advice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import ShortText, WireModel
from schemas.sections.fields import Country

UNKNOWN = "unknown"
TREATIES = ("convention_108", "cets_197", "palermo", "actip")

Confidence = Literal["high", "medium", "low"]
Origin = Literal["read", "secondary", "memory"]
Position = Literal["party", "not-party", "unknown"]


class Sourced(WireModel):
    """Where a statement comes from, when it was written down, and how sure we are of it."""

    source: ShortText
    recorded_on: date
    confidence: Confidence
    """Ours, not the source's."""
    origin: Origin
    """`read` in the source itself, `secondary` in an account of it, or from `memory`."""


class Fact(Sourced):
    """One statement."""

    value: ShortText

    @property
    def relied_on(self) -> str:
        """What a rule may build on: a guess is no knowledge."""
        return UNKNOWN if self.confidence == "low" else self.value


class DataProtection(WireModel):
    """Where a country stands towards those it exchanges data with."""

    gdpr: Fact
    """`gdpr-applies`, `adequacy`, `no-adequacy` or `unknown`."""
    adequate_until: date | None = None
    """Last day of an adequacy decision that runs out."""
    convention_108: Fact
    """Council of Europe Convention 108: `party`, `not-party` or `unknown`."""
    cets_197: Fact
    """Council of Europe Convention on Action against Trafficking in Human Beings."""
    palermo: Fact
    """United Nations protocol on trafficking in persons (2000)."""
    actip: Fact
    """ASEAN convention against trafficking in persons (2015)."""
    national_law: tuple[Fact, ...]
    """Data protection acts; of a country with a folder at least one, and be it `unknown`."""

    def under_gdpr(self) -> bool:
        """True if an organisation of this country sends under the GDPR itself."""
        return self.gdpr.relied_on == "gdpr-applies"

    def adequate_on(self, day: date) -> bool:
        """True if GDPR Art 45 lets data go there without more, on this day."""
        running = self.adequate_until is None or day <= self.adequate_until
        return self.gdpr.relied_on == "adequacy" and running

    def bound_by(self, treaty: str) -> bool:
        """True if the country is known to be a party to one of `TREATIES`."""
        fact: Fact = getattr(self, treaty)
        return fact.relied_on == "party"

    def has_own_law(self) -> bool:
        """True if a data protection act of the country is known."""
        return any(fact.relied_on != UNKNOWN for fact in self.national_law)


class _Regime(Sourced):
    applies: tuple[Country, ...]


class _Running(Sourced):
    country: Country
    last_day: date


class _Adequacy(Sourced):
    countries: tuple[Country, ...]
    until: tuple[_Running, ...] = ()


class _Treaty(Sourced):
    name: ShortText
    complete: bool
    """False if a country that is not listed may be a party all the same."""
    parties: Annotated[tuple[Country, ...], Field(min_length=1)]


class SharedLaw(WireModel):
    """What treaties and decisions say of all countries."""

    gdpr: _Regime
    adequacy: _Adequacy
    treaties: dict[str, _Treaty]

    @model_validator(mode="after")
    def _whole(self) -> SharedLaw:
        if set(self.treaties) != set(TREATIES):
            raise ValueError("every treaty that is named, and no other")
        adequate = {*self.adequacy.countries, *(item.country for item in self.adequacy.until)}
        if adequate & set(self.gdpr.applies):
            raise ValueError("where the GDPR applies nothing is adequate to it")
        return self

    def of(self, country: str) -> dict[str, object]:
        """What is known of one country, as the members of a `DataProtection` without its acts."""
        gdpr, adequacy = self.gdpr, self.adequacy
        running = next((item for item in adequacy.until if item.country == country), None)
        if country in gdpr.applies:
            position = _fact("gdpr-applies", gdpr)
        elif running is not None:
            position = _fact("adequacy", running)
        else:
            found = "adequacy" if country in adequacy.countries else "no-adequacy"
            position = _fact(found, adequacy)
        return {
            "gdpr": position,
            "adequate_until": None if running is None else running.last_day,
            **{name: _position(self.treaties[name], country) for name in TREATIES},
        }


def _fact(value: str, said: Sourced) -> Fact:
    return Fact(
        value=value,
        source=said.source,
        recorded_on=said.recorded_on,
        confidence=said.confidence,
        origin=said.origin,
    )


def _position(treaty: _Treaty, country: str) -> Fact:
    if country in treaty.parties:
        return _fact("party", treaty)
    return _fact("not-party" if treaty.complete else UNKNOWN, treaty)


@cache
def shared_law() -> SharedLaw:
    """`law.toml`, read once."""
    text = (files("adapters.countries") / "law.toml").read_text(encoding="utf-8")
    return SharedLaw.model_validate(tomllib.loads(text), strict=False)


def position_of(
    country: str, own: Mapping[str, object] | None = None, acts: tuple[Fact, ...] = ()
) -> DataProtection:
    """One country's position: what is shared, corrected by what it says of itself."""
    return DataProtection.model_validate(
        {**shared_law().of(country), **(own or {}), "national_law": acts}, strict=False
    )
