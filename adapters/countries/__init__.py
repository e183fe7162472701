"""What is known of each country, as data: profile, law, languages, its own words for codes.

One folder for each country: `profile.toml`, `codes.toml`, `README.md`. What most countries share
stands once: `defaults.toml`, `law.toml`, `words/`. A statement about law says where it comes from,
when it was written down and how sure we are; it helps to configure and to refuse, and is no legal
advice. A folder may also live outside this package; see `adapters.countries.folders`.
"""

from __future__ import annotations

from functools import cache

from adapters.countries.codes import CodeSet, NoCode, read_codes
from adapters.countries.folders import all_folders, folder_of
from adapters.countries.law import DataProtection, Fact, position_of
from adapters.countries.profile import CountryProfile, read_profile


def countries_here() -> tuple[str, ...]:
    """The countries that have a folder, in lower case."""
    return tuple(all_folders())


@cache
def country_profile(code: str) -> CountryProfile:
    """The profile of one country.

    Raises:
        NotFound: There is no folder for it.
        SchemaRefused: Its folder does not fit.
    """
    return read_profile(folder_of(code))


@cache
def country_codes(code: str) -> CodeSet:
    """A country's own words for our codes.

    Raises:
        NotFound: There is no folder for it.
        SchemaRefused: Its folder does not fit.
    """
    return read_codes(folder_of(code))


@cache
def country_law(code: str) -> DataProtection:
    """Where a country stands in law, with or without a folder: treaties name them all."""
    if code.lower() in countries_here():
        return country_profile(code.lower()).data_protection
    return position_of(code.upper())


__all__ = [
    "CodeSet",
    "CountryProfile",
    "DataProtection",
    "Fact",
    "NoCode",
    "countries_here",
    "country_codes",
    "country_law",
    "country_profile",
]
