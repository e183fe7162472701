"""Bodies of the referral family: a closed loop from request to outcome."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator

from schemas.base import FreeText, Instant, ParticipantId, ShortText
from schemas.bodies.common import (
    Body,
    Code,
    Meeting,
    Note,
    Reasoned,
    ReasonedDecline,
    Service,
    Urgency,
)
from schemas.codes import EXCHANGE

FieldPath = Annotated[str, Field(pattern=r"^[a-z][a-z_]{2,39}(\.[a-z][a-z0-9_]{0,63}){0,3}$")]
"""`section` or `section.field`: a question names what it asks for."""


class EarlyNotice(Body):
    """A return is one option among others. Binds nobody, and no name is needed."""

    services: Annotated[tuple[Service, ...], Field(max_length=16)] = ()
    not_before: date | None = None


class Timeframe(StrEnum):
    """How soon a service is needed, in Primero's four steps."""

    ONE_HOUR = "1_hour"
    THREE_HOURS = "3_hours"
    ONE_DAY = "1_day"
    THREE_DAYS = "3_days"

    @property
    def span(self) -> timedelta:
        """As a time."""
        hours = {"1_hour": 1, "3_hours": 3, "1_day": 24, "3_days": 72}[self.value]
        return timedelta(hours=hours)


class Request(Body):
    """Refers a person for services. Who and why stand in the sections that consent covers."""

    urgency: Urgency = Urgency.NORMAL
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=16)]
    timeframe: Timeframe | None = None
    """For a service that cannot wait for the form's deadlines."""
    reason: Note | None = None
    reply_by: Instant | None = None
    """Earlier or later than the catalogue's deadline, if both sides agreed so."""

    def answer_by(self, sent_at: datetime) -> datetime | None:
        if self.reply_by is not None:
            return self.reply_by
        return None if self.timeframe is None else sent_at + self.timeframe.span


class Received(Body):
    """A person, not only a machine, took the referral over."""

    worker_role: ShortText


class Accept(Body):
    """Takes the referral, whole (no services named) or service by service."""

    services: Annotated[tuple[Service, ...], Field(max_length=16)] = ()
    worker_role: ShortText
    first_meeting: Meeting | None = None
    note: Note | None = None


class Decline(ReasonedDecline):
    """Does not take the referral. Needs no consent and no sections."""


class ClarifyRequest(Body):
    """Asks without deciding; the deadline stands still until the reply."""

    question: FreeText
    fields: Annotated[tuple[FieldPath, ...], Field(max_length=64)] = ()


class ClarifyReply(Body):
    """Answers a question. New sections travel only under consent, as always."""

    answer: FreeText
    withheld: Annotated[tuple[FieldPath, ...], Field(max_length=64)] = ()
    """What was asked for and is not given; no reason is owed."""


class Redirect(Body):
    """Names somebody better placed. Nothing is forwarded: the sender refers anew, with new consent."""

    to: ParticipantId
    note: Note | None = None


class Amend(Body):
    """Takes the place of what was sent, as a whole and not as a list of changes."""

    services: Annotated[tuple[Service, ...], Field(max_length=16)] = ()
    replaces: UUID
    """Business id of the version that this one supersedes."""

    def supersedes(self) -> UUID | None:
        return self.replaces


class Progress(StrEnum):
    """Where a service stands; appointments have types of their own."""

    STARTED = "started"
    ONGOING = "ongoing"
    ON_HOLD = "on_hold"


class Interim(Reasoned):
    """A note on the way. On hold needs a reason."""

    progress: Progress
    reason: Annotated[str, *Code(EXCHANGE, "hold_reason")] | None = None

    @model_validator(mode="after")
    def _hold_needs_a_reason(self) -> Self:
        if (self.progress is Progress.ON_HOLD) != (self.reason is not None):
            raise ValueError("on hold needs a reason, and nothing else has one")
        return self

    def event(self) -> str | None:
        return "hold" if self.progress is Progress.ON_HOLD else None


class Scheduled(Body):
    """An appointment; who, where and when."""

    meeting: Meeting
    service: Service | None = None


class NoShow(Body):
    """The appointment passed without her. No reason is asked of her."""

    appointment: Instant
    contact_tried: bool = False


class AppointmentCancelled(Reasoned):
    """The appointment will not be."""

    appointment: Instant
    reason: Annotated[str, *Code(EXCHANGE, "appointment_reason")]


class Result(StrEnum):
    """How a referral ended."""

    SERVICE_GIVEN = "service_given"
    PARTLY_GIVEN = "partly_given"
    PERSON_DECLINED = "person_declined"
    CONTACT_LOST = "contact_lost"
    UNABLE = "unable"


class Outcome(Reasoned):
    """Closes the loop. That the person declined is a result like any other, never a failure."""

    result: Result
    reason: Annotated[str, *Code(EXCHANGE, "fail_reason")] | None = None
    services: Annotated[tuple[Service, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _unable_needs_a_reason(self) -> Self:
        if self.result is Result.UNABLE and self.reason is None:
            raise ValueError("unable needs a reason")
        return self

    def event(self) -> str | None:
        return "fail" if self.result in (Result.CONTACT_LOST, Result.UNABLE) else None


class CancelReason(StrEnum):
    """Why the sender takes a request back (the person's withdrawal is another message)."""

    SENT_IN_ERROR = "sent_in_error"
    DUPLICATE = "duplicate"
    NO_LONGER_NEEDED = "no_longer_needed"
    SERVED_ELSEWHERE = "served_elsewhere"
    OTHER = "other"


class CancelRequest(Reasoned):
    """Asks to cancel; an outcome under way may cross it, and then stands."""

    reason: CancelReason


class CancelConfirm(Body):
    """Cancelled, as asked."""

    note: Note | None = None


class CancelRefuse(Reasoned):
    """Goes on: stopping now would harm her, or what was asked for is as good as done."""

    reason: Annotated[str, *Code(EXCHANGE, "cancel_refusal")]


class Recall(Body):
    """Sent in error: destroy every copy, and attest it. What was decided meanwhile stays on record."""

    messages: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=64)]
    """Business ids."""


class NotPossible(Reasoned):
    """There is no provider; says what is next, so that she is not left with nothing."""

    reason: Annotated[str, *Code(EXCHANGE, "fail_reason")]
    next_step: Annotated[str, *Code(EXCHANGE, "next_step")]
