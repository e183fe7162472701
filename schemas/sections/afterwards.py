"""The way on: return, reintegration, keeping in touch (RET REI MON). Staying is no failure of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.common import Money, not_before
from schemas.sections.fields import (
    Column,
    Country,
    Day,
    FreeText,
    Phone,
    ShortText,
    Texts,
    no_repeats,
    one_of,
)

ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""Local time of the place, `HH:MM`."""


class TravelLeg(ProtectedModel):
    """One stretch of the journey, with who goes along."""

    position: Annotated[int, Field(ge=1, le=99)] | None = None
    transport: Annotated[str, *one_of(BROKER, "transport")] | None = None
    number: ShortText | None = None
    """Flight, train or coach, as printed."""
    from_country: Country | None = None
    from_place: ShortText | None = None
    departs_on: Day | None = None
    departs_at: ClockTime | None = None
    to_country: Country | None = None
    to_place: ShortText | None = None
    arrives_on: Annotated[Day | None, not_before("departs_on")] = None
    arrives_at: ClockTime | None = None
    escort: Annotated[str, *one_of(BROKER, "escort")] | None = None
    escort_name: ShortText | None = None
    escort_phone: Phone | None = None
    transit_assistance: ShortText | None = None


class Handover(ProtectedModel):
    """Who gave the person's care to whom, where and when."""

    on: Day | None = None
    at: ClockTime | None = None
    place: ShortText | None = None
    handed_over_by: ShortText | None = None
    received_by: ShortText | None = None
    remarks: FreeText | None = None


class ReturnTravel(ProtectedModel):
    """The decision and the journey. Destroyed some days after arrival (`gone-after-arrival`).

    The decision is the person's, can change until departure, and no value of it is a fault.
    """

    decision: Annotated[str, *one_of(BROKER, "return_decision")] | None = None
    decided_on: Day | None = None
    destination: Annotated[str, *one_of(BROKER, "return_destination")] | None = None
    """To the family or to an alternative."""
    alternatives: FreeText | None = None
    documents_needed: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "document_type")], ...], AfterValidator(no_repeats)
    ] = ()
    documents_ready: bool | None = None
    legs: Annotated[tuple[TravelLeg, ...], Field(max_length=12)] = ()
    reception_person: ShortText | None = None
    reception_phone: Phone | None = None
    reception_organisation: ShortText | None = None
    reception_place: ShortText | None = None
    belongings: FreeText | None = None
    handovers: Annotated[tuple[Handover, ...], Field(max_length=12)] = ()


class SupportPlan(ProtectedModel):
    """One plan of one kind. A case has several.

    In a case file the first plan has the columns of the standard.
    """

    type: Annotated[Annotated[str, *one_of(HTCDS, "spl_Type")] | None, Column("spl_Type")] = None
    objectives: Annotated[FreeText | None, Column("spl_Objectives")] = None
    action_plan: Annotated[FreeText | None, Column("spl_ActionPlan")] = None
    starts_on: Day | None = None
    planned_end_date: Annotated[
        Day | None, Column("spl_PlannedEndDate"), not_before("starts_on")
    ] = None
    actual_end_date: Annotated[Day | None, Column("spl_ActualEndDate"), not_before("starts_on")] = (
        None
    )
    responsible: ShortText | None = None


class ReintegrationPlan(ProtectedModel):
    """What comes after, written together with the person, who gets a copy."""

    own_goals: FreeText | None = None
    """In the person's own words."""
    plans: Annotated[tuple[SupportPlan, ...], Field(max_length=20)] = ()
    housing: FreeText | None = None
    income: FreeText | None = None
    training: FreeText | None = None
    peer_support: FreeText | None = None
    legal_help: FreeText | None = None
    budget: Money | None = None
    written_by: Texts = ()
    """The organisations that wrote it together."""
    agreed_by_person_on: Day | None = None
    copy_given_on: Day | None = None


class ContactAttempt(ProtectedModel):
    """One attempt to reach the person in the safe way she chose."""

    on: Day | None = None
    method: Annotated[str, *one_of(BROKER, "contact_method")] | None = None
    result: Annotated[str, *one_of(BROKER, "contact_result")] | None = None


class Observation(ProtectedModel):
    """One visit, survey or case study, in one dimension of reintegration.

    To monitor, not to evaluate: a score says how the person fares, never how she did.
    """

    on: Day | None = None
    kind: Annotated[str, *one_of(BROKER, "monitoring_kind")] | None = None
    dimension: Annotated[str, *one_of(BROKER, "reintegration_dimension")] | None = None
    score: Annotated[int, Field(ge=0, le=100)] | None = None
    """0 to 100, whatever the scale of the tool."""
    tool: ShortText | None = None
    finding: FreeText | None = None


class MonitoringFollowup(ProtectedModel):
    """How she fares afterwards. Agreeing to be monitored is separate, and ends without loss."""

    contacts: Annotated[tuple[ContactAttempt, ...], Field(max_length=100)] = ()
    observations: Annotated[tuple[Observation, ...], Field(max_length=100)] = ()
    contact_lost: bool | None = None
    contact_lost_on: Day | None = None
    satisfaction: Annotated[str, *one_of(BROKER, "satisfaction")] | None = None
    signs_of_retrafficking: Annotated[str, *one_of(BROKER, "yes_no_unknown")] | None = None
    signs_details: FreeText | None = None
    monitoring_from: Day | None = None
    monitoring_until: Annotated[Day | None, not_before("monitoring_from")] = None
    ended_at_persons_wish: bool | None = None
