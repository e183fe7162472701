"""What a gateway may know of a person beyond what one message says, and what that adds up to. Pure.

What a worker wrote down decides. Where nobody wrote anything, what the received sections say does:
an open claim, a guardian, a running reflection period, a family that must not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from broker.rules.content import Exclusions, Person
from broker.rules.countries import last_day_of_childhood
from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.family import Relation
from schemas.sections.fields import Country, PartialDate, no_repeats, one_of, possibly_child

TELLING = (
    "asylum_protection",
    "family_dependants",
    "guardian_child",
    "identification_status",
    "identity_core",
    "nationality_documents",
)
"""Sections that say something a person must be protected by."""
JOINT = "risk.assessment.joint"
"""The message whose body says until when the two hold the risk to be assessed."""
CLAIM_ENDED = frozenset({"refused", "withdrawn"})
"""Stages at which nobody protects her any more; with no stage at all somebody does."""
_T = TypeVar("_T")


Relations = Annotated[tuple[Relation, ...], AfterValidator(no_repeats), Field(max_length=16)]
ContactMethod = Annotated[str, *one_of(BROKER, "contact_method")]
_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"


class Safeguards(ProtectedModel):
    """What is known. None, or nothing, means that nobody said."""

    origin: Country | None = None
    """Country of origin."""
    protection_claim: bool | None = None
    """An asylum or protection claim is open, or protection was granted."""
    feared: Annotated[tuple[Country, ...], AfterValidator(no_repeats), Field(max_length=8)] = ()
    """Countries whose authorities she fears, beside that of origin."""
    recovery_until: date | None = None
    """Last day of recovery and reflection."""
    asked_to_go_on: bool = False
    """She asked herself for her return to be prepared during that time."""
    family_must_not_know: bool | None = None
    family_suspected: bool | None = None
    relatives: dict[Relation, Literal["given", "refused", "withdrawn"]] = Field(
        default_factory=dict
    )
    """What relatives said themselves; it overrules what a section says of them."""
    relatives_suspected: Relations = ()
    """Of a part in what was done to her: nobody looks for these; the others may be looked for."""
    relatives_must_not_know: Relations = ()
    """Who of them must not learn of it, where not the whole family."""
    born: PartialDate | None = None
    presumed_child: bool | None = None
    guardian_until: date | None = None
    """Last day on which a guardian's word counts; else reckoned from the birth date."""
    assessed_until: date | None = None
    """Last day of the joint assessment of risk. What the other side signed bounds it too."""
    contact_by: ContactMethod | None = None
    """The one way of reaching her that she called safe."""
    contact_never_by: Annotated[
        tuple[ContactMethod, ...], AfterValidator(no_repeats), Field(max_length=8)
    ] = ()
    contact_hours: Annotated[str, Field(pattern=_HOURS)] | None = None
    """When, as `09:00-17:00`, by the clock of this machine."""


def told_by(
    sections: Mapping[str, Mapping[str, Any]], *, assessed_until: str | None = None
) -> Safeguards:
    """What the sections of one case say by themselves (JSON values, as they were received).

    Args:
        assessed_until: Of the newest joint assessment that came.
    """
    protection = sections.get("asylum_protection")
    family = sections.get("family_dependants", {})
    child = sections.get("guardian_child")
    ends = [
        item["reflection_until"]
        for item in sections.get("identification_status", {}).get("identifications", ())
        if item.get("reflection_until") is not None
    ]
    claim = protection is not None and protection.get("stage") not in CLAIM_ENDED
    papers = sections.get("nationality_documents", {})
    citizenship = papers.get("citizenship", ())
    one = len(citizenship) == 1 and not papers.get("stateless")
    relatives = [item for item in family.get("relatives", ()) if "relation" in item]
    return Safeguards(
        # Of several citizenships none is the origin: then no authority abroad gets anything.
        origin=citizenship[0] if one else None,
        relatives={
            item["relation"]: "refused" for item in relatives if item.get("consent") == "refused"
        },
        relatives_suspected=tuple(
            dict.fromkeys(item["relation"] for item in relatives if item.get("suspected"))
        ),
        protection_claim=claim or None,
        feared=tuple((protection or {}).get("feared_countries", ())) if claim else (),
        recovery_until=date.fromisoformat(max(ends)) if ends else None,
        assessed_until=None if assessed_until is None else date.fromisoformat(assessed_until),
        family_must_not_know=family.get("family_must_not_know") or None,
        family_suspected=family.get("family_suspected") or None,
        born=sections.get("identity_core", {}).get("birthdate"),
        # A guardian is named for a child, unless the section itself says that she is none.
        presumed_child=(child.get("presumed_child") is not False or None) if child else None,
    )


def person_of(
    written: Iterable[Safeguards],
    told: Iterable[Safeguards],
    *,
    exclusions: Exclusions,
    country: str,
    today: date,
) -> Person:
    """What the content rules are to know.

    Args:
        written: By workers here: decides. Of several, the one that protects more.
        told: By sections that were received.
        country: Ours, whose age of majority ends a guardian's word.
    """
    ours, theirs = list(written), list(told)
    born = _first((*_all(ours, "born"), *_all(theirs, "born")))
    origins = set(_all(ours, "origin")) or set(_all(theirs, "origin"))
    until = _all(ours, "guardian_until")
    if not until and born is not None:
        until = [last_day_of_childhood(born, country)]
    signed = sorted(_all(theirs, "assessed_until"))[-1:]  # the newest that holds, of several
    overruled = {relation for item in ours for relation in item.relatives}
    stated = _strictest(ours, theirs, "presumed_child")
    return Person(
        presumed_child=possibly_child(born, today) if stated is None else stated,
        exclusions=exclusions,
        # Two origins that contradict each other are none that could be relied on.
        origin=origins.pop() if len(origins) == 1 else None,
        protection_claim=bool(_strictest(ours, theirs, "protection_claim")),
        feared=frozenset(country for item in (*ours, *theirs) for country in item.feared),
        recovery_until=max(
            _all(ours, "recovery_until") or _all(theirs, "recovery_until"), default=None
        ),
        asked_to_go_on=any(item.asked_to_go_on for item in ours),
        family_must_not_know=bool(_strictest(ours, theirs, "family_must_not_know")),
        family_suspected=bool(_strictest(ours, theirs, "family_suspected")),
        relatives_refuse=frozenset(
            relation
            for item in ours
            for relation, said in item.relatives.items()
            if said != "given"
        )
        | (frozenset(relation for item in theirs for relation in item.relatives) - overruled),
        relatives_suspected=frozenset(
            relation for item in (*ours, *theirs) for relation in item.relatives_suspected
        ),
        relatives_must_not_know=frozenset(
            relation for item in ours for relation in item.relatives_must_not_know
        ),
        guardian_until=min(until, default=None),
        assessed_until=min((*_all(ours, "assessed_until"), *signed), default=None),
    )


def _all(items: Iterable[Safeguards], name: str) -> list[Any]:
    return [value for item in items if (value := getattr(item, name)) is not None]


def _first(values: Iterable[_T]) -> _T | None:
    return next(iter(values), None)


def _strictest(ours: list[Safeguards], theirs: list[Safeguards], name: str) -> bool | None:
    said = _all(ours, name) or _all(theirs, name)
    return any(said) if said else None
