"""What the rules ask about countries' law, of the facts in `adapters/countries`.

The facts come with source, date and confidence; here stands only what follows from them. Unknown
is never a permission.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from adapters.countries import country_law, country_profile
from schemas.errors import NotFound
from schemas.sections.fields import date_range

CHILDHOOD_ENDS = 18
"""Convention on the Rights of the Child, Art 1; Palermo Protocol, Art 3(d)."""

_TREATIES = {
    re.compile(r"\bCETS\s*(No\.?\s*)?197\b", re.IGNORECASE): "cets_197",
    re.compile(r"\bPalermo\b", re.IGNORECASE): "palermo",
    re.compile(r"\bACTIP\b", re.IGNORECASE): "actip",
    re.compile(r"\bConvention 108\b", re.IGNORECASE): "convention_108",
}


def gdpr_applies(country: str) -> bool:
    """True if a participant of this country sends under the GDPR itself."""
    return country_law(country).under_gdpr()


def is_adequate(country: str, on: date) -> bool:
    """True if Art 45 lets data go there without more, on this day."""
    return country_law(country).adequate_on(on)


def has_own_law(country: str) -> bool:
    """True if an act on data protection is known that a sender there can rest on."""
    law = country_law(country)
    return law.under_gdpr() or law.has_own_law()


def treaties_named(law: str) -> tuple[str, ...]:
    """Which of the treaties that we keep positions for a text names."""
    return tuple(name for pattern, name in _TREATIES.items() if pattern.search(law))


def is_bound(country: str, treaty: str) -> bool:
    """True if the country is known to be a party."""
    return country_law(country).bound_by(treaty)


def last_day_of_childhood(birthdate: str, country: str) -> date:
    """The last day on which a person may be under age by that country's law.

    Args:
        birthdate: A `PartialDate`. Where it is not exact, the latest day that it can mean counts: in
            doubt, a child (CETS 197, Art 10(3)).
    """
    _, born = date_range(birthdate)
    year = born.year + age_of_majority(country)
    try:
        birthday = born.replace(year=year)
    except ValueError:  # 29 February
        birthday = date(year, 3, 1)
    return birthday - timedelta(days=1)


def age_of_majority(country: str) -> int:
    """At which age a guardian's word ends there; 18 where we do not know, or are not sure."""
    try:
        fact = country_profile(country.lower()).age_of_majority
    except NotFound:
        return CHILDHOOD_ENDS
    return int(fact.relied_on) if fact.relied_on.isdecimal() else CHILDHOOD_ENDS
