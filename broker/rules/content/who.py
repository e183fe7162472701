"""Who may say it, and to whom: the sender's kind, the person's exclusions, authorities of origin.

The two silent rules answer `policy` without a path, whatever lies behind them. They let pass what
carries nothing of the person: her withdrawal (it needs no precondition), and a refusal whose code
is the one given for persons who do not exist; silence would tell as much as an answer.
"""

from __future__ import annotations

from collections.abc import Collection

from broker.rules.content.question import Found, Moment, Question, rule
from schemas.directory import Compartment, Function, OrganisationKind
from schemas.envelope import BARE
from schemas.errors import Forbidden, PolicyRefused
from schemas.families.base import Corridor, Direction, Precondition
from schemas.sections.index import SECTION_INDEX, HardRule

TELLS_NOTHING = frozenset({"cannot_say", "not_found"})
"""Reasons of a refusal that are as right for a person who does not exist."""
LAW_ENFORCEMENT = frozenset({Function.POLICE, Function.PROSECUTOR})
ASSESSORS = frozenset({Function.NRM, Function.COORDINATOR})
SERVICES = frozenset({Function.SERVICE, Function.SHELTER, Function.SOCIAL_PROTECTION})


def tells_nothing(question: Question) -> bool:
    """True for a message from which nobody learns anything of the person."""
    if question.carried() or question.message.exception is not None:
        return False
    if question.type.kind in BARE:
        return True
    reason = question.message.body.get("reason")
    return question.type.direction is Direction.BACK and reason in TELLS_NOTHING


def _authorities(question: Question) -> set[str]:
    """Countries into the hands of whose authorities it comes."""
    places = question.receives()
    return {place.country for place in places if place.kind is OrganisationKind.STATE}


def _is_of_origin(question: Question) -> bool:
    return question.person.origin in _authorities(question)


def _feared_or_unknown(question: Question, feared: Collection[str]) -> bool:
    """True if authorities of a country of fear get it; or any abroad, where nobody knows which."""
    countries = _authorities(question)
    abroad = countries - {question.sender.country}
    return not countries.isdisjoint(feared) or (question.person.origin is None and bool(abroad))


@rule("who.sender-kind", "message catalogue: who may send")
def sender_may_say_it(question: Question) -> Found:
    """A type is sent by the kinds of organisation that the catalogue names."""
    if question.sender.kind not in question.type.who_may_send:
        yield Forbidden, "type"


@rule("who.excluded", "the person's exclusion list; CETS 197, Art 12(2)", silent=True)
def nobody_excluded(question: Question) -> Found:
    """Nothing reaches whom the person excluded, directly or onward."""
    excluded = any(question.person.exclusions.covers(place) for place in question.receives())
    if excluded and not tells_nothing(question):
        yield PolicyRefused, ""


@rule(
    "who.origin-during-claim",
    "1951 Refugee Convention; Directive 2013/32/EU, Art 30",
    HardRule.NEVER_TO_ORIGIN_DURING_ASYLUM,
    silent=True,
    keeps=Precondition.NO_ASYLUM_BLOCK,
)
def origin_learns_no_protection_claim(question: Question) -> Found:
    """While a protection claim is open nothing reaches authorities of the country of origin or fear.

    Where the country of origin is not known, no authority abroad gets anything.
    """
    person = question.person
    if not person.protection_claim or tells_nothing(question):
        return
    if _is_of_origin(question) or _feared_or_unknown(question, person.feared):
        yield PolicyRefused, ""


@rule(
    "who.origin-and-protection",
    "1951 Refugee Convention; Directive 2013/32/EU, Art 30",
    HardRule.NEVER_TO_ORIGIN,
    silent=True,
)
def origin_learns_of_no_protection(question: Question) -> Found:
    """What is said of protection never reaches authorities of the country of origin or of fear.

    Where the country of origin is not known, it reaches no authority abroad.
    """
    for section in question.carried_under(HardRule.NEVER_TO_ORIGIN):
        feared = {*question.content(section).get("feared_countries", ()), *question.person.feared}
        if _is_of_origin(question) or _feared_or_unknown(question, feared):
            yield PolicyRefused, ""


