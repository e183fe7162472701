"""Sections with their models: the one table from id to model, and the check at every door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from schemas.base import ProtectedModel, paths_of
from schemas.directory import Compartment
from schemas.errors import SchemaRefused
from schemas.sections.administration import CaseAdmin, IdentificationStatus, ServicesSupport
from schemas.sections.experience import TraffickingExperience
from schemas.sections.family import FamilyDependants, GuardianChild
from schemas.sections.fields import Column, column_of
from schemas.sections.health import HealthGeneral
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
from schemas.sections.risk import RiskSecurity, VulnerabilityNeeds


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

    def columns(self) -> dict[str, Column]:
        """Field name to column of a case file, for the fields that have one."""
        return {
            name: column
            for name, field in self.model.model_fields.items()
            if (column := column_of(field.metadata)) is not None
        }


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
}

SECTIONS: Mapping[str, SectionSpec] = MappingProxyType(
    {
        name: SectionSpec(SECTION_INDEX[name], _MODELS[name])
        for name in SECTION_INDEX
        if name in _MODELS
    }
)
"""Every section by id, in the order of the index."""


def validate_section(section_id: str, content: Mapping[str, Any]) -> ProtectedModel:
    """Check the JSON content of one section.

    Raises:
        SchemaRefused: No such section, or paths and rules of what does not fit; never a value.
    """
    spec = SECTIONS.get(section_id)
    if spec is None:
        raise SchemaRefused("no such section")
    try:
        return spec.model.model_validate_json(json.dumps(content, ensure_ascii=False))
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
    "SectionEntry",
    "SectionSpec",
    "compartment_of",
    "section_content",
    "validate_section",
]
