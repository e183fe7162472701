"""Invented cases for the conformance checks."""

from __future__ import annotations

from typing import Any

from adapters.base import CaseRecord
from schemas.sections import SECTIONS


def full_case() -> CaseRecord:
    """An invented case with content in every section, for the checks below."""
    sections: dict[str, dict[str, Any]] = {
        "case_admin": {"status": "Active", "referred_organisations": ["Invented One", "Two"]},
        "identity_core": {
            "first_name": "Invented",
            "second_name": 'Përson, "quoted"\nwith a line break',
            "original_first_name": "مختلق",
            "original_script": "Arab",
            "birthdate": "1990-XX",
            "deceased": False,
            "aliases": ["=not a formula", "'apostrophe"],
        },
        "demographics_language": {"primary_language": "sqi", "literacy": "reads"},
        "nationality_documents": {"citizenship": ["AL", "XK"], "identity_number": "007"},
        "contact_location": {"mobile_phone": "+447700900100", "mailing_postal_code": "00184"},
        "family_dependants": {"number_of_children": 0, "relatives": [{"relation": "mother"}]},
        "guardian_child": {"presumed_child": False},
        "identification_status": {"trafficking_status": "PossibleVictimOfTrafficking"},
        "trafficking_experience": {
            "age_when_trafficked": 0,
            "methods_of_control": ["DebtBondage", "PhysicalThreats"],
            "methods_of_control_defined": ["RestrictsMovement"],
        },
        "risk_security": {"risk_level": "high", "threats": [{"source": "family"}]},
        "vulnerability_needs": {"vulnerabilities": ["Poverty"]},
        "services_support": {"services_requested": ["legal", "housing"]},
        "health_general": {"fit_to_travel": "fit"},
    }
    assert set(sections) == set(SECTIONS)  # noqa: S101 - the promise of this function
    return CaseRecord(case_ref="XA-TEST-0001", sections=sections, sender="xa.nrm", invented=True)
