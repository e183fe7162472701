"""Bodies of identification: who was found, whose national, of which status, how old.

None of them repeats a section. A nationality request speaks of a nationality and never of
trafficking; an anonymous notice holds nothing by which anybody could be found.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from schemas.base import ShortText
from schemas.bodies.common import Body, Code, Note, Urgency
from schemas.codes import BROKER, EXCHANGE


class AnonymousNotice(Body):
    """A person who does not consent was found: the fact, for route and statistics."""

    month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    found_by: Annotated[str, *Code(EXCHANGE, "indicator_source")]
    age: Annotated[str, *Code(EXCHANGE, "age_band")] = "unknown"
    sex: Annotated[str, *Code(EXCHANGE, "sex_band")] = "unknown"


class PresumedNotice(Body):
    """First notice that a presumed victim was found."""

    urgency: Urgency = Urgency.NORMAL
    found_by: Annotated[str, *Code(EXCHANGE, "indicator_source")]
    found_on: date | None = None
    note: Note | None = None


class NationalityRequest(Body):
    """Is she a national, or a permanent resident, of yours?"""

    permanent_residence: bool = False
    """True if residence is asked for too."""


class NationalityResult(Body):
    """The answer; what is still missing is named by field, never described."""

    result: Annotated[str, *Code(EXCHANGE, "verification")]
    as_permanent_resident: bool = False
    needed: Annotated[tuple[ShortText, ...], Field(max_length=16)] = ()


class TravelDocumentRequest(Body):
    """A document for the journey. The return is decided, by her."""

    document: Annotated[str, *Code(EXCHANGE, "travel_document")]
    needed_by: date | None = None
    decision_recorded: Annotated[bool, Field(strict=True)]

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        return () if self.decision_recorded else ("body.decision_recorded: must-be-true",)


class TravelDocumentResult(Body):
    """Issued, or what stands in the way."""

    result: Annotated[str, *Code(EXCHANGE, "document_result")]
    document: Annotated[str, *Code(EXCHANGE, "travel_document")]
    valid_until: date | None = None
    collect_at: ShortText | None = None


class StatusNotice(Body):
    """A decision on status, and always whose."""

    decision: Annotated[str, *Code(EXCHANGE, "status_decision")]
    decided_by: Annotated[str, *Code(BROKER, "deciding_body")]
    decided_on: date
    recovery_until: date | None = None


class RecognitionRequest(Body):
    """Recognise what the other country has decided, without another interview."""

    decided_by: Annotated[str, *Code(BROKER, "deciding_body")]
    decided_on: date
    asked_by_representative: bool = False
    """For a child, any representative may ask."""


class RecognitionResult(Body):
    """Whether the foreign decision stands here too."""

    result: Annotated[str, *Code(EXCHANGE, "recognition")]
    decided_by: Annotated[str, *Code(BROKER, "deciding_body")]
    valid_until: date | None = None


class AgeNotice(Body):
    """Age is uncertain, and she is a child until it is not; later, the result."""

    result: Annotated[str, *Code(EXCHANGE, "age_result")]
    method: Annotated[str, *Code(EXCHANGE, "age_method")] | None = None
    assessed_on: date | None = None
