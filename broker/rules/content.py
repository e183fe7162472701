"""What the content decides: consent, agreement, law and the hard rules, inside the seal.

The sender's gateway asks before it seals (`send`), the recipient's when the envelope has been
unsealed (`deliver`) and again before a worker sees it (`open`). The rules are data: `RULES`, in
the order in which their codes are reported. Each rule takes the whole question and yields what it
refuses. One more rule can only refuse more.

Three assertions are kept apart for each section: the person's *protection consent*, the
*processing basis* (GDPR Art 6 and 9, or national law) and the *transfer basis* (GDPR chapter V,
or national law). All three must stand.

A refusal names a code and a section. It never says why a person is protected from a recipient:
the exclusion list and the asylum rule answer `policy`, with no path at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from broker.rules.countries import gdpr_applies, is_adequate
from schemas.agreement import Agreement
from schemas.consent import (
    VALID_STATUSES,
    ConsentRecord,
    ConsentStatus,
    GuardianDecision,
    Purpose,
)
from schemas.directory import Compartment, OrganisationKind, Participant
from schemas.envelope import MAX_SKEW_SECONDS, NEVER_HELD_BACK
from schemas.errors import (
    BrokerError,
    ChildRule,
    ConsentExpired,
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ConsentWithdrawn,
    ExceptionRefused,
    Forbidden,
    NoAgreement,
    NotPermitted,
    PolicyRefused,
    TransferBasis,
    codes,
)
from schemas.families.base import Direction, MessageType
from schemas.message import Message, ScopeEntry
from schemas.sections.index import SECTION_INDEX, DataClass

SKEW = timedelta(seconds=MAX_SKEW_SECONDS)


class Moment(StrEnum):
    """When the question is asked."""

    SEND = "send"
    DELIVER = "deliver"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class GrantView:
    """A consent in plain words, with what became of it."""

    grant: UUID
    giver: str
    recipient: str
    scopes: frozenset[tuple[Purpose, str]]
    """As given: (purpose, section)."""
    removed: frozenset[tuple[Purpose, str]]
    """Taken back since."""
    status: ConsentStatus
    valid_from: date
    valid_until: date
    presumed_child: bool
    guardian: GuardianDecision | None
    record_here: bool = True
    """False at a recipient that has the signed statement but not the person's record yet (an
    urgent message may overtake it). It may then be delivered; a worker sees it once it is here."""

    @classmethod
    def of(
        cls,
        grant: UUID,
        record: ConsentRecord,
        *,
        removed: Iterable[tuple[Purpose, str]] = (),
        status: ConsentStatus | None = None,
        valid_from: date | None = None,
    ) -> GrantView:
        """The view of a record; `status` is what became of it, if it is no longer what it says."""
        return cls(
            grant=grant,
            giver=record.controller,
            recipient=record.recipient,
            scopes=frozenset((scope.purpose, scope.section) for scope in record.scopes),
            removed=frozenset(removed),
            status=status or record.status,
            valid_from=valid_from or record.given_at.date(),
            valid_until=record.valid_until,
            presumed_child=record.presumed_child,
            guardian=record.guardian,
        )

    def live_scopes(self) -> frozenset[tuple[Purpose, str]]:
        """What may still travel."""
        return self.scopes - self.removed if self.status in VALID_STATUSES else frozenset()


@dataclass(frozen=True, slots=True)
class AgreementView:
    """An agreement that both parties signed, and whether it is suspended now."""

    content: Agreement
    suspended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May this message travel, or be read, now?"""

    message: Message
    type: MessageType
    sender: Participant
    recipient: Participant
    grant: GrantView | None
    agreement: AgreementView | None
    now: datetime
    moment: Moment
    presumed_child: bool = False
    """What the case says; the consent record may say it too, and one of them is enough."""
    exclusions: frozenset[str] = frozenset()
    """Participants that the person wants nothing to reach."""
    origin: str | None = None
    """Country of origin, ISO 3166-1 alpha-2, if the gateway knows it."""
    protection_claim: bool = False
    """True if an asylum or protection claim is open. It never leaves the gateway."""

    def carried(self) -> frozenset[str]:
        """Sections that travel, in the message or as a file."""
        files = {file.section for file in self.message.attachments}
        return frozenset(self.message.sections.keys() | files)

    def entries(self, section: str) -> tuple[ScopeEntry, ...]:
        """What the message asserts for one section."""
        return tuple(entry for entry in self.message.scopes if entry.section == section)

    def needs_grant(self) -> bool:
        """True unless nothing about the person travels or an exception takes consent's place."""
        if self.message.exception is not None:
            return False
        return self.type.needs_consent or bool(self.carried()) or bool(self.message.scopes)

    def is_child(self) -> bool:
        """True for a child, and for a person presumed to be one."""
        return self.presumed_child or (self.grant is not None and self.grant.presumed_child)


