"""What the person may claim, and before whom: stay, protection, justice, money (MIG ASY JUS CMP)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER
from schemas.sections.common import Money, not_before
from schemas.sections.fields import (
    Country,
    Day,
    FreeText,
    PartialDate,
    Phone,
    ShortText,
    Texts,
    no_repeats,
    one_of,
)


class Permit(ProtectedModel):
    """One leave to stay."""

    kind: Annotated[str, *one_of(BROKER, "permit")] | None = None
    country: Country | None = None
    valid_from: Day | None = None
    valid_until: Annotated[Day | None, not_before("valid_from")] = None


class MigrationStatus(ProtectedModel):
    """Entry and stay. To a state body of the country of origin only if the person asks for it.

    Everything about international protection is in ASY, and is never inferred from here.
    """

    situations: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "migration_situation")], ...],
        AfterValidator(no_repeats),
    ] = ()
    """The types of HTCDS's guidance, without those of international protection."""
    country: Country | None = None
    entered_on: PartialDate | None = None
    entry: Annotated[str, *one_of(BROKER, "entry")] | None = None
    permits: Annotated[tuple[Permit, ...], Field(max_length=20)] = ()
    entry_ban: bool | None = None
    entry_ban_until: Day | None = None
    residence_options: FreeText | None = None
    origin_may_know: bool | None = None
    """The person asked that the country of origin be told."""


class AsylumProtection(ProtectedModel):
    """International protection. Never to the country of origin, nor the fact that it exists."""

    status: Annotated[str, *one_of(BROKER, "protection_status")] | None = None
    stage: Annotated[str, *one_of(BROKER, "claim_stage")] | None = None
    country: Country | None = None
    """Where protection was asked for."""
    claimed_on: Day | None = None
    decided_on: Annotated[Day | None, not_before("claimed_on")] = None
    feared_countries: Annotated[
        tuple[Country, ...], AfterValidator(no_repeats), Field(max_length=8)
    ] = ()
    details: FreeText | None = None


class Proceeding(ProtectedModel):
    """One proceeding, and the person's part in it."""

    kind: Annotated[str, *one_of(BROKER, "proceeding")] | None = None
    country: Country | None = None
    authority: ShortText | None = None
    case_number: ShortText | None = None
    role: Annotated[str, *one_of(BROKER, "proceeding_role")] | None = None
    stage: Annotated[str, *one_of(BROKER, "proceeding_stage")] | None = None
    opened_on: Day | None = None
    next_hearing_on: Annotated[Day | None, not_before("opened_on")] = None
    verdict: Annotated[str, *one_of(BROKER, "verdict")] | None = None
    verdict_on: Annotated[Day | None, not_before("opened_on")] = None
    verdict_details: FreeText | None = None
    release_on: Annotated[Day | None, not_before("opened_on")] = None
    """When a convicted person is due to be free: the person's safety plan needs it."""


class CriminalJustice(ProtectedModel):
    """Courts, with keys and a channel of their own. Help never depends on anything in here."""

    proceedings: Annotated[tuple[Proceeding, ...], Field(max_length=20)] = ()
    cooperation: Annotated[str, *one_of(BROKER, "cooperation")] | None = None
    """`declined` never reaches who provides services (`refusal-to-cooperate-stays`)."""
    protection_measures: Texts = ()
    legal_representative: ShortText | None = None
    non_punishment: FreeText | None = None
    """Why acts she was compelled to are not to be punished (CETS 197, Art 26)."""


class Claim(ProtectedModel):
    """One claim for compensation or wages."""

    kind: Annotated[str, *one_of(BROKER, "claim")] | None = None
    against: ShortText | None = None
    state: Annotated[str, *one_of(BROKER, "claim_state")] | None = None
    filed_on: Day | None = None
    limitation_on: Day | None = None
    """The day after which it can no longer be made."""
    claimed: Money | None = None
    awarded: Money | None = None
    awarded_on: Annotated[Day | None, not_before("filed_on")] = None
    paid: Money | None = None


class Payout(ProtectedModel):
    """Where money for the person goes. To the payer alone (`bank-data-to-payer`)."""

    method: Annotated[str, *one_of(BROKER, "payout")] | None = None
    holder: ShortText | None = None
    institution: ShortText | None = None
    account: ShortText | None = None
    """Text: leading zeros belong to it."""
    mobile_number: Phone | None = None


class CompensationFinance(ProtectedModel):
    """Claims, awards, debts, grants. Its view `no-bank-data` leaves `payout` out."""

    claims: Annotated[tuple[Claim, ...], Field(max_length=20)] = ()
    unpaid_wages: Money | None = None
    debts: Money | None = None
    debts_owed_to: FreeText | None = None
    grant: Money | None = None
    """What a programme gives, which depends on cost of living and on vulnerability."""
    grant_purpose: ShortText | None = None
    payout: Payout | None = None
