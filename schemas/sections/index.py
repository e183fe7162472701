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
    CRIMINAL = "criminal"  # Art 10, and the law enforcement directive
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
    NATIONALITY_ALONE = "nationality-alone"
    """A request to verify a nationality says nothing of trafficking."""
    SHELTER_STAYS = "shelter-stays"
    SHORTEST_RETENTION = "shortest-retention"
    COARSE_COORDINATES = "coarse-coordinates"
    RELATIVES_CONSENT = "relatives-consent"
    FAMILY_FLAGS_STOP_TRACING = "family-flags-stop-tracing"
    MANDATORY_FOR_CHILD = "mandatory-for-child"
    STATUS_CAN_ENDANGER = "status-can-endanger"
    NOT_FOR_SERVICES = "not-for-services"
    OWN_BOX = "own-box"
    """Ticked by itself; no tick for several sections includes it."""
    NOT_IN_OTHER_NARRATIVES = "not-in-other-narratives"
    AUTHORITIES_AND_ASSESSORS = "authorities-and-assessors"
    """To law enforcement and to whoever assesses the risk; never to a service."""
    USE_RESTRICTED = "use-restricted"
    """The recipient keeps to the sender's restrictions (Palermo Protocol, Art 10(3))."""
    DANGER_MUST_BE_SHARED = "danger-must-be-shared"
    ONE_SERVICE_ONE_REFERRAL = "one-service-one-referral"
    HEALTH_TO_HEALTH = "health-to-health"
    UNTESTED_SAYS_NOTHING = "untested-says-nothing"
    """Tests are never forced, so that there is none is no finding and cannot be written."""
    NEVER_TO_FAMILY_POLICE_EMPLOYER = "never-to-family-police-employer"
    VITAL_INTEREST_MAY_OPEN = "vital-interest-may-open"
    """An alert of suicide may pass under the exception for vital interests."""
    ORIGIN_ONLY_IF_ASKED = "origin-only-if-asked"
    """To a state body of the country of origin only if the person asks for it."""
    NEVER_TO_ORIGIN = "never-to-origin"
    """Never to authorities of the country of origin, nor the fact that it exists."""
    SEPARATE_KEYS = "separate-keys"
    REFUSAL_TO_COOPERATE_STAYS = "refusal-to-cooperate-stays"
    """That a person does not cooperate with police never reaches who provides services."""
    BANK_DATA_TO_PAYER = "bank-data-to-payer"
    GONE_AFTER_ARRIVAL = "gone-after-arrival"
    PERSON_GETS_COPY = "person-gets-copy"
    HELP_IS_NOT_LOST = "help-is-not-lost"
    """Refusing to be monitored costs no help."""
    NEVER_FORWARDED_BY_ITSELF = "never-forwarded-by-itself"
    REDACTED_FIRST = "redacted-first"
    EACH_FILE_HAS_A_SECTION = "each-file-has-a-section"
    NO_PUBLIC_LINKS = "no-public-links"
    OPT_IN = "opt-in"
    SMALL_CELLS_HIDDEN = "small-cells-hidden"


class View(StrEnum):
    """A named part of a section, for recipients who need no more; cut by `schemas.sections.views`."""

    COUNTRY_LEVEL = "country-level"
    STAFF_SAFETY = "staff-safety"
    BANDED = "banded"
    FIT_TO_TRAVEL = "fit-to-travel"
    NO_BANK_DATA = "no-bank-data"


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
    views: tuple[View, ...] = ()
    """Reduced forms in which it may travel instead of whole."""


