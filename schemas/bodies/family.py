"""Bodies of family and risk: relatives are asked too, and risk is scored by both sides."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.base import ProtectedModel, ShortText
from schemas.bodies.common import Body, Code, Note, Urgency
from schemas.codes import EXCHANGE


class TracingRequest(Body):
    """Looks for relatives. Never where the family may be part of what was done to her."""

    urgency: Urgency = Urgency.NORMAL
    family_suspected: Literal[False]
    family_must_not_know: bool = True
    """True unless she said that they may know what happened."""


class TracingResult(Body):
    """What came of it. A relative who refuses contact is an answer that is respected."""

    result: Annotated[str, *Code(EXCHANGE, "tracing")]
    relatives_agreed: bool
    """Each adult relative of whom the section speaks agreed to that."""

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        told = "family_dependants" in sections
        return (
            ("body.relatives_agreed: must-be-true",) if told and not self.relatives_agreed else ()
        )


class AssessmentRequest(Body):
    """Asks for a home visit: housing, means, attitude, violence."""

    urgency: Urgency = Urgency.NORMAL
    relatives_informed: bool
    ask_about: Annotated[tuple[ShortText, ...], Field(max_length=16)] = ()


class AssessmentResult(Body):
    """What was found at the home."""

    finding: Annotated[str, *Code(EXCHANGE, "home_finding")]
    visited_on: date | None = None
    relatives_agreed: bool

    def misfits(self, sections: frozenset[str]) -> tuple[str, ...]:
        told = "family_dependants" in sections
        return (
            ("body.relatives_agreed: must-be-true",) if told and not self.relatives_agreed else ()
        )


class Scored(ProtectedModel):
    """One side's view of one source of danger."""

    source: Annotated[str, *Code(EXCHANGE, "risk_party")]
    grade: Annotated[str, *Code(EXCHANGE, "risk_grade")]


class RiskRequest(Body):
    """Opens a joint matrix: each side scores what it can see."""

    urgency: Urgency = Urgency.NORMAL
    sources: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "risk_party")], ...], Field(min_length=1, max_length=7)
    ]


class RiskContribution(Body):
    """One side's scores."""

    scores: Annotated[tuple[Scored, ...], Field(min_length=1, max_length=7)]


class RiskJoint(Body):
    """What both agree on, until when it holds, and where they do not agree."""

    level: Annotated[str, *Code(EXCHANGE, "risk_grade")]
    assessed_on: date
    valid_until: date
    dissent: Note | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> RiskJoint:
        if self.valid_until < self.assessed_on:
            raise ValueError("a validity ends after it begins")
        return self


class BestInterestsRequest(Body):
    """For a child: guardian, determination, an opinion on where to live after return."""

    authority: ShortText
    """The child protection authority that is asked: an office, not a person."""
    needed_by: date | None = None


class BestInterestsResult(Body):
    """What is best for the child, by whom, heard how."""

    result: Annotated[str, *Code(EXCHANGE, "best_interests")]
    authority: ShortText
    decided_on: date
    child_heard: bool
