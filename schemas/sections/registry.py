"""Sections with their models: the one table from id to model, and the check at every door."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError

from schemas.base import ProtectedModel, paths_of
from schemas.directory import Compartment
from schemas.errors import SchemaRefused
from schemas.sections.administration import CaseAdmin, IdentificationStatus, ServicesSupport
from schemas.sections.afterwards import MonitoringFollowup, ReintegrationPlan, ReturnTravel
from schemas.sections.crime import Perpetrator, TraffickingRoute
from schemas.sections.entitlements import (
    AsylumProtection,
    CompensationFinance,
    CriminalJustice,
    MigrationStatus,
)
from schemas.sections.experience import SexualExploitationDetail, TraffickingExperience
from schemas.sections.family import FamilyDependants, GuardianChild
from schemas.sections.fields import Column, column_of
from schemas.sections.health import (
    HealthGeneral,
    HealthSexualReproductive,
    MentalHealthPsychosocial,
)
from schemas.sections.index import (
    SECTION_IDS,
    SECTION_INDEX,
    DataClass,
    Default,
    HardRule,
    SectionEntry,
    compartment_of,
)
from schemas.sections.person import (
    ContactLocation,
    DemographicsLanguage,
    IdentityCore,
    NationalityDocuments,
)
from schemas.sections.record import AttachmentsBiometrics, CaseNarrative, StatisticsResearch
from schemas.sections.risk import RiskSecurity, VulnerabilityNeeds


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one column of a case file lies: in a field, or in a part of the first of several.

    `trafficking_route.events` and such hold several; a case file has columns for one of them.
    """

    column: Column
    field: str
    part: str | None
    annotation: Any


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A section with its model. The other attributes are those of its `SectionEntry`."""

    entry: SectionEntry
    model: type[ProtectedModel]

    @property
    def id(self) -> str:
        """As on the wire."""
        return self.entry.id

    @property
    def code(self) -> str:
        """Three letters."""
        return self.entry.code

    @property
    def compartment(self) -> Compartment:
        """Whose key opens it."""
        return self.entry.compartment

    @property
    def data_class(self) -> DataClass:
        """Its class in data protection law."""
        return self.entry.data_class

    @property
    def default(self) -> Default:
        """Whether a screen proposes it."""
        return self.entry.default

    @property
    def hard_rules(self) -> tuple[HardRule, ...]:
        """What no consent lifts."""
        return self.entry.hard_rules

    def placements(self) -> tuple[Placement, ...]:
        """Every column that lies in this section, in the order of its fields."""
        return tuple(_placements(self.model))


def _placements(model: type[ProtectedModel]) -> Iterator[Placement]:
    for name, field in model.model_fields.items():
        if (column := column_of(field.metadata)) is not None:
            yield Placement(column, name, None, field.annotation)
        elif (part := part_model(field.annotation)) is not None:
            for inner in _placements(part):
                if inner.part is None:
                    yield Placement(inner.column, name, inner.field, inner.annotation)


def part_model(annotation: Any) -> type[ProtectedModel] | None:
    """The model that a field is made of, once or several times; None for a plain field."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, ProtectedModel) else None
    inner = (part_model(argument) for argument in get_args(annotation))
    return next((model for model in inner if model is not None), None)


_MODELS: dict[str, type[ProtectedModel]] = {
    "case_admin": CaseAdmin,
    "identity_core": IdentityCore,
    "demographics_language": DemographicsLanguage,
    "nationality_documents": NationalityDocuments,
    "contact_location": ContactLocation,
    "family_dependants": FamilyDependants,
    "guardian_child": GuardianChild,
    "identification_status": IdentificationStatus,
    "trafficking_experience": TraffickingExperience,
    "risk_security": RiskSecurity,
    "vulnerability_needs": VulnerabilityNeeds,
    "services_support": ServicesSupport,
    "health_general": HealthGeneral,
    "sexual_exploitation_detail": SexualExploitationDetail,
    "trafficking_route": TraffickingRoute,
    "perpetrator": Perpetrator,
    "health_sexual_reproductive": HealthSexualReproductive,
    "mental_health_psychosocial": MentalHealthPsychosocial,
    "migration_status": MigrationStatus,
    "asylum_protection": AsylumProtection,
    "criminal_justice": CriminalJustice,
    "compensation_finance": CompensationFinance,
    "return_travel": ReturnTravel,
    "reintegration_plan": ReintegrationPlan,
    "monitoring_followup": MonitoringFollowup,
    "case_narrative": CaseNarrative,
    "attachments_biometrics": AttachmentsBiometrics,
    "statistics_research": StatisticsResearch,
}

SECTIONS: Mapping[str, SectionSpec] = MappingProxyType(
    {entry.id: SectionSpec(entry, _MODELS[entry.id]) for entry in SECTION_INDEX.values()}
)
"""Every section by id, in the order of the index."""


_to_json = json.JSONEncoder(ensure_ascii=False).encode
"""Made once: a file of cases comes here ten times for each row."""


def validate_section(section_id: str, content: Mapping[str, Any]) -> ProtectedModel:
    """Check the JSON content of one section.

    Raises:
        SchemaRefused: No such section, or paths and rules of what does not fit; never a value.
    """
    spec = SECTIONS.get(section_id)
    if spec is None:
        raise SchemaRefused("no such section")
    try:
        return spec.model.model_validate_json(_to_json(content))
    except ValidationError as error:
        paths = (path if path.startswith(":") else f".{path}" for path in paths_of(error))
        raise SchemaRefused(where=tuple(f"{section_id}{path}" for path in paths)) from None
    except (TypeError, ValueError, RecursionError):
        raise SchemaRefused(where=(f"{section_id}: not_json",)) from None


def section_content(model: ProtectedModel) -> dict[str, Any]:
    """A section as JSON values, without the fields that say nothing. Zero and `false` say something."""
    return model.model_dump(mode="json", exclude_defaults=True)


__all__ = [
    "SECTIONS",
    "SECTION_IDS",
    "SECTION_INDEX",
    "Placement",
    "SectionEntry",
    "SectionSpec",
    "compartment_of",
    "part_model",
    "section_content",
    "validate_section",
]
