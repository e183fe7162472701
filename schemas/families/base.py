"""What a row of the catalogue says about a message type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.bodies.common import Body, Urgency
from schemas.consent import Purpose
from schemas.directory import OrganisationKind
from schemas.envelope import Kind, Lane
from schemas.machine import By

ANY_SECTION = frozenset({"*"})
NO_SECTION: frozenset[str] = frozenset()

PARTICIPANTS = frozenset(
    {OrganisationKind.STATE, OrganisationKind.INTERNATIONAL, OrganisationKind.NGO}
)

BY_URGENCY: Mapping[Urgency, timedelta] = {
    Urgency.EMERGENCY: timedelta(hours=24),
    Urgency.URGENT: timedelta(hours=72),
    Urgency.NORMAL: timedelta(days=14),
}
"""The inter-agency form's deadlines."""


def always(within: timedelta) -> Mapping[Urgency, timedelta]:
    """The same deadline whatever the urgency."""
    return dict.fromkeys(Urgency, within)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageType:
    """One message type as data. Nothing else in the code knows a type by its name."""

    name: str
    family: str
    kind: Kind
    """All that the hub learns."""
    body: type[Body]
    direction: Direction
    machine: str
    """Name of the state machine (`schemas.states.MACHINES`)."""
    event: str
    """The event it causes there, unless the body says otherwise; see `event_of`."""
    opens: bool = False
    """True if it begins a thread of its own."""
    lane: Lane = Lane.ROUTINE
    who_may_send: frozenset[OrganisationKind] = PARTICIPANTS
    needs_consent: bool = False
    """True if it never travels without a grant, even without sections. Sections always need one."""
    needs_exception: bool = False
    """True if it travels only under an exception of two workers."""
    exceptions: frozenset[str] = frozenset()
    """Codes that may stand in for consent."""
    passes_agreement: bool = False
    """True if an expired, suspended or missing agreement does not stop it."""
    required_sections: frozenset[str] = NO_SECTION
    child_sections: frozenset[str] = NO_SECTION
    """Required as well if the person is a child, or presumed to be one."""
    permitted_sections: frozenset[str] = NO_SECTION
    """Including the required ones; `*` permits all."""
    purposes: frozenset[Purpose] | None = None
    """The only purposes its sections may travel for; None leaves it to grant and agreement."""
    replies: tuple[str, ...] = ()
    """Types that answer it."""
    answer_within: Mapping[Urgency, timedelta] | None = None
    pauses_clock: bool = False
    filed: bool = False
    """True if the recipient's gateway puts its sections into the case system."""

    def permits(self, section: str) -> bool:
        """True if the section may travel in this type."""
        return section in self.permitted_sections or "*" in self.permitted_sections

    def event_of(self, body: Body) -> str:
        """The event that this very message causes in the state machine."""
        return body.event() or self.event

    def answer_by(self, sent_at: datetime, urgency: Urgency = Urgency.NORMAL) -> datetime | None:
        """When the answer is due, or None if none is owed."""
        return None if self.answer_within is None else sent_at + self.answer_within[urgency]

    def lane_for(self, urgency: Urgency) -> Lane:
        """An emergency takes the urgent lane, whatever the type."""
        return Lane.URGENT if urgency is Urgency.EMERGENCY else self.lane
