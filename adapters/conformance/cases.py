"""Invented cases for the conformance checks: whole ones, in every script, with every code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from adapters.base import CaseRecord
from adapters.conformance.words import HOSTILE, NAMES
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS, validate_section

_FULL: dict[str, dict[str, Any]] = {
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


def full_case() -> CaseRecord:
    """An invented case with content in every section."""
    assert set(_FULL) == set(SECTIONS)  # noqa: S101 - the promise of this function
    return _case(_FULL)


def cases_in_every_script() -> Iterator[tuple[str, CaseRecord]]:
    """A case for each invented name: what it is, and the case."""
    for script, names in NAMES.items():
        for first, second in names:
            content = {"first_name": first, "second_name": second}
            if script != "Latn":
                content = {
                    "first_name": "Invented",
                    "second_name": "Nobody",
                    "original_first_name": first,
                    "original_second_name": second,
                    "original_script": script,
                }
            yield f"a name in {script}", _case({"identity_core": content})


def cases_with_hostile_text() -> Iterator[tuple[str, CaseRecord]]:
    """A case for each text that breaks careless programs."""
    for what, text in HOSTILE.items():
        sections: dict[str, dict[str, Any]] = {
            "identity_core": {"first_name": "Invented", "aliases": [text]},
            "risk_security": {"summary": text},
        }
        yield what, _case(sections)


def cases_with_every_code() -> Iterator[tuple[str, CaseRecord]]:
    """Cases that together hold every code of every list that a field of a section may hold."""
    for section, spec in SECTIONS.items():
        schema = spec.model.model_json_schema()
        for name, field in schema["properties"].items():
            for codes, many in _codes_of(field):
                # All codes of a list at once where a field holds several, else one after another.
                contents = [codes] if many else codes
                for content in contents:
                    if _is_valid(section, {name: content}):
                        yield f"{section}.{name}", _case({section: {name: content}})


def together(
    cases: Iterable[tuple[str, CaseRecord]],
) -> Iterator[tuple[CaseRecord, list[tuple[str, CaseRecord]]]]:
    """The same cases in fewer: those that share no section as one, and what it is made of."""
    waiting = list(cases)
    while waiting:
        parts: dict[str, tuple[str, CaseRecord]] = {}
        rest: list[tuple[str, CaseRecord]] = []
        for part in waiting:
            (section,) = part[1].sections
            if section in parts:
                rest.append(part)
            else:
                parts[section] = part
        whole = {section: dict(case.sections[section]) for section, (_, case) in parts.items()}
        yield _case(whole), list(parts.values())
        waiting = rest


def _codes_of(field: dict[str, Any]) -> Iterator[tuple[list[str], bool]]:
    for variant in (field, *field.get("anyOf", ())):
        if "enum" in variant:
            yield variant["enum"], False
        elif "enum" in variant.get("items", {}):
            yield variant["items"]["enum"], True


def _is_valid(section: str, content: dict[str, Any]) -> bool:
    try:
        validate_section(section, content)
    except SchemaRefused:
        return False
    return True


def _case(sections: dict[str, dict[str, Any]]) -> CaseRecord:
    return CaseRecord(case_ref="XA-TEST-0001", sections=sections, sender="xa.nrm", invented=True)
