"""The question that the content rules answer, and what one rule is.

A question holds everything that decides: the message, the two participants, the consent, the
agreement, what is known of the person, the moment. Nothing else is read, so that an answer can be
repeated. What is known of the person (`Person`) never leaves the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from broker.rules.content.exclusions import Exclusions, authorities_of
from schemas.agreement import Agreement
from schemas.consent import (
    VALID_STATUSES,
    ConsentRecord,
    ConsentStatus,
    GuardianDecision,
    Purpose,
)
from schemas.directory import Participant
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import BrokerError
from schemas.families.base import MessageType, Precondition
from schemas.message import Message, ScopeEntry
from schemas.sections.index import SECTION_INDEX, HardRule

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
    guardian_until: date | None = None
    """Last day on which the guardian's word counts: afterwards the person is of age."""

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
            guardian_until=record.guardian_until,
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
class Person:
    """What the gateway that asks knows of the person, beyond what the message carries."""

    presumed_child: bool = False
    """What the case says; the consent record may say it too, and one of them is enough."""
    exclusions: Exclusions = field(default_factory=Exclusions)
    """Whom the person wants nothing to reach."""
    origin: str | None = None
    """Country of origin, ISO 3166-1 alpha-2, if it is known."""
    protection_claim: bool = False
    """True if an asylum or protection claim is open."""
    feared: frozenset[str] = frozenset()
    """Countries whose authorities she fears, beside that of origin."""
    recovery_until: date | None = None
    """Last day of a recovery or reflection period (CETS 197, Art 13)."""
    asked_to_go_on: bool = False
    """She asked herself for return to be prepared during that period."""
    family_must_not_know: bool = False
    family_suspected: bool = False
    relatives_refuse: frozenset[str] = frozenset()
    """Relations (code list `relation`) who said no themselves, or no longer say yes."""
    relatives_suspected: frozenset[str] = frozenset()
    """Relations suspected of a part in what was done to her."""
    relatives_must_not_know: frozenset[str] = frozenset()
    assessed_until: date | None = None
    """Last day of the newest joint assessment of risk that the other side signed."""
    guardian_until: date | None = None
    """Last day of her childhood, as far as the case knows; the consent record may say it too."""

    def not_to(self) -> tuple[str, ...]:
        """Whom nothing may reach from whoever has this case from us.

        An open claim is passed on like any other exclusion: nobody can tell the two apart.
        """
        claim = {self.origin, *self.feared} - {None} if self.protection_claim else set()
        return tuple(sorted({*self.exclusions.entries, *(authorities_of(one) for one in claim)}))


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
    person: Person = field(default_factory=Person)
    sender_host: Participant | None = None
    """Whose gateway the sender's is, if it stands in another's: plaintext is handled there."""
    recipient_host: Participant | None = None

    def receives(self) -> tuple[Participant, ...]:
        """Who gets it into its hands: the recipient, and who hosts it."""
        host = self.recipient_host
        return (self.recipient,) if host is None else (self.recipient, host)

    def sends(self) -> tuple[Participant, ...]:
        """Out of whose hands it comes."""
        host = self.sender_host
        return (self.sender,) if host is None else (self.sender, host)

    def carried(self) -> frozenset[str]:
        """Sections that travel, in the message or as a file."""
        files = {file.section for file in self.message.attachments}
        return frozenset(self.message.sections.keys() | files)

    def carried_under(self, rule: HardRule) -> Iterator[str]:
        """Sections that travel and stand under a hard rule, in order."""
        for section in known(self.carried()):
            if rule in SECTION_INDEX[section].hard_rules:
                yield section

    def content(self, section: str) -> dict[str, Any]:
        """What a section says in this message; nothing if only a file of it travels."""
        return self.message.sections.get(section, {})

    def entries(self, section: str) -> tuple[ScopeEntry, ...]:
        """What the message asserts for one section."""
        return tuple(entry for entry in self.message.scopes if entry.section == section)

    def purposes(self, section: str) -> frozenset[Purpose]:
        """What one section travels for."""
        return frozenset(entry.purpose for entry in self.entries(section))

    def needs_grant(self) -> bool:
        """True unless nothing about the person travels or an exception takes consent's place."""
        if self.message.exception is not None:
            return False
        return self.type.needs_consent or bool(self.carried()) or bool(self.message.scopes)

    def is_child(self) -> bool:
        """True for a child, and for a person presumed to be one."""
        return (
            self.person.presumed_child
            or "guardian_child" in self.message.sections
            or (self.grant is not None and self.grant.presumed_child)
        )

    def crosses_border(self) -> bool:
        """True if it leaves the sender's country, be it only to a machine that stands abroad."""
        return any(place.country != self.sender.country for place in self.receives())


Found = Iterator[tuple[type[BrokerError], str]]
"""What one rule refuses: the error of the protocol, and where; empty if that would say too much."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. One more can only refuse more."""

    id: str
    """Stable, `family.rule`; published in docs/content-rules.md."""
    source: str
    """The article or principle it stands on."""
    ask: Callable[[Question], Found]
    enforces: frozenset[HardRule] = frozenset()
    """Hard rules of sections that it keeps."""
    keeps: Precondition | None = None
    """The catalogue's precondition that it keeps: for types that name it, or for all."""
    silent: bool = False
    """Its refusal says `policy` and nothing else: why would tell of the person."""

    def __call__(self, question: Question) -> Found:
        return self.ask(question)

    @property
    def says(self) -> str:
        """The rule in one sentence."""
        return (self.ask.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")


def rule(
    id: str,
    source: str,
    *enforces: HardRule,
    silent: bool = False,
    keeps: Precondition | None = None,
) -> Callable[[Callable[[Question], Found]], Rule]:
    """Make a rule of a function; its docstring is what the rule says."""

    def make(ask: Callable[[Question], Found]) -> Rule:
        return Rule(id, source, ask, frozenset(enforces), keeps, silent)

    return make


def known(sections: Iterable[str]) -> list[str]:
    """Those that the language has, in order of name."""
    return sorted(section for section in sections if section in SECTION_INDEX)


def path(entry: ScopeEntry) -> str:
    """Where a scope stands. Only ids of the language are repeated: another might say something."""
    return f"scopes.{entry.section}" if entry.section in SECTION_INDEX else "scopes.?"
