"""Bodies of reintegration: her plan, grants, contact, conferences. Monitoring is not evaluation."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from schemas.base import Instant, ProtectedModel, ShortText
from schemas.bodies.common import Body, Code, Note, Reasoned, Service
from schemas.codes import EXCHANGE


class PlanShared(Body):
    """The plan that the person made; the section holds it."""

    version: Annotated[int, Field(ge=1, le=999)] = 1
    made_by_person: bool
    """False if she has not taken part yet: then it is a draft for her."""


class PlanComment(Body):
    """What the other side adds."""

    version: Annotated[int, Field(ge=1, le=999)]
    can_provide: Annotated[tuple[Service, ...], Field(max_length=16)] = ()
    comment: Note | None = None


class Money(ProtectedModel):
    """An amount, by its currency's code (ISO 4217)."""

    amount: Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class GrantAuthorised(Body):
    """A grant that follows her need and the cost of living where she is."""

    line: Annotated[str, *Code(EXCHANGE, "grant_line")]
    up_to: Money
    until: date


class GrantDisbursed(Body):
    """What was paid."""

    line: Annotated[str, *Code(EXCHANGE, "grant_line")]
    paid: Money
    paid_on: date


class GrantAdjusted(Body):
    """More, less or for something else."""

    line: Annotated[str, *Code(EXCHANGE, "grant_line")]
    up_to: Money
    until: date
    note: Note | None = None


class MonitoringRequest(Body):
    """Asks how she is, if she agreed to be asked."""

    form: Annotated[str, *Code(EXCHANGE, "monitoring_form")]
    months_after_return: Annotated[int, Field(ge=0, le=60)]
    domains: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "monitoring_domain")], ...],
        Field(min_length=1, max_length=3),
    ]


class MonitoringReport(Body):
    """How she is, by what was asked."""

    form: Annotated[str, *Code(EXCHANGE, "monitoring_form")]
    months_after_return: Annotated[int, Field(ge=0, le=60)]
    contact_made: bool
    last: bool = False
    """True if no further report follows."""

    def event(self) -> str | None:
        return "end" if self.last else None


class ContactLost(Body):
    """Two agreed contacts were missed."""

    last_contact_on: date
    missed: Annotated[int, Field(ge=1, le=99)]
    agreed_way: Annotated[str, *Code(EXCHANGE, "contact_way")]
    who_may_try: ShortText


class ContactRestored(Body):
    """She was heard of."""

    contact_on: date
    way: Annotated[str, *Code(EXCHANGE, "contact_way")]


class ConferenceInvite(Body):
    """All who work on the case, and the person, at one table."""

    at: Instant
    form: Annotated[str, *Code(EXCHANGE, "conference_form")]
    agenda: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=16)]
    person_invited: bool
    interpreter: bool = False


class ConferenceAttend(Body):
    """Who comes, by role."""

    coming: bool
    roles: Annotated[tuple[ShortText, ...], Field(max_length=8)] = ()
    other_time: Instant | None = None


class ConferenceMinutes(Body):
    """Decisions only: who does what by when."""

    held_on: date
    person_took_part: bool
    decisions: Annotated[tuple[ShortText, ...], Field(min_length=1, max_length=32)]


class CaseReopen(Body):
    """Taken up again."""

    reason: Annotated[str, *Code(EXCHANGE, "reopening")]


class CaseClose(Reasoned):
    """Closed, and why."""

    reason: Annotated[str, *Code(EXCHANGE, "closure")]
    closed_on: date
