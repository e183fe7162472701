"""What the clear header alone decides: who, to whom, when, under which agreement and grant.

The hub asks when an envelope is submitted and again when it is handed over; the recipient's
gateway asks before it unseals. The rules are data: `RULES`, in the order in which their codes
are reported. Each takes the whole question and answers with the error that refuses, or None.
One more rule can only refuse more.

`withdrawal`, `safety` and `rights` outrank agreement and consent (I-3, I-11): the rules about these
pass them, the rules about identity, keys and time do not. In return a `rights` envelope names no
grant and no file, so that nothing of a case finds a way around consent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from schemas.directory import AUTHORITIES, KeyStatus, KeyUse, Participant, PublishedKey
from schemas.envelope import (
    MAX_LIFE_DAYS,
    MAX_SKEW_SECONDS,
    NEVER_HELD_BACK,
    Envelope,
    Kind,
    Lane,
)
from schemas.errors import (
    BrokerError,
    ConsentExpired,
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ConsentWithdrawn,
    Expired,
    Forbidden,
    FromTheFuture,
    GrantWidened,
    KeyRevoked,
    KeyUnknown,
    NoAgreement,
    RecipientUnknown,
    Refused,
    SchemaRefused,
    SuiteRefused,
    VersionRefused,
    codes,
)

SKEW = timedelta(seconds=MAX_SKEW_SECONDS)
LONGEST_LIFE = timedelta(days=MAX_LIFE_DAYS)


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of an envelope that the rules speak of."""

    sender: str
    recipient: str
    suite: int
    version: int
    lane: Lane
    kind: Kind
    reply: bool
    """It answers an earlier envelope of its thread."""
    issued_at: datetime
    expires_at: datetime
    agreement: UUID | None
    grant: UUID | None
    scopes: frozenset[str]
    until: date | None
    """The tag's last day."""
    to_keys: tuple[str, ...]
    attachments: bool
    attachment_scopes: frozenset[str | None] = frozenset()


def header_of(envelope: Envelope) -> Header:
    """The rules' view of an envelope."""
    tag = envelope.consent
    return Header(
        sender=envelope.from_,
        recipient=envelope.to,
        suite=envelope.suite,
        version=envelope.version,
        lane=envelope.lane,
        kind=envelope.kind,
        reply=envelope.in_reply_to is not None,
        issued_at=envelope.issued_at,
        expires_at=envelope.expires_at,
        agreement=envelope.agreement,
        grant=tag.grant if tag else None,
        scopes=frozenset(tag.scopes) if tag else frozenset(),
        until=tag.until if tag else None,
        to_keys=tuple(part.to_key for part in envelope.parts),
        attachments=bool(envelope.attachments),
        attachment_scopes=frozenset(item.scope for item in envelope.attachments),
    )


