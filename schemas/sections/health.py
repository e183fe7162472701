"""General health (HLT): sealed for the recipient's health compartment alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.fields import Day, FreeText, ShortText, Texts, one_of


class Medication(ProtectedModel):
    """One medicine that must not be interrupted, or must be known."""

    name: ShortText | None = None
    dose: ShortText | None = None
    must_continue: bool | None = None


class HealthGeneral(ProtectedModel):
    """What the next clinician must know; carriers get `fit_to_travel` and nothing else.

    Sexual, reproductive and mental health are sections of their own, with boxes of their own.
    HTCDS has no health fields.
    """

    fit_to_travel: Annotated[str, *one_of(BROKER, "fit_to_travel")] | None = None
    assessed_on: Day | None = None
    medications: Annotated[tuple[Medication, ...], Field(max_length=40)] = ()
    allergies: Texts = ()
    chronic_conditions: Texts = ()
    injuries: FreeText | None = None
    pregnant: Annotated[str, *one_of(BROKER, "yes_no_unknown")] | None = None
    pregnancy_due: Day | None = None
    continuity_of_care: FreeText | None = None