@rule("who.direction", "message catalogue: direction")
def it_goes_the_way_of_the_person(question: Question) -> Found:
    """What is said towards the country of origin is not said from there, nor the other way round.

    Where the country of origin is not known, and inside one country, there is no direction.
    """
    origin, way = question.person.origin, question.type.corridor
    if origin is None or question.sender.country == question.recipient.country:
        return
    from_there = way in (Corridor.TO_ORIGIN, Corridor.TO_ORIGIN_OR_TRANSIT)
    back_there = way is Corridor.TO_DESTINATION
    if (from_there and question.sender.country == origin) or (
        back_there and question.recipient.country == origin
    ):
        yield PolicyRefused, "type"


@rule("who.origin-unasked", "GDPR Art 5(1)(b), (c)", HardRule.ORIGIN_ONLY_IF_ASKED)
def origin_learns_of_stay_only_if_asked(question: Question) -> Found:
    """Entry and stay are told to authorities of the country of origin only if the person asks.

    Who sends must know which country that is: else any authority abroad may be of it.
    """
    unknown = question.moment is Moment.SEND and _feared_or_unknown(question, ())
    for section in question.carried_under(HardRule.ORIGIN_ONLY_IF_ASKED):
        asked = question.content(section).get("origin_may_know") is True
        if (unknown or _is_of_origin(question)) and not asked:
            yield PolicyRefused, f"sections.{section}"


@rule(
    "who.compartment",
    "GDPR Art 9(3), Art 32; Directive (EU) 2016/680",
    HardRule.HEALTH_TO_HEALTH,
    HardRule.SEPARATE_KEYS,
)
def compartments_are_kept_apart(question: Question) -> Found:
    """Health and justice go only to a recipient that keeps them under keys of their own."""
    for section in sorted(question.carried() & SECTION_INDEX.keys()):
        compartment = SECTION_INDEX[section].compartment
        if compartment is not Compartment.CASEWORK and (
            compartment not in question.recipient.compartments
        ):
            yield PolicyRefused, f"sections.{section}"


@rule("who.suspects", "GDPR Art 10", HardRule.AUTHORITIES_AND_ASSESSORS)
def suspects_are_told_to_authorities(question: Question) -> Found:
    """Who is suspected is told to law enforcement and to official assessors of risk alone."""
    recipient = question.recipient
    official = recipient.kind in (OrganisationKind.STATE, OrganisationKind.INTERNATIONAL)
    may_hold = official and (recipient.function in LAW_ENFORCEMENT | ASSESSORS)
    for section in question.carried_under(HardRule.AUTHORITIES_AND_ASSESSORS):
        if not may_hold:
            yield PolicyRefused, f"sections.{section}"


@rule("who.no-police", "GDPR Art 9; clinical confidence", HardRule.NEVER_TO_FAMILY_POLICE_EMPLOYER)
def intimate_health_is_not_for_police(question: Question) -> Found:
    """Sexual and reproductive health never goes to police or prosecution."""
    for section in question.carried_under(HardRule.NEVER_TO_FAMILY_POLICE_EMPLOYER):
        if question.recipient.function in LAW_ENFORCEMENT:
            yield PolicyRefused, f"sections.{section}"


@rule("who.cooperation", "CETS 197, Art 12(6)", HardRule.REFUSAL_TO_COOPERATE_STAYS)
def help_does_not_learn_of_refusal(question: Question) -> Found:
    """That a person does not cooperate with police never reaches who provides services."""
    recipient = question.recipient
    serves = recipient.kind is OrganisationKind.NGO or recipient.function in SERVICES
    for section in question.carried_under(HardRule.REFUSAL_TO_COOPERATE_STAYS):
        if serves and question.content(section).get("cooperation") == "declined":
            yield PolicyRefused, f"sections.{section}"