@dataclass(frozen=True, slots=True)
class AgreementView:
    """An agreement as far as a header can break it."""

    parties: frozenset[str]
    valid_from: date
    valid_until: date
    lanes: frozenset[str]
    suspended: bool


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant and what became of it."""

    giver: str
    recipient: str
    scopes: frozenset[str]
    removed: frozenset[str]
    valid_from: date
    until: date
    withdrawn: bool

    def live_scopes(self) -> frozenset[str]:
        """What may still travel."""
        return frozenset() if self.withdrawn else self.scopes - self.removed


@dataclass(frozen=True, slots=True)
class Question:
    """May an envelope with this header travel now?"""

    header: Header
    sender: Participant | None
    recipient: Participant | None
    signing_key: PublishedKey | None
    """The key that signed, as the directory has it now."""
    agreement: AgreementView | None
    """The agreement that the header names, if it is registered."""
    grant: GrantView | None
    """The grant that the header names, if it is registered."""
    now: datetime


Rule = Callable[[Question], type[BrokerError] | None]


def sender_may_send(question: Question) -> type[BrokerError] | None:
    """Refuse a sender that its country has removed or suspended."""
    sender = question.sender
    return Forbidden if sender is None or sender.suspended else None


def signing_key_stands(question: Question) -> type[BrokerError] | None:
    """Refuse what was signed with a key that has been revoked since, or has run out.

    Whether it has begun is asked with the signature (`keys.signing`), and is no refusal.
    """
    key, now = question.signing_key, question.now
    stands = key is not None and (key.may_verify(now) or key.begins_later(now))
    return None if stands else KeyRevoked


def recipient_is_enrolled(question: Question) -> type[BrokerError] | None:
    """Refuse a recipient that the directory does not have, or has suspended."""
    recipient = question.recipient
    if recipient is None or recipient.suspended or recipient.id == question.header.sender:
        return RecipientUnknown
    return None


def recipient_reads_version(question: Question) -> type[BrokerError] | None:
    """Refuse a version of the wire that the recipient does not announce."""
    recipient = question.recipient
    if recipient is None or question.header.version in recipient.versions:
        return None
    return VersionRefused


def suite_is_shared(question: Question) -> type[BrokerError] | None:
    """Refuse a suite that the recipient does not read, and any mixture of suites."""
    recipient, header, key = question.recipient, question.header, question.signing_key
    if recipient is None:
        return None
    if header.suite not in recipient.suites or (key is not None and key.suite != header.suite):
        return SuiteRefused
    suites = {k.kid: k.suite for k in recipient.keys if k.use is KeyUse.SEAL}
    mixed = any(suites.get(kid, header.suite) != header.suite for kid in header.to_keys)
    return SuiteRefused if mixed or len(set(header.to_keys)) != len(header.to_keys) else None


def sealing_keys_stand(question: Question) -> type[BrokerError] | None:
    """Refuse what is sealed to a key that somebody else may hold, or that has run out."""
    if question.recipient is None:
        return None
    own = {key.kid: key for key in question.recipient.keys if key.use is KeyUse.SEAL}
    for kid in question.header.to_keys:
        key = own.get(kid)
        if key is None:
            return KeyUnknown
        if key.status not in (KeyStatus.ACTIVE, KeyStatus.RETIRED):
            return KeyRevoked
        if question.now >= key.not_after + SKEW:
            return KeyRevoked
    return None


def time_is_in_order(question: Question) -> type[BrokerError] | None:
    """Refuse a life that ends before it begins, or lasts longer than ids are remembered."""
    header = question.header
    life = header.expires_at - header.issued_at
    return SchemaRefused if life <= timedelta() or life > LONGEST_LIFE else None


def not_from_the_future(question: Question) -> type[BrokerError] | None:
    """Refuse a clock that is more than ten minutes ahead."""
    return FromTheFuture if question.header.issued_at > question.now + SKEW else None


def not_expired(question: Question) -> type[BrokerError] | None:
    """Refuse what is past its expiry."""
    return Expired if question.header.expires_at <= question.now else None


def agreement_is_in_force(question: Question) -> type[BrokerError] | None:
    """Refuse without an agreement of these two, in force today, not suspended, for this lane."""
    header, agreement = question.header, question.agreement
    if header.kind in NEVER_HELD_BACK:
        return None
    if header.agreement is None or agreement is None:
        return NoAgreement
    today = question.now.date()
    in_force = (
        agreement.parties == {header.sender, header.recipient}
        and agreement.valid_from <= today <= agreement.valid_until
        and not agreement.suspended
        and header.lane in agreement.lanes
    )
    return None if in_force else NoAgreement


def consent_is_named(question: Question) -> type[BrokerError] | None:
    """Refuse a header without a tag, or with one that nobody registered.

    Only what can hold no section may do without: a reply or a notice (the recipient's gateway
    sees inside that there is none), and a safety alert. A withdrawal must say of what.
    """
    header = question.header
    if header.grant is not None:
        return ConsentMissing if question.grant is None else None
    if header.kind is Kind.WITHDRAWAL:
        return ConsentMissing
    if header.kind in (Kind.SAFETY, Kind.RIGHTS):
        return None
    may_do_without = header.kind is Kind.NOTICE or header.reply
    return None if may_do_without and not header.attachments else ConsentMissing


def rights_carry_nothing(question: Question) -> type[BrokerError] | None:
    """Refuse a `rights` envelope under a grant or with a file: what it may say needs neither."""
    header = question.header
    if header.kind is not Kind.RIGHTS:
        return None
    return SchemaRefused if header.grant is not None or header.attachments else None


def withdrawal_is_theirs(question: Question) -> type[BrokerError] | None:
    """Refuse a withdrawal by anyone but the grant's parties and the giver's or recipient's country."""
    header, grant, sender = question.header, question.grant, question.sender
    if header.kind is not Kind.WITHDRAWAL or grant is None or sender is None:
        return None
    if header.sender in (grant.giver, grant.recipient):
        return None
    countries = {party.split(".")[0] for party in (grant.giver, grant.recipient)}
    own = header.sender.split(".")[0] in countries and sender.function in AUTHORITIES
    return None if own else Forbidden


