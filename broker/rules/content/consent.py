"""The person's protection consent: there, hers, standing, current, and covering each section."""

from __future__ import annotations

from broker.rules.content.question import SKEW, Found, Moment, Question, path, rule
from schemas.consent import VALID_STATUSES, ConsentStatus, kinds_of
from schemas.errors import (
    ChildRule,
    ConsentExpired,
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ConsentWithdrawn,
)
from schemas.families.base import Direction, Precondition
from schemas.sections.index import HardRule


@rule("consent.there", "GDPR Art 7(1); professional confidence", keeps=Precondition.CONSENT)
def consent_is_there(question: Question) -> Found:
    """Nothing about a person travels without her consent, or an exception in its place."""
    if question.needs_grant() and question.grant is None:
        yield ConsentMissing, "grant"


@rule("consent.parties", "release of information: one form for one recipient")
def consent_is_between_these_two(question: Question) -> Found:
    """A consent is for one recipient. Back to its giver only an answer may travel under it."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    parties = (question.sender.id, question.recipient.id)
    forth = parties == (grant.giver, grant.recipient)
    back = parties == (grant.recipient, grant.giver)
    if not forth and not (back and question.type.direction is not Direction.FORWARD):
        yield ConsentRecipient, "grant"


@rule("consent.status", "W3C DPV 2.3, ConsentStatus")
def consent_stands(question: Question) -> Found:
    """Only a consent that is given or renewed is valid."""
    grant = question.grant
    if grant is None or not question.needs_grant() or grant.status in VALID_STATUSES:
        return
    if grant.status in (ConsentStatus.WITHDRAWN, ConsentStatus.REVOKED):
        yield ConsentWithdrawn, "grant"
    elif grant.status is ConsentStatus.EXPIRED:
        yield ConsentExpired, "grant"
    else:
        yield ConsentMissing, "grant"


@rule("consent.current", "release of information: time-limited")
def consent_is_current(question: Question) -> Found:
    """A consent counts from its first day to its last, both included."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    # Days have no zone; at midnight the permitted skew decides for the sender, as at the hub.
    if (question.now + SKEW).date() < grant.valid_from or (
        question.now - SKEW
    ).date() > grant.valid_until:
        yield ConsentExpired, "grant"


@rule("consent.scope", "GDPR Art 6(1)(a), Art 7(3)", HardRule.OWN_BOX)
def consent_covers_every_section(question: Question) -> Found:
    """Each section travels for a purpose that the person agreed to and has not taken back."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    for entry in question.message.scopes:
        pair = (entry.purpose, entry.section)
        if pair in grant.removed:
            yield ConsentWithdrawn, path(entry)
        elif pair not in grant.scopes:
            yield ConsentScope, path(entry)
        elif entry.scope is None:
            # Without its blinded scope the hub could not check it, nor stop it on withdrawal.
            yield ConsentScope, path(entry)


@rule("consent.one-thing", "GDPR Art 7(2); UK NRM form: separate signatures")
def one_record_is_one_consent(question: Question) -> Found:
    """Service, sharing, transfer and return are four consents, in four records."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    if len(kinds_of(purpose for purpose, _ in grant.scopes)) > 1:
        yield ConsentScope, "grant"


@rule("child.two-voices", "CETS 197, Art 10(4); Convention on the Rights of the Child, Art 12")
def child_has_two_voices(question: Question) -> Found:
    """For a (presumed) child the guardian and the child both agreed, on record."""
    if not question.is_child() or not question.needs_grant() or question.grant is None:
        return
    if question.moment is Moment.DELIVER and not question.grant.record_here:
        return
    decision = question.grant.guardian
    if decision is None or not (decision.guardian_agrees and decision.child_agrees):
        yield ChildRule, "grant.guardian"


@rule(
    "child.guardian-named",
    "CETS 197, Art 10(3) and (4)",
    HardRule.MANDATORY_FOR_CHILD,
    keeps=Precondition.GUARDIAN,
)
def child_is_sent_with_its_guardian(question: Question) -> Found:
    """A (presumed) child is not referred without saying who decides beside it."""
    if question.is_child() and question.needs_grant():
        for section in sorted(question.type.child_sections - question.carried()):
            yield ChildRule, f"sections.{section}"


@rule("child.of-age", "national age of majority; W3C DPV 2.3, ConsentInvalidated")
def guardian_speaks_for_a_child_only(question: Question) -> Found:
    """What a guardian agreed to ends on the day the person comes of age; then she is asked."""
    grant = question.grant
    if grant is None or not question.needs_grant() or grant.guardian is None:
        return
    ends = [
        day for day in (grant.guardian_until, question.person.guardian_until) if day is not None
    ]
    # No skew here: on the day itself she is of age, and her own word is what counts.
    if ends and question.now.date() > min(ends):
        yield ChildRule, "grant.guardian"