Found = Iterator[tuple[type[BrokerError], str]]
Rule = Callable[[Question], Found]


# --- who --------------------------------------------------------------------------------------


def sender_may_say_it(question: Question) -> Found:
    """Refuse a type that this kind of organisation may not send."""
    if question.sender.kind not in question.type.who_may_send:
        yield Forbidden, "type"


def nobody_excluded(question: Question) -> Found:
    """Refuse a recipient that the person excluded, and say no more than `policy`."""
    if question.recipient.id in question.exclusions:
        yield PolicyRefused, ""


def origin_learns_no_protection_claim(question: Question) -> Found:
    """Refuse everything to authorities of the country of origin while a claim is open."""
    if (
        question.protection_claim
        and question.recipient.kind is OrganisationKind.STATE
        and question.recipient.country == question.origin
    ):
        yield PolicyRefused, ""


# --- what ---------------------------------------------------------------------------------------


def sections_belong_to_type(question: Question) -> Found:
    """Refuse a section that the type does not carry, and one that nobody knows."""
    for section in sorted(question.carried()):
        if section not in SECTION_INDEX:
            yield NotPermitted, "sections.?"
        elif not question.type.permits(section):
            yield NotPermitted, f"sections.{section}"


def health_goes_to_health(question: Question) -> Found:
    """Refuse a section of a compartment that the recipient does not keep apart."""
    for section in _known(question.carried()):
        compartment = SECTION_INDEX[section].compartment
        if compartment is not Compartment.CASEWORK and (
            compartment not in question.recipient.compartments
        ):
            yield PolicyRefused, f"sections.{section}"


def every_section_is_asserted(question: Question) -> Found:
    """Refuse a section or file for which the message asserts no purpose and no bases."""
    for section in _known(question.carried()):
        if not question.entries(section):
            yield ConsentScope, f"sections.{section}"


def purposes_belong_to_type(question: Question) -> Found:
    """Refuse a purpose that the type does not serve: consent to refer is not consent to transfer."""
    allowed = question.type.purposes
    if allowed is not None:
        for entry in question.message.scopes:
            if entry.purpose not in allowed:
                yield ConsentScope, _path(entry)


# --- consent ------------------------------------------------------------------------------------


def consent_is_there(question: Question) -> Found:
    """Refuse without a grant what needs one."""
    if question.needs_grant() and question.grant is None:
        yield ConsentMissing, "grant"


def consent_is_between_these_two(question: Question) -> Found:
    """Refuse a grant between others. Back to its giver only an answer may travel under it."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    parties = (question.sender.id, question.recipient.id)
    forth = parties == (grant.giver, grant.recipient)
    back = parties == (grant.recipient, grant.giver)
    if not forth and not (back and question.type.direction is not Direction.FORWARD):
        yield ConsentRecipient, "grant"


def consent_stands(question: Question) -> Found:
    """Refuse every status but given and renewed."""
    grant = question.grant
    if grant is None or not question.needs_grant() or grant.status in VALID_STATUSES:
        return
    if grant.status in (ConsentStatus.WITHDRAWN, ConsentStatus.REVOKED):
        yield ConsentWithdrawn, "grant"
    elif grant.status is ConsentStatus.EXPIRED:
        yield ConsentExpired, "grant"
    else:
        yield ConsentMissing, "grant"


def consent_is_current(question: Question) -> Found:
    """Refuse before the first day of a grant and after its last (whole days, both included)."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    # Days have no zone; at midnight the permitted skew decides for the sender, as at the hub.
    if (question.now + SKEW).date() < grant.valid_from or (
        question.now - SKEW
    ).date() > grant.valid_until:
        yield ConsentExpired, "grant"


