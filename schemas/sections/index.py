"""The sections a consent can tick, as data without models: id, compartment, class, rules.

The message catalogue and the rules name sections by the ids here; the models are in the other
modules of this package and are loaded only where a case may be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.directory import Compartment


class DataClass(StrEnum):
    """What data protection law makes of a section's content; the strictest class it can hold."""

    ORDINARY = "ordinary"
    NATIONAL_ID = "national-id"  # GDPR Art 87
    THIRD_PARTY = "third-party"  # relatives: Art 14 notice
    CHILD = "child"
    SPECIAL = "special"  # Art 9
    SPECIAL_OR_CRIMINAL = "special-or-criminal"  # Art 9 or Art 10, by content or by inference


class Default(StrEnum):
    """Whether a worker's screen proposes the section."""

    ON = "on"
    OFF = "off"
    IF_CHILD = "if-child"


class HardRule(StrEnum):
    """What no consent lifts; enforced by `broker.rules.content` and by the models."""

    NO_NAME_IN_CASE_NUMBER = "no-name-in-case-number"
    NOT_IN_ANONYMOUS_MESSAGES = "not-in-anonymous-messages"
    NEVER_TO_ORIGIN_DURING_ASYLUM = "never-to-origin-during-asylum"
    SHELTER_STAYS = "shelter-stays"
    SHORTEST_RETENTION = "shortest-retention"
    COARSE_COORDINATES = "coarse-coordinates"
    RELATIVES_CONSENT = "relatives-consent"
    MANDATORY_FOR_CHILD = "mandatory-for-child"
    STATUS_CAN_ENDANGER = "status-can-endanger"
    NOT_FOR_SERVICES = "not-for-services"
    DANGER_MUST_BE_SHARED = "danger-must-be-shared"
    HEALTH_TO_HEALTH = "health-to-health"
    ONE_SERVICE_ONE_REFERRAL = "one-service-one-referral"


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """One section as everyone may know it."""

    id: str
    code: str
    """Three letters, for tables and logs' documentation."""
    compartment: Compartment
    data_class: DataClass
    default: Default
    hard_rules: tuple[HardRule, ...] = ()


_CASEWORK = Compartment.CASEWORK
_ENTRIES = (
    SectionEntry(
        "case_admin",
        "ADM",
        _CASEWORK,
        DataClass.ORDINARY,
        Default.ON,
        (HardRule.NO_NAME_IN_CASE_NUMBER,),
    ),
    SectionEntry(
        "identity_core",
        "IDC",
        _CASEWORK,
        DataClass.SPECIAL,  # gender identity
        Default.ON,
        (HardRule.NOT_IN_ANONYMOUS_MESSAGES,),
    ),
    SectionEntry("demographics_language", "DEM", _CASEWORK, DataClass.SPECIAL, Default.ON),
    SectionEntry(
        "nationality_documents",
        "NAT",
        _CASEWORK,
        DataClass.NATIONAL_ID,
        Default.OFF,
        (HardRule.NEVER_TO_ORIGIN_DURING_ASYLUM,),
    ),
    SectionEntry(
        "contact_location",
        "CON",
        _CASEWORK,
        DataClass.ORDINARY,
        Default.OFF,
        (
            HardRule.SHELTER_STAYS,
            HardRule.SHORTEST_RETENTION,
            HardRule.COARSE_COORDINATES,
        ),
    ),
    SectionEntry(
        "family_dependants",
        "FAM",
        _CASEWORK,
        DataClass.THIRD_PARTY,
        Default.OFF,
        (HardRule.RELATIVES_CONSENT,),
    ),
    SectionEntry(
        "guardian_child",
        "GUA",
        _CASEWORK,
        DataClass.CHILD,
        Default.IF_CHILD,
        (HardRule.MANDATORY_FOR_CHILD,),
    ),
    SectionEntry(
        "identification_status",
        "STA",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.OFF,
        (HardRule.STATUS_CAN_ENDANGER,),
    ),
    SectionEntry(
        "trafficking_experience",
        "EXP",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.OFF,
        (HardRule.NOT_FOR_SERVICES,),
    ),
    SectionEntry(
        "risk_security",
        "RSK",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.ON,
        (HardRule.DANGER_MUST_BE_SHARED,),
    ),
    SectionEntry("vulnerability_needs", "VUL", _CASEWORK, DataClass.SPECIAL, Default.OFF),
    SectionEntry(
        "services_support",
        "SVC",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.ON,
        (HardRule.ONE_SERVICE_ONE_REFERRAL,),
    ),
    SectionEntry(
        "health_general",
        "HLT",
        Compartment.HEALTH,
        DataClass.SPECIAL,
        Default.OFF,
        (HardRule.HEALTH_TO_HEALTH,),
    ),
)

SECTION_INDEX = MappingProxyType({entry.id: entry for entry in _ENTRIES})
"""Every section by id, in the order in which a worker meets them."""

SECTION_IDS = tuple(SECTION_INDEX)


def compartment_of(section_id: str) -> Compartment:
    """Whose key opens this section.

    Raises:
        KeyError: No such section.
    """
    return SECTION_INDEX[section_id].compartment