_CASEWORK = Compartment.CASEWORK
_HEALTH = Compartment.HEALTH
_JUSTICE = Compartment.JUSTICE
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
        (HardRule.NEVER_TO_ORIGIN_DURING_ASYLUM, HardRule.NATIONALITY_ALONE),
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
        (HardRule.RELATIVES_CONSENT, HardRule.FAMILY_FLAGS_STOP_TRACING),
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
        "sexual_exploitation_detail",
        "SEX",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.OFF,
        (
            HardRule.OWN_BOX,
            HardRule.NOT_IN_OTHER_NARRATIVES,
        ),
    ),
    SectionEntry(
        "trafficking_route",
        "RTE",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.OFF,
        (HardRule.COARSE_COORDINATES,),
        (View.COUNTRY_LEVEL,),
    ),
    SectionEntry(
        "perpetrator",
        "PER",
        _JUSTICE,
        DataClass.CRIMINAL,
        Default.OFF,
        (
            HardRule.AUTHORITIES_AND_ASSESSORS,
            HardRule.USE_RESTRICTED,
        ),
    ),
    SectionEntry(
        "risk_security",
        "RSK",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.ON,
        (HardRule.DANGER_MUST_BE_SHARED,),
        (View.STAFF_SAFETY,),
    ),
    SectionEntry(
        "vulnerability_needs", "VUL", _CASEWORK, DataClass.SPECIAL, Default.OFF, (), (View.BANDED,)
    ),
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
        _HEALTH,
        DataClass.SPECIAL,
        Default.OFF,
        (HardRule.HEALTH_TO_HEALTH,),
        (View.FIT_TO_TRAVEL,),
    ),
    SectionEntry(
        "health_sexual_reproductive",
        "SRH",
        _HEALTH,
        DataClass.SPECIAL,
        Default.OFF,
        (
            HardRule.HEALTH_TO_HEALTH,
            HardRule.OWN_BOX,
            HardRule.UNTESTED_SAYS_NOTHING,
            HardRule.NEVER_TO_FAMILY_POLICE_EMPLOYER,
        ),
    ),
    SectionEntry(
        "mental_health_psychosocial",
        "MHP",
        _HEALTH,
        DataClass.SPECIAL,
        Default.OFF,
        (
            HardRule.HEALTH_TO_HEALTH,
            HardRule.VITAL_INTEREST_MAY_OPEN,
        ),
    ),
    SectionEntry(
        "migration_status",
        "MIG",
        _CASEWORK,
        DataClass.ORDINARY,
        Default.OFF,
        (HardRule.ORIGIN_ONLY_IF_ASKED,),
    ),
    SectionEntry(
        "asylum_protection",
        "ASY",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.OFF,
        (HardRule.NEVER_TO_ORIGIN,),
    ),
    SectionEntry(
        "criminal_justice",
        "JUS",
        _JUSTICE,
        DataClass.CRIMINAL,
        Default.OFF,
        (
            HardRule.SEPARATE_KEYS,
            HardRule.REFUSAL_TO_COOPERATE_STAYS,
        ),
    ),
    SectionEntry(
        "compensation_finance",
        "CMP",
        _CASEWORK,
        DataClass.ORDINARY,
        Default.OFF,
        (HardRule.BANK_DATA_TO_PAYER,),
        (View.NO_BANK_DATA,),
    ),
    SectionEntry(
        "return_travel",
        "RET",
        _CASEWORK,
        DataClass.ORDINARY,
        Default.OFF,
        (HardRule.GONE_AFTER_ARRIVAL,),
    ),
    SectionEntry(
        "reintegration_plan",
        "REI",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.OFF,
        (HardRule.PERSON_GETS_COPY,),
    ),
    SectionEntry(
        "monitoring_followup",
        "MON",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.OFF,
        (HardRule.HELP_IS_NOT_LOST,),
    ),
    SectionEntry(
        "case_narrative",
        "NAR",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.OFF,
        (
            HardRule.NEVER_FORWARDED_BY_ITSELF,
            HardRule.REDACTED_FIRST,
        ),
    ),
    SectionEntry(
        "attachments_biometrics",
        "ATT",
        _CASEWORK,
        DataClass.SPECIAL,
        Default.OFF,
        (
            HardRule.EACH_FILE_HAS_A_SECTION,
            HardRule.NO_PUBLIC_LINKS,
        ),
    ),
    SectionEntry(
        "statistics_research",
        "STT",
        _CASEWORK,
        DataClass.SPECIAL_OR_CRIMINAL,
        Default.OFF,
        (
            HardRule.OPT_IN,
            HardRule.SMALL_CELLS_HIDDEN,
        ),
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