def consent_covers_every_section(question: Question) -> Found:
    """Refuse each (purpose, section) that the person did not agree to, or took back."""
    grant = question.grant
    if grant is None or not question.needs_grant():
        return
    for entry in question.message.scopes:
        pair = (entry.purpose, entry.section)
        if pair in grant.removed:
            yield ConsentWithdrawn, _path(entry)
        elif pair not in grant.scopes:
            yield ConsentScope, _path(entry)
        elif entry.scope is None:
            # Without its blinded scope the hub could not check it, nor stop it on withdrawal.
            yield ConsentScope, _path(entry)


def child_has_two_voices(question: Question) -> Found:
    """Refuse for a (presumed) child unless the guardian and the child both agreed, on record."""
    if not question.is_child() or not question.needs_grant() or question.grant is None:
        return
    if question.moment is Moment.DELIVER and not question.grant.record_here:
        return
    decision = question.grant.guardian
    if decision is None or not (decision.guardian_agrees and decision.child_agrees):
        yield ChildRule, "grant.guardian"


def child_is_sent_with_its_guardian(question: Question) -> Found:
    """Refuse to refer a (presumed) child without saying who decides beside it."""
    if question.is_child() and question.needs_grant():
        for section in sorted(question.type.child_sections - question.carried()):
            yield ChildRule, f"sections.{section}"


# --- exceptions -----------------------------------------------------------------------------------


def exception_is_allowed(question: Question) -> Found:
    """Refuse an exception where the type knows none, with a code it does not accept, or missing."""
    use = question.message.exception
    if use is None:
        if question.type.needs_exception:
            yield ExceptionRefused, "exception"
    elif use.code not in question.type.exceptions:
        yield ExceptionRefused, "exception.code"
    elif use.code == "legal_obligation" and use.law is None:
        yield ExceptionRefused, "exception.law"


def exception_has_two_workers(question: Question) -> Found:
    """Refuse one worker in two roles, and an exception that says nothing."""
    use = question.message.exception
    if use is None:
        return
    if use.decided_by.strip().casefold() == use.approved_by.strip().casefold():
        yield ExceptionRefused, "exception.approved_by"
    if not use.reason.strip():
        yield ExceptionRefused, "exception.reason"


def exception_will_be_reviewed(question: Question) -> Found:
    """Refuse a review date that lies before the decision, or in the past when it is sent."""
    use = question.message.exception
    if use is None:
        return
    if use.decided_at > question.now + SKEW:
        yield ExceptionRefused, "exception.decided_at"
    if use.review_by <= use.decided_at or (
        question.moment is Moment.SEND and use.review_by <= question.now
    ):
        yield ExceptionRefused, "exception.review_by"


# --- law ------------------------------------------------------------------------------------------

_SPECIAL = frozenset({DataClass.SPECIAL, DataClass.SPECIAL_OR_CRIMINAL})
_ART_6 = frozenset(f"eu-gdpr:A6-1-{letter}" for letter in "abcdef") | {
    "eu-gdpr:A6-1-a-explicit-consent"
}
_ART_9 = frozenset(f"eu-gdpr:A9-2-{letter}" for letter in "abcdefghij")
_EXPLICIT_CONSENT = frozenset(
    {"eu-gdpr:A9-2-a", "eu-gdpr:A6-1-a", "eu-gdpr:A6-1-a-explicit-consent"}
)
_CHAPTER_V = (
    frozenset({"eu-gdpr:A45-3", "eu-gdpr:A46-3-a", "eu-gdpr:A46-3-b", "eu-gdpr:A49-2"})
    | frozenset(f"eu-gdpr:A46-2-{letter}" for letter in "abcdef")
    | frozenset(f"eu-gdpr:A49-1-{letter}" for letter in "abcdefg")
)
_NOT_FOR_PUBLIC_AUTHORITIES = frozenset({"eu-gdpr:A49-1-a", "eu-gdpr:A49-1-b", "eu-gdpr:A49-1-c"})
"""GDPR Art 49(3)."""
_BETWEEN_PUBLIC_BODIES = frozenset({"eu-gdpr:A46-2-a", "eu-gdpr:A46-3-b"})
"""Binding instruments and administrative arrangements exist between public bodies only;
international organisations conclude them too."""
_PUBLIC = frozenset({OrganisationKind.STATE, OrganisationKind.INTERNATIONAL})


