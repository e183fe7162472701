"""What a row of the catalogue says about a message type. Reading the rows is reading the mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from schemas.bodies.common import Body, Urgency
from schemas.consent import Purpose
from schemas.directory import OrganisationKind
from schemas.envelope import Kind, Lane
from schemas.families.deadline import Deadline
from schemas.machine import By
from schemas.sections.index import SECTION_INDEX, View

ANY_SECTION = frozenset({"*"})
NO_SECTION: frozenset[str] = frozenset()
_ID_OF = MappingProxyType({entry.code: entry.id for entry in SECTION_INDEX.values()})


def sections(codes: str) -> frozenset[str]:
    """Section ids from their three-letter codes, as in `sections("ADM IDC")`."""
    return frozenset(_ID_OF[code] for code in codes.split())


PARTICIPANTS = frozenset(
    {OrganisationKind.STATE, OrganisationKind.INTERNATIONAL, OrganisationKind.NGO}
)
OFFICIAL = frozenset({OrganisationKind.STATE, OrganisationKind.INTERNATIONAL})
"""Who speaks for a state, or stands in for one that has no focal point."""
STATE = frozenset({OrganisationKind.STATE})


class Chapter(StrEnum):
    """The parts of the mechanism, in the order in which a case meets them."""

    NETWORK = "A network"
    IDENTIFICATION = "B identification"
    INFORMATION = "C information"
    FAMILY_AND_RISK = "D family and risk"
    REFERRAL = "E referral"
    RETURN = "F return"
    TRANSFER = "G transfer"
    REINTEGRATION = "H reintegration"
    JUSTICE = "I justice"
    SAFETY = "J safety"
    CONSENT = "K consent"
    RIGHTS = "L rights"
    OVERSIGHT = "M oversight"


class Direction(StrEnum):
    """Which party of a thread says it."""

    FORWARD = "forward"
    """The one that opened the thread."""
    BACK = "back"
    """The one that was asked."""
    EITHER = "either"

    def allows(self, by: By) -> bool:
        """True if this party may say it."""
        return self is Direction.EITHER or (self is Direction.FORWARD) == (by is By.SENDER)


class Corridor(StrEnum):
    """From which country to which it goes, seen from the person's way."""

    TO_ORIGIN = "destination to origin"
    TO_DESTINATION = "origin to destination"
    TO_ORIGIN_OR_TRANSIT = "destination to origin or transit"
    WITH_TRANSIT = "between destination and transit"
    EITHER = "either way"


class Precondition(StrEnum):
    """What must hold before it may be sent. Enforced by `broker.rules`; the type only names it."""

    AGREEMENT = "agreement"
    """In force between the two, with a transfer basis that the law opens to the sender."""
    CONSENT = "consent"
    """Valid, for each section, this recipient and this purpose; at sending and at delivery."""
    GUARDIAN = "guardian"
    """For a (presumed) child: the guardian's decision and the child's own view, on record."""
    NO_ASYLUM_BLOCK = "no-asylum-block"
    """Never to authorities of the country of origin while protection is sought; nor is that said."""
    RISK_CURRENT = "risk-current"
    """A risk assessment by both sides that is still valid."""
    RECOVERY_OVER = "recovery-over"
    """The recovery period is over, or the person asked to go on."""
    RELATIVES = "relatives"
    """Each adult relative agreed to what is said of her or him."""
    EXCEPTION = "exception"
    """A code, a reason and two workers, in place of consent."""


_P = Precondition
NOTHING: frozenset[Precondition] = frozenset()
"""It must always get through: refusing, taking back, danger."""
AGREED = frozenset({_P.AGREEMENT})


def under(*more: Precondition) -> frozenset[Precondition]:
    """An agreement, and these."""
    return AGREED | set(more)


CONSENTED = under(_P.CONSENT)
WITH_GUARDIAN = under(_P.CONSENT, _P.GUARDIAN)
TOWARDS_ORIGIN = under(_P.CONSENT, _P.GUARDIAN, _P.NO_ASYLUM_BLOCK)


