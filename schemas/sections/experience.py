"""What was done to the person (EXP SEX): off by default when a service is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.common import Amount, Classified, Currency
from schemas.sections.fields import Age, Column, FreeText, defined_only, no_repeats, one_of

_CONTROL = "vic_MethodsOfControl"


class TraffickingExperience(ProtectedModel):
    """How the person was recruited, controlled and exploited, in codes.

    The kind of sexual exploitation, the route and the perpetrators are sections of their own.
    """

    age_when_trafficked: Annotated[Age | None, Column("vic_AgeWhenTrafficked")] = None
    """Whole years when first trafficked."""
    methods_of_recruitment: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_MethodOfRecruitment")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_MethodOfRecruitment"),
    ] = ()
    recruitment_websites_and_apps: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_RecruitmentWebsitesAndApps")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_RecruitmentWebsitesAndApps"),
    ] = ()
    methods_of_control: Annotated[
        Annotated[tuple[Annotated[str, *one_of(HTCDS, _CONTROL)], ...], AfterValidator(no_repeats)],
        Column(_CONTROL),
    ] = ()
    methods_of_control_defined: Annotated[
        Annotated[
            tuple[Annotated[str, *defined_only(HTCDS, _CONTROL)], ...],
            AfterValidator(no_repeats),
        ],
        Column("x_methods_of_control_defined"),
    ] = ()
    """Methods that HTCDS defines but left out of its picklist (`RestrictsMovement` …)."""
    types_of_exploitation: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_TypeOfExploitation")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_TypeOfExploitation"),
    ] = ()
    forced_labour_industry: Annotated[
        Annotated[str, *one_of(HTCDS, "vic_ForcedLabourIndustry")] | None,
        Column("vic_ForcedLabourIndustry"),
    ] = None
    exploitation_websites_and_apps: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_ExploitationWebsitesAndApps")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_ExploitationWebsitesAndApps"),
    ] = ()
    acts: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "act")], ...], AfterValidator(no_repeats)
    ] = ()
    """Palermo Protocol, Art 3(a)."""
    means: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "means")], ...], AfterValidator(no_repeats)
    ] = ()
    """Palermo Protocol, Art 3(a); irrelevant for a child (Art 3(c))."""
    kinds_of_work: Annotated[
        tuple[Annotated[str, *one_of(BROKER, "kind_of_work")], ...], AfterValidator(no_repeats)
    ] = ()
    duration_months: Annotated[int, Field(ge=0, le=1200)] | None = None
    debt_amount: Amount | None = None
    """In whole units of `debt_currency`."""
    debt_currency: Currency | None = None
    details: FreeText | None = None
    classified: Classified = ()
    """IC-TIP: act, means, form of exploitation."""


class SexualExploitationDetail(ProtectedModel):
    """The kind of sexual exploitation, in codes alone. Ticked by itself, told nowhere else."""

    types: Annotated[
        Annotated[
            tuple[Annotated[str, *one_of(HTCDS, "vic_TypeOfSexExploitation")], ...],
            AfterValidator(no_repeats),
        ],
        Column("vic_TypeOfSexExploitation"),
    ] = ()