def withdrawal_goes_to_a_party(question: Question) -> type[BrokerError] | None:
    """Refuse a withdrawal to anyone who has nothing under the grant: it would end there unheard."""
    header, grant = question.header, question.grant
    if header.kind is not Kind.WITHDRAWAL or grant is None:
        return None
    return None if header.recipient in (grant.giver, grant.recipient) else ConsentRecipient


def withdrawal_only_narrows(question: Question) -> type[BrokerError] | None:
    """Refuse a withdrawal that names what the grant never held."""
    header, grant = question.header, question.grant
    if header.kind is not Kind.WITHDRAWAL or grant is None:
        return None
    return GrantWidened if header.scopes - grant.scopes else None


def grant_is_for_these_two(question: Question) -> type[BrokerError] | None:
    """Refuse a grant that was given between others.

    Back to the giver, who knows it all already, only a reply may travel.
    """
    header, grant = question.header, question.grant
    if grant is None or header.kind in NEVER_HELD_BACK:
        return None
    forth = (grant.giver, grant.recipient) == (header.sender, header.recipient)
    back = (grant.recipient, grant.giver) == (header.sender, header.recipient) and header.reply
    return None if forth or back else ConsentRecipient


def grant_is_not_withdrawn(question: Question) -> type[BrokerError] | None:
    """Refuse once the grant was taken back as a whole."""
    header, grant = question.header, question.grant
    if grant is None or header.kind in NEVER_HELD_BACK:
        return None
    return ConsentWithdrawn if grant.withdrawn or header.scopes & grant.removed else None


def grant_is_current(question: Question) -> type[BrokerError] | None:
    """Refuse before the grant's first day, after its last, and a tag that stretches it."""
    header, grant = question.header, question.grant
    if grant is None or header.kind in NEVER_HELD_BACK:
        return None
    # Dates are whole days without a zone; the skew decides at midnight for the sender.
    first = (question.now + SKEW).date()
    last = (question.now - SKEW).date()
    if first < grant.valid_from or last > grant.until:
        return ConsentExpired
    if header.until is not None and (header.until > grant.until or header.until < last):
        return ConsentExpired
    return None


def scopes_are_granted(question: Question) -> type[BrokerError] | None:
    """Refuse a scope that the grant never covered, and a file that no scope of the tag covers."""
    header, grant = question.header, question.grant
    if grant is None or header.kind in NEVER_HELD_BACK:
        return None
    if header.scopes - grant.scopes or header.attachment_scopes - header.scopes:
        return ConsentScope
    return None


RULES: tuple[Rule, ...] = (
    sender_may_send,
    signing_key_stands,
    recipient_is_enrolled,
    recipient_reads_version,
    suite_is_shared,
    sealing_keys_stand,
    time_is_in_order,
    not_from_the_future,
    not_expired,
    agreement_is_in_force,
    consent_is_named,
    rights_carry_nothing,
    withdrawal_is_theirs,
    withdrawal_goes_to_a_party,
    withdrawal_only_narrows,
    grant_is_for_these_two,
    grant_is_not_withdrawn,
    grant_is_current,
    scopes_are_granted,
)

AS_WRITTEN: tuple[Rule, ...] = (consent_is_named, rights_carry_nothing, grant_is_for_these_two)
"""Those that no state of the network decides: the sender's gateway asks them before it stores."""

AT_HANDOVER: tuple[Rule, ...] = tuple(rule for rule in RULES if rule is not not_from_the_future)
"""Those that may have changed since the hub accepted it. By the clock that accepted it, it was not from
the future: if it is now, that clock was put back, which is nobody's fault who sent it."""


def judge(question: Question, rules: tuple[Rule, ...] = RULES) -> tuple[str, ...]:
    """The code of every rule that refuses, in order; an empty tuple lets it travel."""
    return tuple(error.code for rule in rules if (error := rule(question)) is not None)


def refusal(found: tuple[str, ...]) -> BrokerError:
    """The error to answer with: the first code decides, the others are named."""
    kind = codes().get(found[0], Refused)
    return kind(where=found[1:])
