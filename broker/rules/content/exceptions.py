"""Sending without consent: a code, a reason, two workers, the least that helps, a review, a word
to the person afterwards. Never a tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from broker.rules import countries
from broker.rules.content.question import SKEW, Found, Moment, Question, known, rule
from schemas.errors import ExceptionRefused
from schemas.families.base import Precondition
from schemas.sections.index import HardRule, View
from schemas.sections.views import reduced

_PROTECTS_A_PERSON = frozenset(
    {
        "case_admin",
        "contact_location",
        "guardian_child",
        "identity_core",
        "mental_health_psychosocial",
        "risk_security",
    }
)
MINIMUM: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "vital_interest_life": _PROTECTS_A_PERSON,
        "child_best_interest": _PROTECTS_A_PERSON | {"family_dependants"},
        "missing_child": _PROTECTS_A_PERSON,
        "staff_safety": frozenset({"case_admin", "risk_security"}),
        "anonymous_statistics": frozenset({"statistics_research", "trafficking_route"}),
    }
)
"""The most that each code opens, whatever the type permits. A legal obligation says itself what it
demands, so the type's sections are its limit."""

MINIMUM_VIEW: Mapping[tuple[str, str], View] = MappingProxyType(
    {
        ("staff_safety", "risk_security"): View.STAFF_SAFETY,
        ("anonymous_statistics", "trafficking_route"): View.COUNTRY_LEVEL,
    }
)
"""Where a code opens no more than a reduced form of a section."""

ALERT_FIELDS = frozenset({"suicide_alert", "alert_raised_on", "alert_measures"})


@rule(
    "exception.allowed",
    "message catalogue: exceptions; GDPR Art 6(1)(c), (d)",
    keeps=Precondition.EXCEPTION,
)
def exception_is_allowed(question: Question) -> Found:
    """An exception has a code that the type accepts; a legal obligation names its law."""
    use = question.message.exception
    if use is None:
        if question.type.needs_exception:
            yield ExceptionRefused, "exception"
    elif use.code not in question.type.exceptions:
        yield ExceptionRefused, "exception.code"
    elif use.code == "legal_obligation" and use.law is None:
        yield ExceptionRefused, "exception.law"


@rule("exception.law-binds", "Vienna Convention on the Law of Treaties, Art 26")
def law_that_is_named_binds(question: Question) -> Found:
    """A treaty is an obligation only between countries that are known to be parties."""
    use = question.message.exception
    if use is None or use.law is None:
        return
    for treaty in countries.treaties_named(use.law):
        for country in (question.sender.country, question.recipient.country):
            if not countries.is_bound(country, treaty):
                yield ExceptionRefused, "exception.law"


@rule("exception.two-workers", "four eyes")
def exception_has_two_workers(question: Question) -> Found:
    """One worker decides, another approves, and they say why."""
    use = question.message.exception
    if use is None:
        return
    if use.decided_by.strip().casefold() == use.approved_by.strip().casefold():
        yield ExceptionRefused, "exception.approved_by"
    if not use.reason.strip():
        yield ExceptionRefused, "exception.reason"


@rule("exception.reviewed", "GDPR Art 5(2)")
def exception_will_be_reviewed(question: Question) -> Found:
    """An exception is decided before it is used and reviewed after."""
    use = question.message.exception
    if use is None:
        return
    if use.decided_at > question.now + SKEW:
        yield ExceptionRefused, "exception.decided_at"
    if use.review_by <= use.decided_at or (
        question.moment is Moment.SEND and use.review_by <= question.now
    ):
        yield ExceptionRefused, "exception.review_by"


@rule("exception.told", "GDPR Art 13, Art 14, Art 34")
def person_is_told_afterwards(question: Question) -> Found:
    """The person is told by a day that is named, unless nobody is identified."""
    use = question.message.exception
    if use is None or use.code == "anonymous_statistics":
        return
    if use.tell_person_by is None or use.tell_person_by <= use.decided_at:
        yield ExceptionRefused, "exception.tell_person_by"


@rule(
    "exception.minimum",
    "GDPR Art 5(1)(c)",
    HardRule.NOT_IN_ANONYMOUS_MESSAGES,
    HardRule.VITAL_INTEREST_MAY_OPEN,
    HardRule.DANGER_MUST_BE_SHARED,
)
def exception_opens_the_least(question: Question) -> Found:
    """An exception opens the sections that its code needs, and of some no more than a part."""
    use = question.message.exception
    if use is None:
        return
    allowed = MINIMUM.get(use.code)
    for section in known(question.carried()):
        if allowed is not None and section not in allowed:
            yield ExceptionRefused, f"sections.{section}"
            continue
        content = question.content(section)
        view = MINIMUM_VIEW.get((use.code, section))
        if view is not None and reduced(section, content, view) != content:
            yield ExceptionRefused, f"sections.{section}"
    for section in question.carried_under(HardRule.VITAL_INTEREST_MAY_OPEN):
        if question.content(section).keys() - ALERT_FIELDS:
            yield ExceptionRefused, f"sections.{section}"
