"""Health (HLT SRH MHP): sealed for the recipient's health compartment alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.fields import Day, FreeText, Phone, ShortText, Texts, no_repeats, one_of


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


class TestResult(ProtectedModel):
    """One result that the person wants to be known.

    There is no code for "not tested": nobody is tested against her will, and silence says nothing.
    """

    __test__ = False  # no test case, whatever its name

    test: Annotated[str, *one_of(BROKER, "health_test")] | None = None
    result: Annotated[str, *one_of(BROKER, "test_result")] | None = None
    tested_on: Day | None = None


class HealthSexualReproductive(ProtectedModel):
    """Sexual and reproductive health. Its own box; never to family, police or employer."""

    results: Annotated[tuple[TestResult, ...], Field(max_length=20)] = ()
    treatment: FreeText | None = None
    contraception: ShortText | None = None
    assault_care: Annotated[str, *one_of(BROKER, "assault_care")] | None = None
    assault_care_on: Day | None = None
    pregnancy_outcome: Annotated[str, *one_of(BROKER, "pregnancy_outcome")] | None = None
    pregnancy_outcome_on: Day | None = None
    continuity_of_care: FreeText | None = None


class MentalHealthPsychosocial(ProtectedModel):
    """From clinician to clinician. The alert alone may pass under vital interests."""

    suicide_alert: bool | None = None
    alert_raised_on: Day | None = None
    alert_measures: FreeText | None = None
    summary: FreeText | None = None
    """The therapist's."""
    clinician: ShortText | None = None
    clinician_phone: Phone | None = None
    medications: Annotated[tuple[Medication, ...], Field(max_length=40)] = ()
    preferred_methods: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "support_method")], ...], AfterValidator(no_repeats)
    ] = ()
    stigma_concerns: FreeText | None = None
