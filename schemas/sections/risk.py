"""What endangers the person and what she needs (RSK, VUL)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.common import not_before
from schemas.sections.fields import Column, Day, FreeText, ShortText, Texts, no_repeats, one_of


class Threat(ProtectedModel):
    """One threat: from whom, how likely, how bad, and what is done about it."""

    source: Annotated[str, *one_of(BROKER, "threat_source")] | None = None
    likelihood: Annotated[str, *one_of(BROKER, "likelihood")] | None = None
    impact: Annotated[str, *one_of(BROKER, "impact")] | None = None
    measures: FreeText | None = None


class RiskSecurity(ProtectedModel):
    """Danger to the person, her family or the staff. Danger to life must be shared.

    `risk_level`, `risk_to_staff` and `escort` are the minimum that staff safety needs.
    """

    risk_level: Annotated[
        Annotated[str, *one_of(BROKER, "risk_level")] | None, Column("x_risk_level")
    ] = None
    summary: Annotated[FreeText | None, Column("x_risk_summary")] = None
    threats: Annotated[tuple[Threat, ...], Field(max_length=20)] = ()
    risk_to_staff: bool | None = None
    escort: Annotated[str, *one_of(BROKER, "escort")] | None = None
    police_liaison: ShortText | None = None
    """A function or a unit that the person accepts; see also her exclusion list in CON."""
    consequences_of_return: FreeText | None = None
    assessed_on: Day | None = None
    valid_until: Annotated[Day | None, not_before("assessed_on")] = None
    assessed_by: Texts = ()
    """The organisations that assessed it together, on both sides."""


class Assessment(ProtectedModel):
    """What was found at one of the three levels of HTCDS 2.0's assessment."""

    level: Annotated[str, *one_of(BROKER, "assessment_level")] | None = None
    assessed_on: Day | None = None
    finding: FreeText | None = None


class VulnerabilityNeeds(ProtectedModel):
    """What makes the person vulnerable and what has to be provided for."""

    vulnerabilities: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_Vulnerabilities")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_Vulnerabilities", deprecated=True),
    ] = ()
    """Deprecated in HTCDS 2.0 in favour of assessments; still met in files."""
    details_of_vulnerabilities: Annotated[
        FreeText | None, Column("vic_DetailsOfVulnerabilities", deprecated=True)
    ] = None
    """Deprecated in HTCDS 2.0, as above."""
    needs: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "need")], ...], AfterValidator(no_repeats)
    ] = ()
    accommodation_needs: FreeText | None = None
    disability: Annotated[str, *one_of(BROKER, "yes_no_unknown")] | None = None
    homeless: bool | None = None
    addiction: Annotated[str, *one_of(BROKER, "yes_no_unknown")] | None = None
    need_band: Annotated[str, *one_of(BROKER, "need_band")] | None = None
    """How much has to be provided for, in one word: all that a capacity query may say."""
    social_questionnaire: FreeText | None = None
    assessments: Annotated[tuple[Assessment, ...], Field(max_length=20)] = ()
