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
        "sexual_exploitation_detail": {"types": ["PrivateSexualServices"]},
        "trafficking_route": {
            "location_of_recruitment": "Invented Agency",
            "events": [
                {"type": "Recruitment", "country": "AL", "date": "2024", "position": 1},
                {"type": "Exploitation", "country": "IT", "city": "Invented", "latitude": 0.0},
            ],
        },
        "perpetrator": {"persons": [{"roles": ["Exploiter"]}, {"name": "+invented"}]},
        "health_sexual_reproductive": {"results": [{"test": "hiv", "result": "negative"}]},
        "mental_health_psychosocial": {"suicide_alert": False},
        "migration_status": {"situations": ["returnee"], "entered_on": "2024-XX"},
        "asylum_protection": {"status": "asylum_seeker", "feared_countries": ["AL"]},
        "criminal_justice": {"proceedings": [{"role": "injured_party", "country": "IT"}]},
        "compensation_finance": {"unpaid_wages": {"amount": 0, "currency": "EUR"}},
        "return_travel": {"decision": "undecided", "legs": [{"departs_at": "23:59"}]},
        "reintegration_plan": {
            "own_goals": "تعلم مهنة",
            "plans": [{"type": "Education", "objectives": "-begin"}, {"type": "Legal"}],
        },
        "monitoring_followup": {"observations": [{"dimension": "social", "score": 0}]},
        "case_narrative": {"case_comment": "Invented, nobody.\n@home"},
        "attachments_biometrics": {"files": [{"kind": "certificate", "section": "case_admin"}]},
        "statistics_research": {"age_band": "0--8", "types_of_labour": ["Begging"]},
    }
    assert set(sections) == set(SECTIONS)  # noqa: S101 - the promise of this function
    return CaseRecord(case_ref="XA-TEST-0001", sections=sections, sender="xa.nrm", invented=True)