def processing_basis_is_explicit(question: Question) -> Found:
    """Refuse a section whose processing rests on nothing, or special data on Art 6 alone."""
    for entry in question.message.scopes:
        basis = entry.processing_basis
        section = SECTION_INDEX.get(entry.section)
        if section is None:
            continue  # `sections_belong_to_type` and the grant refuse it
        under_gdpr = gdpr_applies(question.sender.country)
        if basis == "national-law":
            refused = under_gdpr and question.sender.kind is not OrganisationKind.INTERNATIONAL
        elif basis in _ART_9:
            refused = False
        else:
            refused = basis not in _ART_6 or section.data_class in _SPECIAL
        if basis in _EXPLICIT_CONSENT and question.message.exception is not None:
            refused = True  # an exception is there because she did not, or could not, consent
        if refused:
            yield PolicyRefused, f"{_path(entry)}.processing_basis"


def transfer_basis_is_lawful(question: Question) -> Found:
    """Refuse a transfer basis that the law does not open to this sender and this recipient."""
    for entry in question.message.scopes:
        if not transfer_is_lawful(
            entry.transfer_basis,
            question.sender,
            question.recipient,
            on=question.now.date(),
            exception=question.message.exception is not None,
        ):
            yield TransferBasis, f"{_path(entry)}.transfer_basis"


def transfer_is_lawful(
    basis: str, sender: Participant, recipient: Participant, *, on: date, exception: bool = False
) -> bool:
    """True if the law opens this transfer basis to this sender for this recipient, that day."""
    international = recipient.kind is OrganisationKind.INTERNATIONAL
    if basis == "none-needed":
        if international or sender.kind is OrganisationKind.INTERNATIONAL:
            return False  # GDPR Art 44 counts an international organisation as abroad
        together = gdpr_applies(sender.country) and gdpr_applies(recipient.country)
        return together or sender.country == recipient.country
    if basis == "national-law":
        return not gdpr_applies(sender.country) or sender.kind is OrganisationKind.INTERNATIONAL
    if basis not in _CHAPTER_V:
        return False
    if basis == "eu-gdpr:A45-3":
        return is_adequate(recipient.country, on) and not international
    if basis in _NOT_FOR_PUBLIC_AUTHORITIES:
        consent_based = basis == "eu-gdpr:A49-1-a"
        if sender.kind is OrganisationKind.STATE:
            return False
        return not (consent_based and exception)
    if basis in _BETWEEN_PUBLIC_BODIES:
        return sender.kind in _PUBLIC and recipient.kind in _PUBLIC
    return True


# --- agreement --------------------------------------------------------------------------------------


def _passes_agreement(question: Question) -> bool:
    # What was delivered under an agreement may still be read after its end: the agreement is
    # about exchanging. Consent, by contrast, is asked again each time.
    return (
        question.type.passes_agreement
        or question.type.kind in NEVER_HELD_BACK
        or question.moment is Moment.OPEN
    )


def agreement_is_in_force(question: Question) -> Found:
    """Refuse without an agreement of these two, of today, not suspended."""
    if _passes_agreement(question):
        return
    view = question.agreement
    today = question.now.date()
    if (
        view is None
        or view.suspended
        or set(view.content.parties) != {question.sender.id, question.recipient.id}
        or not view.content.valid_from <= today <= view.content.valid_until
    ):
        yield NoAgreement, "agreement"


def agreement_names_it(question: Question) -> Found:
    """Refuse a type, section or purpose that the two did not agree on.

    The consent family belongs to every agreement: nothing could travel without it.
    """
    view = question.agreement
    if _passes_agreement(question) or view is None:
        return
    types = view.content.types
    row = question.type
    if row.family != "consent" and not {row.name, f"{row.family}.*", "*"} & set(types):
        yield NoAgreement, "agreement.types"
    sections = view.content.sections
    for section in _known(question.carried()):
        if section not in sections and "*" not in sections:
            yield NoAgreement, f"agreement.sections.{section}"
    for purpose in sorted({entry.purpose for entry in question.message.scopes}):
        if purpose not in view.content.purposes:
            yield NoAgreement, f"agreement.purposes.{purpose}"


