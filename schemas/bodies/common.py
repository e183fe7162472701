"""Words that several bodies share: urgency, services, and the model they stand on.

The services are those of the section `services_support`, so that what is asked for and what was
given are told in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from schemas.base import FreeText, Instant, ProtectedModel, ShortText
from schemas.sections.fields import one_of

Code = one_of
"""`Annotated[str, *Code(EXCHANGE, "hold_reason")]`: one code of a list."""

Note = Annotated[FreeText, Field(max_length=4000)]
"""A remark that a person wrote. Optional everywhere."""


class Urgency(StrEnum):
    """How soon an answer is needed; the inter-agency form's three steps."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    NORMAL = "normal"


def urgency_of(body: Mapping[str, Any]) -> Urgency:
    """What a body says of its urgency: it decides the lane, and when the answer is due.

    Sender and recipient ask it alike. A word that is none of ours is the body's own mistake.
    """
    try:
        return Urgency(body.get("urgency", Urgency.NORMAL))
    except ValueError:
        return Urgency.NORMAL


class Service(StrEnum):
    """What a person is referred for: the list `service` of our own codes, edition 1."""

    SAFE_HOUSE = "safe_house"
    HEALTH = "health"
    MENTAL_HEALTH = "mental_health"
    PSYCHOSOCIAL = "psychosocial"
    LEGAL = "legal"
    LIVELIHOOD = "livelihood"
    EDUCATION = "education"
    VOCATIONAL_TRAINING = "vocational_training"
    CHILD_PROTECTION = "child_protection"
    FAMILY_TRACING = "family_tracing"
    FAMILY_MEDIATION = "family_mediation"
    DOCUMENTS = "documents"
    DISABILITY = "disability"
    CASH = "cash"
    FOOD = "food"
    CLOTHING = "clothing"
    HOUSING = "housing"
    INTERPRETATION = "interpretation"
    TRANSPORT = "transport"
    SECURITY = "security"
    RETURN = "return"
    REINTEGRATION = "reintegration"
    OTHER = "other"


class DeclineReason(StrEnum):
    """Why a request is declined; a reason is required, an explanation is not."""

    NO_CAPACITY = "no_capacity"
    OUT_OF_MANDATE = "out_of_mandate"
    UNSAFE = "unsafe"
    NOT_FOUND = "not_found"
    NO_CONSENT = "no_consent"
    DECLINED_BY_PERSON = "declined_by_person"
    LANGUAGE = "language"
    OTHER = "other"


class Body(ProtectedModel):
    """The base of all bodies."""

    def attests(self) -> frozenset[str]:
        """What its sender answers for by signing it: the guards of the state machines."""
        return frozenset()

    def event(self) -> str | None:
        """The state machine's event if this body says more than its type does; else None."""
        return None

    def answer_by(self, sent_at: datetime) -> datetime | None:
        """When the answer is due if this body says so itself; None leaves it to the type."""
        return None

    def supersedes(self) -> UUID | None:
        """Business id of the earlier message of whose case this is a later version; else None.

        The recipient's case system then changes that case, and gets no second one.
        """
        return None

    @property
    def in_part(self) -> bool:
        """True if a later version brings only the sections that changed."""
        return False

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        """Paths where this body and the sections beside it contradict each other."""
        return ()


class Reasoned(Body):
    """What needs a reason: a code of the subclass's list, and words only where the code is `other`."""

    note: Note | None = None

    @model_validator(mode="after")
    def _other_needs_words(self) -> Self:
        if getattr(self, "reason", None) == "other" and self.note is None:
            raise ValueError("reason other needs a note")
        return self


class ReasonedDecline(Reasoned):
    """A decline. That the person declined is her withdrawal and nobody's refusal."""

    reason: DeclineReason

    def event(self) -> str | None:
        return "withdraw" if self.reason is DeclineReason.DECLINED_BY_PERSON else None


class Meeting(ProtectedModel):
    """A first meeting: when, where, with whom (a role, not a name)."""

    at: Instant
    place: ShortText
    with_role: ShortText


class Period(ProtectedModel):
    """Whole days, both included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _in_order(self) -> Period:
        if self.last < self.first:
            raise ValueError("a period ends after it begins")
        return self
