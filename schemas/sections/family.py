"""The people around the person: family and dependants, guardian of a child (FAM, GUA)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.fields import (
    Age,
    Column,
    Count,
    Country,
    Day,
    FreeText,
    Phone,
    ShortText,
    one_of,
)

Relation = Annotated[str, *one_of(BROKER, "relation")]


class Relative(ProtectedModel):
    """One relative. An adult's data travels with that adult's own consent."""

    name: ShortText | None = None
    relation: Relation | None = None
    age: Age | None = None
    country: Country | None = None
    whereabouts: ShortText | None = None
    phone: Phone | None = None
    consent: Annotated[str, *one_of(BROKER, "relative_consent")] | None = None
    knows_of_trafficking: Annotated[str, *one_of(BROKER, "knows")] | None = None
    attitude: Annotated[str, *one_of(BROKER, "attitude")] | None = None
    income_source: ShortText | None = None
    housing: ShortText | None = None
    can_support: bool | None = None
    financial_capacity: Annotated[str, *one_of(BROKER, "financial_capacity")] | None = None
    """Of the household that would host the person."""
    suspected: bool | None = None
    """Suspected of a part in the trafficking."""


class TravellingChild(ProtectedModel):
    """A child who travels with the person. Age 0 is an infant."""

    case_number: ShortText | None = None
    """The child's own case, if there is one."""
    age: Age | None = None
    relation: Relation | None = None


class FamilyDependants(ProtectedModel):
    """Family, dependants and what tracing found.

    `family_must_not_know` and `family_suspected` stop tracing and assessment, whatever consent
    says.
    """

    number_of_children: Annotated[Count | None, Column("prs_NumberOfChildren")] = None
    relatives: Annotated[tuple[Relative, ...], Field(max_length=40)] = ()
    children_travelling: Annotated[tuple[TravellingChild, ...], Field(max_length=20)] = ()
    family_must_not_know: bool | None = None
    family_suspected: bool | None = None
    tracing_result: Annotated[str, *one_of(BROKER, "tracing_result")] | None = None
    traced_on: Day | None = None
    social_situation: FreeText | None = None
    """The social questionnaire."""


class GuardianChild(ProtectedModel):
    """Who speaks for a child, or for a person presumed to be one, and what the child says.

    Mandatory for every (presumed) child: CETS 197, Art 10(3) and (4).
    """

    presumed_child: Annotated[bool | None, Column("x_presumed_child")] = None
    guardian_name: Annotated[ShortText | None, Column("x_guardian_name")] = None
    guardian_kind: Annotated[
        Annotated[str, *one_of(BROKER, "guardian_kind")] | None, Column("x_guardian_kind")
    ] = None
    guardian_phone: Annotated[Phone | None, Column("x_guardian_phone")] = None
    guardian_organisation: ShortText | None = None
    court_order: ShortText | None = None
    appointed_on: Day | None = None
    caregiver_name: ShortText | None = None
    caregiver_relation: Relation | None = None
    caregiver_phone: Phone | None = None
    situation: Annotated[str, *one_of(BROKER, "child_situation")] | None = None
    caregiver_informed: bool | None = None
    reason_caregiver_not_informed: FreeText | None = None
    best_interests_decided_on: Day | None = None
    best_interests_result: FreeText | None = None
    child_view: FreeText | None = None
    age_assessment: Annotated[str, *one_of(BROKER, "age_assessment")] | None = None
    age_assessed_on: Day | None = None
    age_assessment_result: Annotated[str, *one_of(BROKER, "age_result")] | None = None
