"""Which countries' law lets data move freely: facts, with their source and the day of taking over.

European Union and EEA: EU treaties and the EEA agreement. Adequacy (GDPR Art 45): the European
Commission's list "Adequacy decisions", as taken over on `TAKEN_OVER`. It changes: decisions run
out, are renewed and are annulled, so an operator compares this file with the Commission's list
before relying on an entry. A decision that covers only some recipients of a country is left out
and not guessed: Canada (private organisations) and the United States (certified companies).
"""

from __future__ import annotations

from datetime import date

TAKEN_OVER = date(2026, 11, 22)

EU = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IT",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)
EEA = EU | frozenset({"IS", "LI", "NO"})

ADEQUATE = frozenset(["AD", "AR", "CH", "FO", "GB", "GG", "IL", "IM", "JE", "JP", "KR", "NZ", "UY"])
"""GDPR Art 45, for every kind of recipient in the country. The United Kingdom is the only one of
them with which this mechanism expects to work soon."""


def gdpr_applies(country: str) -> bool:
    """True if a participant of this country sends under the GDPR itself."""
    return country in EEA


def is_adequate(country: str) -> bool:
    """True if Art 45 lets data go there without more."""
    return country in ADEQUATE
