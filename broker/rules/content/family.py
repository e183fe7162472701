"""Relatives have a say of their own; and some must not learn, or must not be looked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.rules.content.question import Found, Question, rule
from broker.rules.countries import CHILDHOOD_ENDS
from schemas.consent import Purpose
from schemas.errors import ConsentMissing, PolicyRefused
from schemas.families.base import Precondition
from schemas.sections.index import HardRule

TOUCHES_FAMILY = frozenset({Purpose.FAMILY_TRACING, Purpose.FAMILY_ASSESSMENT})
SAYS_NOTHING_OF_A_PERSON = frozenset({"relation", "age", "consent", "knows_of_trafficking"})


def _relatives(question: Question, section: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield from enumerate(question.content(section).get("relatives", ()))


@rule(
    "family.own-consent",
    "GDPR Art 14; seed 003: consent of relatives",
    HardRule.RELATIVES_CONSENT,
    keeps=Precondition.RELATIVES,
)
def each_adult_relative_agrees(question: Question) -> Found:
    """What is said of an adult relative travels with that relative's own consent.

    A relative whose age is not known counts as an adult. A no of the relative's own, known to the
    gateway, overrules the section.
    """
    refuse = question.person.relatives_refuse
    for section in question.carried_under(HardRule.RELATIVES_CONSENT):
        for index, relative in _relatives(question, section):
            adult = relative.get("age", CHILDHOOD_ENDS) >= CHILDHOOD_ENDS
            told = relative.keys() - SAYS_NOTHING_OF_A_PERSON
            agreed = relative.get("consent") == "given" and relative.get("relation") not in refuse
            if adult and told and not agreed:
                yield ConsentMissing, f"sections.{section}.relatives.{index}"


@rule(
    "family.not-traced",
    "CETS 197, Art 16(7); best interests and safety",
    HardRule.FAMILY_FLAGS_STOP_TRACING,
)
def family_flags_stop_tracing(question: Question) -> Found:
    """Nobody looks for a family, or for one of it, that must not know or is suspected."""
    if not {entry.purpose for entry in question.message.scopes} & TOUCHES_FAMILY:
        return
    person = question.person
    flagged = person.family_must_not_know or person.family_suspected
    left_alone = person.relatives_suspected | person.relatives_must_not_know
    for section in question.carried_under(HardRule.FAMILY_FLAGS_STOP_TRACING):
        content = question.content(section)
        flagged = flagged or bool(
            content.get("family_must_not_know") or content.get("family_suspected")
        )
        for index, relative in _relatives(question, section):
            if relative.get("suspected") or relative.get("relation") in left_alone:
                yield PolicyRefused, f"sections.{section}.relatives.{index}"
    if flagged:
        yield PolicyRefused, "sections.family_dependants"


@rule("family.excluded", "the person's exclusion list", HardRule.FAMILY_FLAGS_STOP_TRACING)
def excluded_relatives_are_left_alone(question: Question) -> Found:
    """A relative whom the person excluded is neither traced nor visited."""
    excluded = question.person.exclusions.relatives()
    if not excluded or not {e.purpose for e in question.message.scopes} & TOUCHES_FAMILY:
        return
    for section in question.carried_under(HardRule.FAMILY_FLAGS_STOP_TRACING):
        for index, relative in _relatives(question, section):
            if relative.get("relation") in excluded:
                yield PolicyRefused, f"sections.{section}.relatives.{index}"