def agreement_names_the_transfer_basis(question: Question) -> Found:
    """Refuse a transfer basis that the agreement does not give to this sender."""
    view = question.agreement
    if _passes_agreement(question) or view is None:
        return
    named = {item.basis for item in view.content.transfer if item.sender == question.sender.id}
    for entry in question.message.scopes:
        if entry.transfer_basis not in named:
            yield TransferBasis, f"{_path(entry)}.transfer_basis"


# --- all together -----------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    sender_may_say_it,
    nobody_excluded,
    origin_learns_no_protection_claim,
    sections_belong_to_type,
    health_goes_to_health,
    consent_is_there,
    consent_is_between_these_two,
    consent_stands,
    consent_is_current,
    every_section_is_asserted,
    purposes_belong_to_type,
    consent_covers_every_section,
    child_has_two_voices,
    child_is_sent_with_its_guardian,
    exception_is_allowed,
    exception_has_two_workers,
    exception_will_be_reviewed,
    processing_basis_is_explicit,
    transfer_basis_is_lawful,
    agreement_is_in_force,
    agreement_names_it,
    agreement_names_the_transfer_basis,
)


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """One reason: its code, and where in the message (empty if that would say too much)."""

    code: str
    where: str


@dataclass(frozen=True, slots=True)
class Decision:
    """All reasons to refuse, in the order of the rules; none lets it pass."""

    refusals: tuple[Refusal, ...]

    @property
    def allowed(self) -> bool:
        """True if no rule refuses."""
        return not self.refusals

    @property
    def codes(self) -> tuple[str, ...]:
        """Each code once, the deciding one first."""
        return tuple(dict.fromkeys(refusal.code for refusal in self.refusals))

    def error(self) -> BrokerError:
        """What to answer with: the first code decides; its paths say where.

        Raises:
            ValueError: Nothing refuses.
        """
        if not self.refusals:
            raise ValueError("nothing to refuse")
        first = self.refusals[0].code
        where = tuple(r.where for r in self.refusals if r.code == first and r.where)
        return codes()[first](where=where[:20])

    def raise_if_refused(self) -> None:
        """Raise the error that decides, if there is one."""
        if self.refusals:
            raise self.error()


def decide(question: Question, rules: tuple[Rule, ...] = RULES) -> Decision:
    """Ask every rule; whatever one refuses, no other can allow."""
    found = (Refusal(error.code, where) for rule in rules for error, where in rule(question))
    return Decision(tuple(dict.fromkeys(found)))


def bases_for(
    section: str,
    sender: Participant,
    recipient: Participant,
    agreement: Agreement | None,
    *,
    on: date,
    exception: bool = False,
) -> tuple[str, str]:
    """(processing, transfer) bases to propose for one section: the first that the law opens.

    A proposal, not a decision: the worker may choose others, and `decide` judges them alike.
    """
    entry = SECTION_INDEX.get(section)
    special = entry is not None and entry.data_class in _SPECIAL
    under_gdpr = gdpr_applies(sender.country)
    if not under_gdpr or sender.kind is OrganisationKind.INTERNATIONAL:
        processing = "national-law"
    elif exception:
        processing = "eu-gdpr:A9-2-c" if special else "eu-gdpr:A6-1-d"
    elif special:
        processing = "eu-gdpr:A9-2-a"
    elif sender.kind is OrganisationKind.STATE:
        processing = "eu-gdpr:A6-1-e"  # a public body should not rest on consent alone
    else:
        processing = "eu-gdpr:A6-1-a"
    named = (
        [item.basis for item in agreement.transfer if item.sender == sender.id]
        if agreement is not None and not exception
        else []
    )
    usual = ["none-needed", "eu-gdpr:A45-3", "eu-gdpr:A46-3-b", "national-law"]
    last = "eu-gdpr:A49-1-f" if under_gdpr else "national-law"
    for basis in named or ([last] if exception else usual):
        if transfer_is_lawful(basis, sender, recipient, on=on, exception=exception):
            return processing, basis
    # Nothing fits: propose what was agreed, or the last resort, and let the rules say so.
    return processing, named[0] if named else last


def _known(sections: Iterable[str]) -> list[str]:
    return sorted(section for section in sections if section in SECTION_INDEX)


def _path(entry: ScopeEntry) -> str:
    # Only ids of the language are repeated; anything else a sender put there might say something.
    return f"scopes.{entry.section}" if entry.section in SECTION_INDEX else "scopes.?"
