"""How the case stands: administration, identification, services (ADM, STA, SVC)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.common import ClassifiedCode, not_before
from schemas.sections.fields import (
    Column,
    Country,
    Day,
    Email,
    FreeText,
    Phone,
    ShortText,
    no_repeats,
    one_of,
)

Organisations = Annotated[tuple[ShortText, ...], Field(max_length=20)]


class CaseAdmin(ProtectedModel):
    """Who handles the case and why it moves. Free text here can leak anything: it is optional.

    The two referral dates keep HTCDS's meaning: the incoming one is the day of *acceptance*.
    """

    status: Annotated[Annotated[str, *one_of(HTCDS, "cas_Status")] | None, Column("cas_Status")] = (
        None
    )
    reason_for_closure: Annotated[FreeText | None, Column("cas_ReasonForCaseClosure")] = None
    case_owner: Annotated[ShortText | None, Column("cas_CaseOwner")] = None
    referring_organisation: Annotated[ShortText | None, Column("cas_ReferringOrganisation")] = None
    incoming_referral_date: Annotated[Day | None, Column("cas_IncomingReferralDate")] = None
    referring_case_worker: Annotated[ShortText | None, Column("cas_ReferringPrimaryCaseWorker")] = (
        None
    )
    reason_for_incoming_referral: Annotated[
        Annotated[str, *one_of(HTCDS, "cas_ReasonForIncomingReferral")] | None,
        Column("cas_ReasonForIncomingReferral"),
    ] = None
    incoming_referral_details: Annotated[FreeText | None, Column("cas_IncomingReferralDetails")] = (
        None
    )
    referred_organisations: Annotated[Organisations, Column("cas_ReferredOrganisation")] = ()
    """HTCDS says that there may be several."""
    referred_case_worker: Annotated[ShortText | None, Column("cas_ReferredPrimaryCaseWorker")] = (
        None
    )
    reason_for_outgoing_referral: Annotated[
        Annotated[str, *one_of(HTCDS, "cas_ReasonForOutgoingReferral")] | None,
        Column("cas_ReasonForOutgoingReferral"),
    ] = None
    outgoing_referral_date: Annotated[Day | None, Column("cas_OutgoingReferralDate")] = None
    outgoing_referral_details: Annotated[FreeText | None, Column("cas_OutgoingReferralDetails")] = (
        None
    )
    number_at_sender: ShortText | None = None
    """The case number on the side that asks; the answer repeats it."""
    number_at_recipient: ShortText | None = None
    other_case_numbers: Annotated[tuple[ShortText, ...], Field(max_length=20)] = ()
    """Of other systems. No case number is ever built from a name or a birth date."""
    urgency: Annotated[str, *one_of(BROKER, "urgency")] | None = None
    """Emergency: 24 hours; urgent: 72 hours; normal: two weeks."""
    reply_by: Day | None = None
    worker_name: ShortText | None = None
    worker_position: ShortText | None = None
    worker_phone: Phone | None = None
    worker_email: Email | None = None
    delivery_method: Annotated[str, *one_of(BROKER, "delivery_method")] | None = None


class Identification(ProtectedModel):
    """What one body in one country said about this person's status, and when."""

    country: Country | None = None
    body: Annotated[str, *one_of(BROKER, "deciding_body")] | None = None
    body_name: ShortText | None = None
    result: Annotated[str, *one_of(BROKER, "identification")] | None = None
    decided_on: Day | None = None
    certificate: ShortText | None = None
    reflection_from: Day | None = None
    reflection_until: Annotated[Day | None, not_before("reflection_from")] = None
    recognises_country: Country | None = None
    """Set if this recognises the decision of another country."""
    reporting_entity: ClassifiedCode | None = None
    """IC-TIP."""


class IdentificationStatus(ProtectedModel):
    """Whether the person is held to be a victim of trafficking: assertions, never a fact.

    HTCDS knows one status and the kind of body that gave it. Two countries may hold different
    ones for one person, so `identifications` keeps each with its country and body.
    """

    trafficking_status: Annotated[
        Annotated[str, *one_of(HTCDS, "vic_TraffickingStatus")] | None,
        Column("vic_TraffickingStatus"),
    ] = None
    decided_by: Annotated[
        Annotated[str, *one_of(HTCDS, "vic_TraffickingStatusDecisionMakingOrg")] | None,
        Column("vic_TraffickingStatusDecisionMakingOrg"),
    ] = None
    identifications: Annotated[tuple[Identification, ...], Field(max_length=20)] = ()


class Service(ProtectedModel):
    """One service asked for, given or declined. One service, one referral."""

    service: Annotated[str, *one_of(BROKER, "service")] | None = None
    state: Annotated[str, *one_of(BROKER, "service_state")] | None = None
    provider: ShortText | None = None
    needed_within: Annotated[str, *one_of(BROKER, "needed_within")] | None = None
    place: ShortText | None = None
    appointment: Day | None = None
    given_on: Day | None = None
    outcome: FreeText | None = None
    provider_note: FreeText | None = None


class ServicesSupport(ProtectedModel):
    """What help is asked for and what was given. A service's kind alone can reveal health."""

    services_requested: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(BROKER, "service")], ...],
            AfterValidator(no_repeats),
        ],
        Column("x_services_requested"),
    ] = ()
    services: Annotated[tuple[Service, ...], Field(max_length=40)] = ()
    details: FreeText | None = None
