"""Bodies of the referral family: a closed loop from request to outcome."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from schemas.base import FreeText, Instant, ShortText
from schemas.bodies.common import Body, Meeting, Note, ReasonedDecline, Service, Urgency

FieldPath = Annotated[str, Field(pattern=r"^[a-z][a-z_]{2,39}(\.[a-z][a-z0-9_]{0,63}){0,3}$")]
"""`section` or `section.field`: a question names what it asks for."""


class Request(Body):
    """Refers a person for services. Who and why stand in the sections that consent covers."""

    urgency: Urgency = Urgency.NORMAL
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=16)]
    reason: Note | None = None
    reply_by: Instant | None = None
    """Earlier or later than the catalogue's deadline, if both sides agreed so."""


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


class Progress(StrEnum):
    """Where a service stands (360X 5.1)."""

    STARTED = "started"
    SCHEDULED = "scheduled"
    NO_SHOW = "no_show"
    APPOINTMENT_CANCELLED = "appointment_cancelled"
    ONGOING = "ongoing"
    ON_HOLD = "on_hold"


class Interim(Body):
    """A note on the way."""

    progress: Progress
    note: Note | None = None


class Result(StrEnum):
    """How a referral ended."""

    SERVICE_GIVEN = "service_given"
    PARTLY_GIVEN = "partly_given"
    PERSON_DECLINED = "person_declined"
    CONTACT_LOST = "contact_lost"
    UNABLE = "unable"


class Outcome(Body):
    """Closes the loop. That the person declined is a result like any other, never a failure."""

    result: Result
    services: Annotated[tuple[Service, ...], Field(max_length=16)] = ()
    note: Note | None = None

    def event(self) -> str | None:
        return "fail" if self.result in (Result.CONTACT_LOST, Result.UNABLE) else None


class CancelReason(StrEnum):
    """Why the sender takes a request back (the person's withdrawal is another message)."""

    SENT_IN_ERROR = "sent_in_error"
    DUPLICATE = "duplicate"
    NO_LONGER_NEEDED = "no_longer_needed"
    SERVED_ELSEWHERE = "served_elsewhere"
    OTHER = "other"


class CancelRequest(Body):
    """Asks to cancel; an outcome under way may cross it, and then stands."""

    reason: CancelReason
    note: Note | None = None

    @model_validator(mode="after")
    def _other_needs_words(self) -> CancelRequest:
        if self.reason is CancelReason.OTHER and self.note is None:
            raise ValueError("reason other needs a note")
        return self


class CancelConfirm(Body):
    """Cancelled, as asked."""

    note: Note | None = None
