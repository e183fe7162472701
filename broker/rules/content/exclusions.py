"""Whom a person wants nothing to reach: an organisation, a country's authorities, a relative.

Written in one column and passed on in one list, so that the same words hold at every step:

* `al.police-2`            one participant
* `authorities:AL`         every state body of a country
* `police:AL`              every participant with a function there (any of `Function`)
* `relative:father`        a relative, by the code list `relation`

An open protection claim is passed on as `authorities:…` too: nobody further along can tell it from
a person who simply wants no dealings with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.directory import Function, OrganisationKind, Participant

AUTHORITIES = "authorities"
RELATIVE = "relative"


@dataclass(frozen=True, slots=True)
class Exclusions:
    """A person's list."""

    entries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Exclusions:
        """From the words as they are written down."""
        return cls(frozenset(entries))

    def covers(self, participant: Participant) -> bool:
        """True if nothing may reach this participant."""
        return not self.entries.isdisjoint(_names_of(participant))

    def relatives(self) -> frozenset[str]:
        """Relations whose part in the family she wants no contact with."""
        return frozenset(
            entry.removeprefix(f"{RELATIVE}:")
            for entry in self.entries
            if entry.startswith(f"{RELATIVE}:")
        )


def _names_of(participant: Participant) -> set[str]:
    names = {participant.id, f"{participant.function}:{participant.country}"}
    if participant.kind is OrganisationKind.STATE:
        names.add(f"{AUTHORITIES}:{participant.country}")
    return names


def authorities_of(country: str | None) -> str:
    """The words for all state bodies of a country."""
    return f"{AUTHORITIES}:{country}"


def is_exclusion(text: str) -> bool:
    """True for words that `Exclusions` understands, other than a participant's id."""
    head, colon, tail = text.partition(":")
    if not colon:
        return False
    if head == RELATIVE:
        return tail.replace("_", "").isalpha() and tail.islower()
    country = len(tail) == 2 and tail.isascii() and tail.isupper()
    return country and (head == AUTHORITIES or head in {str(name) for name in Function})