@dataclass(frozen=True, slots=True)
class MessageType:
    """One message type as data. Nothing else in the code knows a type by its name."""

    name: str
    kind: Kind
    """All that the hub learns."""
    body: type[Body]
    direction: Direction
    event: str
    """The event it causes in its machine, unless the body says otherwise; see `event_in`."""
    _: KW_ONLY
    chapter: Chapter
    machine: str
    """Name of the state machine (`schemas.states.MACHINES`)."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other machines' threads in which it may be said, and the event that it causes there."""
    corridor: Corridor = Corridor.EITHER
    opens: bool = False
    """True if it begins a thread of its own (or, in reply, goes on in one of `also`)."""
    lane: Lane = Lane.ROUTINE
    who_may_send: frozenset[OrganisationKind] = PARTICIPANTS
    preconditions: frozenset[Precondition] = AGREED
    exceptions: frozenset[str] = frozenset()
    """Codes that may stand in for consent."""
    required_sections: frozenset[str] = NO_SECTION
    permitted_sections: frozenset[str] = NO_SECTION
    """Besides the required ones, which are added here; `*` permits all."""
    purposes: frozenset[Purpose] | None = None
    """The only purposes its sections may travel for; None leaves it to grant and agreement."""
    replies: tuple[str, ...] = ()
    """Types that answer it."""
    deadline: Deadline | None = None
    """When the answer is due; None if none is owed."""
    overdue: str = ""
    """The event that our own clock causes in the thread once the answer is overdue."""
    alarm: str = "answer-overdue"
    """The alarm that our own clock raises then; empty where silence is an answer like any other."""
    pauses_clock: bool = False
    views: Mapping[str, View] = field(default_factory=dict)
    """Sections of which it carries no more than a reduced form."""
    tells_shelter: bool = False
    """True if a shelter's name and address may cross a border in it."""
    filed: bool = False
    """True if the recipient's gateway puts its sections into the case system."""

    def __post_init__(self) -> None:
        permitted = self.permitted_sections | self.required_sections | self.child_sections
        object.__setattr__(self, "permitted_sections", permitted)

    @property
    def family(self) -> str:
        """What agreements name as `family.*`."""
        return self.name.split(".", 1)[0]

    @property
    def needs_consent(self) -> bool:
        """True if it never travels without a grant, even without sections (which always need one)."""
        return Precondition.CONSENT in self.preconditions

    @property
    def needs_exception(self) -> bool:
        """True if it travels only under an exception of two workers."""
        return Precondition.EXCEPTION in self.preconditions

    @property
    def passes_agreement(self) -> bool:
        """True if an expired, suspended or missing agreement does not stop it."""
        return Precondition.AGREEMENT not in self.preconditions

    @property
    def child_sections(self) -> frozenset[str]:
        """Required as well if the person is a child, or presumed to be one."""
        guarded = Precondition.GUARDIAN in self.preconditions
        return frozenset({"guardian_child"}) if guarded else NO_SECTION

    def permits(self, section: str) -> bool:
        """True if the section may travel in this type."""
        return section in self.permitted_sections or "*" in self.permitted_sections

    def events(self) -> Mapping[str, str]:
        """Machine to event, its own first."""
        return {self.machine: self.event, **self.also}

    def event_in(self, machine: str, body: Body) -> str | None:
        """The event that this very message causes in a thread of that machine; None if none."""
        own = body.event() if machine == self.machine else None
        return own or self.events().get(machine)

    def answer_by(
        self, sent_at: datetime, urgency: Urgency = Urgency.NORMAL, body: Body | None = None
    ) -> datetime | None:
        """When the answer is due, or None if none is owed. What the body agreed on comes first."""
        if self.deadline is None:
            return None
        agreed = None if body is None else body.answer_by(sent_at)
        return agreed or self.deadline.due(sent_at, urgency)

    def lane_for(self, urgency: Urgency) -> Lane:
        """An emergency takes the urgent lane, whatever the type."""
        return Lane.URGENT if urgency is Urgency.EMERGENCY else self.lane


ALL_EXCEPTIONS = frozenset(
    {
        "vital_interest_life",
        "child_best_interest",
        "missing_child",
        "legal_obligation",
        "staff_safety",
    }
)
"""All but `anonymous_statistics`, which serves no message about a person."""
DANGER = frozenset({"vital_interest_life", "child_best_interest", "missing_child"})


@dataclass(frozen=True, slots=True)
class CarriedElsewhere:
    """A word of the mechanism that is no envelope: signed evidence, directory, log, own clock."""

    name: str
    chapter: Chapter
    carrier: str
    """What carries it, as the pages call it."""
    says: str
    done_by: str
    """The module."""
