"""The systems and codes that our FHIR resources use, each named by its URI. Data.

Systems of ours lie under `https://referral-broker.invalid/`: names, which nothing is fetched from
(RFC 2606). The others are FHIR R4's, HL7's terminology and the Gravity guide's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters.base import Step

OURS: Final = "https://referral-broker.invalid/fhir"

REFERRAL: Final = f"{OURS}/NamingSystem/referral"
"""Identifier system: the business id of a referral. Conditional creation and search rest on it."""
PART: Final = f"{OURS}/NamingSystem/referral-part"
"""Identifier system: one resource of those that a referral was filed as."""
CASE_NUMBER: Final = f"{OURS}/NamingSystem/case-number"
"""The sender's own case number, of a case that was filed here."""
PARTICIPANT: Final = f"{OURS}/NamingSystem/participant"
SERVICE: Final = f"{OURS}/CodeSystem/service"
DECLINE_REASON: Final = f"{OURS}/CodeSystem/decline-reason"
BUSINESS_STATUS: Final = f"{OURS}/CodeSystem/ihe-360x-status"

CASE: Final = f"{OURS}/StructureDefinition/case"
"""Extension of ServiceRequest: a whole case as JSON text, ASCII alone, as `adapters.wire` has it.

A system that shows no extensions still has the native elements; one that keeps none loses what
has no native element, and `FhirSystem` says so.
"""
TOLD: Final = f"{OURS}/StructureDefinition/told"
"""Extension of Task: the digest of a piece of news that was written into it."""
CONSENT_BOX: Final = f"{OURS}/StructureDefinition/consent-box"

CITIZENSHIP: Final = "http://hl7.org/fhir/StructureDefinition/patient-citizenship"
INTERPRETER: Final = "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired"
MARITAL_STATUS: Final = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
ROLE: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
TASK_CODE: Final = "http://hl7.org/fhir/CodeSystem/task-code"
ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
CONSENT_SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LANGUAGES: Final = "urn:ietf:bcp:47"
COUNTRIES: Final = "urn:iso:std:iso:3166"

TEST_DATA: Final = {"system": ACT_REASON, "code": "HTEST"}
"""Security label of what is invented."""
VERY_RESTRICTED: Final = {"system": CONFIDENTIALITY, "code": "V"}


def _table(pairs: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(pairs))


# What stands twice on the right is not read back: `other` may be any of three genders.
GENDER: Final = _table(
    {
        "Feminine": "female",
        "Masculine": "male",
        "TransgenderFeminine": "other",
        "TransgenderMasculine": "other",
        "NonConforming": "other",
        "NonSpecifiedUnknown": "unknown",
    }
)
MARRIED: Final = _table(
    {
        "Single": "S",
        "Married": "M",
        "Widowed": "W",
        "Divorced": "D",
        "Separated": "L",
        "RegisteredPartnership": "T",
    }
)
PRIORITY: Final = _table({"emergency": "stat", "urgent": "urgent", "normal": "routine"})
"""`asap` lies between two of ours, so it is not read."""
RELATION: Final = _table(
    {
        "mother": "MTH",
        "father": "FTH",
        "parent": "PRN",
        "child": "CHILD",
        "sibling": "SIB",
        "grandparent": "GRPRN",
        "spouse": "SPS",
        "partner": "DOMPART",
        "cousin": "COUSN",
        "friend": "FRND",
        "other_relative": "FAMMEMB",
    }
)
"""An aunt or uncle is two codes there, and `guardian` is the guardian's own RelatedPerson."""

STEP_OF: Final[Mapping[str, Step]] = MappingProxyType(
    {
        "received": Step.RECEIVED,
        "accepted": Step.ACCEPTED,
        "rejected": Step.DECLINED,
        "in-progress": Step.IN_PROGRESS,
        "completed": Step.COMPLETED,
        "failed": Step.FAILED,
        "cancelled": Step.CANCELLED,
    }
)
"""Task.status to what happened. The others are no decision, or one for a person to say."""
NOT_YET: Final = frozenset({"draft", "requested"})
STATE_OF: Final[Mapping[Step, str]] = MappingProxyType(
    {
        Step.RECEIVED: "received",
        Step.ACCEPTED: "accepted",
        Step.DECLINED: "declined",
        Step.IN_PROGRESS: "in_progress",
        Step.COMPLETED: "completed",
        Step.FAILED: "failed",
        Step.CANCELLED: "cancelled",
    }
)
"""To our states, whose FHIR and 360X words `schemas.mappings` has."""
FINAL: Final = frozenset({"rejected", "failed", "completed", "cancelled", "entered-in-error"})
"""Gravity: nothing follows these."""
