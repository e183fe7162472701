"""One referral as FHIR R4 resources, and back. Pure.

ServiceRequest (the referral, and in an extension the whole case), Patient, RelatedPerson, CareTeam,
Consent, Task. Each has an identifier made of the referral's business id, so that it can be created
on the condition that it is not there, found again, and erased.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from adapters.base import CaseRecord
from adapters.systems.fhir import native, words
from adapters.systems.fhir.places import found, only
from adapters.wire import case_from_json, case_to_json
from schemas.errors import SchemaRefused
from schemas.sections import SECTIONS, section_content, validate_section

Resource: TypeAlias = dict[str, Any]

TYPES = ("Patient", "RelatedPerson", "CareTeam", "Consent", "ServiceRequest", "Task")
"""In the order in which they are made; erasing goes the other way."""

MOST = 1_000_000
"""Characters of the extension: FHIR's texts have at most 1 MiB."""


def checked(case: CaseRecord) -> CaseRecord:
    """The case with canonical sections.

    Raises:
        SchemaRefused: A section does not fit its model.
    """
    return CaseRecord(
        case_ref=case.case_ref,
        sections={
            name: section_content(validate_section(name, given))
            for name, given in case.sections.items()
        },
        sender=case.sender,
        invented=case.invented,
        consent_boxes=dict(case.consent_boxes),
        handed_over=case.handed_over,
    )


def resources_of(case: CaseRecord, business_id: UUID) -> dict[str, Resource]:
    """The resources of a case by part; they refer to each other as `urn:part:<part>`.

    Raises:
        SchemaRefused: The case is too large for a text of FHIR.
    """
    sections = case.sections
    made: dict[str, Resource] = {"patient": _made("Patient", case, business_id, "patient")}
    native.write(native.PATIENT, sections, made["patient"])

    guardian: Resource = _made("RelatedPerson", case, business_id, "guardian")
    native.write(native.GUARDIAN, sections, guardian)
    if guardian.keys() & {"name", "telecom"}:
        guardian["relationship"] = [
            {"coding": [{"system": words.ROLE, "code": "GUARD"}]},
        ]
        made["guardian"] = guardian
    for number, relative in enumerate(sections.get("family_dependants", {}).get("relatives", ())):
        part = f"relative-{number}"
        made[part] = _made("RelatedPerson", case, business_id, part)
        native.write(native.RELATIVE, {"family_dependants": relative}, made[part])
    for related in made.values():
        if related["resourceType"] == "RelatedPerson":
            related["patient"] = _to("patient")

    team = _made("CareTeam", case, business_id, "team")
    native.write(native.CARE_TEAM, sections, team)
    if "participant" in team:
        made["team"] = {**team, "status": "active", "subject": _to("patient")}
    made["consent"] = _consent(case, business_id)
    made["request"] = _request(case, business_id)
    made["task"] = _task(case, business_id)
    return made


def _made(kind: str, case: CaseRecord, business_id: UUID, part: str) -> Resource:
    identifiers = [{"system": words.REFERRAL, "value": str(business_id)}]
    if part:
        identifiers.append({"system": words.PART, "value": f"{business_id}.{part}"})
    labels = [words.VERY_RESTRICTED, *([words.TEST_DATA] if case.invented else [])]
    return {
        "resourceType": kind,
        "meta": {"security": copy.deepcopy(labels)},
        "identifier": identifiers,
    }


def _to(part: str) -> dict[str, str]:
    return {"reference": f"urn:part:{part}"}


def _participant(name: str | None) -> dict[str, Any]:
    return {"identifier": {"system": words.PARTICIPANT, "value": name or "unknown"}}


def _consent(case: CaseRecord, business_id: UUID) -> Resource:
    """That there is a consent, and where: it is proposed here, and never a grant by itself."""
    return {
        **_made("Consent", case, business_id, "consent"),
        "extension": [
            {
                "url": words.CONSENT_BOX,
                "extension": [
                    {"url": "box", "valueString": box},
                    {"url": "ticked", "valueBoolean": ticked},
                ],
            }
            for box, ticked in case.consent_boxes.items()
        ],
        "status": "proposed",
        "scope": {"coding": [{"system": words.CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": words.ACT_CODE, "code": "IDSCL"}]}],
        "patient": _to("patient"),
        "policyRule": {"text": "The signed grant is in the referral gateway; this is no grant."},
    }


def _request(case: CaseRecord, business_id: UUID) -> Resource:
    text = json.dumps(case_to_json(case), sort_keys=True, separators=(",", ":"))
    if len(text) > MOST:
        raise SchemaRefused(where=("case: too-large",))
    request = {
        **_made("ServiceRequest", case, business_id, ""),
        "extension": [{"url": words.CASE, "valueString": text}],
        "status": "active",
        "intent": "order",
        "code": {"text": "Case transfer" if case.handed_over else "Referral"},
        "subject": _to("patient"),
        "requester": _participant(case.sender),
    }
    request["identifier"].append({"system": words.CASE_NUMBER, "value": case.case_ref})
    native.write(native.SERVICE_REQUEST, case.sections, request)
    return request


def _task(case: CaseRecord, business_id: UUID) -> Resource:
    return {
        **_made("Task", case, business_id, ""),
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": words.TASK_CODE, "code": "fulfill"}]},
        "focus": _to("request"),
        "for": _to("patient"),
        "requester": _participant(case.sender),
        "businessStatus": {
            "coding": [{"system": words.BUSINESS_STATUS, "code": "2.0"}],
        },
    }


def kept(there: Mapping[str, Any], new: Resource) -> Resource:
    """The new content of a resource, with what others put beside it: other members, other elements.

    An element that one of our rows would select is ours, whoever changed it, and is replaced.
    """
    rows = (*_ROWS.get(new["resourceType"], ()), *native.GUARDIAN, *native.RELATIVE)
    written = {row.place[0] for row in rows}
    for name, value in there.items():
        if isinstance(value, list) and (name in new or name in written):
            ours = [row.place[1] for row in rows if row.place[0] == name and len(row.place) > 1]
            others = [
                copy.deepcopy(each)
                for each in value
                if not _is_ours(each) and not any(found([each], (one,)) for one in ours)
            ]
            if others:
                new[name] = [*new.get(name, ()), *others]
        elif name not in new and name not in written:
            new[name] = copy.deepcopy(value)
    return new


def _is_ours(element: Any) -> bool:
    if not isinstance(element, dict):
        return False
    mark = element.get("url") or element.get("system") or ""
    return isinstance(mark, str) and mark.startswith(words.OURS)


_ROWS = {
    "Patient": native.PATIENT,
    "ServiceRequest": native.SERVICE_REQUEST,
    "CareTeam": native.CARE_TEAM,
}


def business_id_of(resource: Mapping[str, Any]) -> UUID | None:
    """The referral that a ServiceRequest or Task was filed for; None if it is not one of ours."""
    value = only(resource, ("identifier", {"system": words.REFERRAL}, "value"))
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def filed_case(request: Mapping[str, Any]) -> CaseRecord | None:
    """The case in the extension, as it was filed; None if there is none that can be read."""
    text = only(request, ("extension", {"url": words.CASE}, "valueString"))
    if not isinstance(text, str):
        return None
    try:
        return case_from_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


def case_there(resources: Sequence[Mapping[str, Any]], business_id: UUID) -> CaseRecord | None:
    """The case as the system holds it: as it was filed, and what people changed in it since.

    A native element that says something else than what was filed was changed there, and counts;
    but not if the whole section would no longer fit its model.

    Raises:
        SchemaRefused: What is in the extension is no case of ours.
    """
    request = next((each for each in resources if each["resourceType"] == "ServiceRequest"), None)
    filed = filed_case(request) if request is not None else None
    if filed is None:
        return None
    filed = checked(filed)
    as_filed = resources_of(filed, business_id).values()
    sections = {name: dict(section) for name, section in filed.sections.items()}
    for rows, kind in ((rows, kind) for kind, rows in _ROWS.items()):
        then = _read_all(rows, kind, as_filed)
        now = _read_all(rows, kind, resources)
        if now is None or then is None:
            continue
        for row in rows:
            said = now.get(row.section, {}).get(row.field)
            if said != then.get(row.section, {}).get(row.field):
                _replace(sections, row.section, row.field, said)
    return CaseRecord(
        case_ref=filed.case_ref,
        sections=sections,
        business_id=business_id,
        sender=filed.sender,
        invented=filed.invented,
        consent_boxes=filed.consent_boxes,
        handed_over=filed.handed_over,
    )


def _read_all(
    rows: tuple[native.Row, ...], kind: str, resources: Iterable[Mapping[str, Any]]
) -> native.Draft | None:
    of_kind = [each for each in resources if each["resourceType"] == kind]
    return native.read(rows, of_kind[0])[0] if len(of_kind) == 1 else None


def _replace(
    sections: dict[str, dict[str, Any]], section: str, field: str, value: Any | None
) -> None:
    changed = {**sections.get(section, {})}
    changed.pop(field, None)
    if value is not None:
        changed[field] = value
    try:
        content = section_content(validate_section(section, changed))
    except SchemaRefused:
        return
    if content or section in sections:
        sections[section] = content


def boxes_of(consents: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """What the consents of a person say, for a worker to look at; never a grant."""
    boxes: dict[str, bool] = {}
    for number, consent in enumerate(consents):
        for each in found(consent, ("extension", {"url": words.CONSENT_BOX})):
            box = only(each, ("extension", {"url": "box"}, "valueString"))
            ticked = only(each, ("extension", {"url": "ticked"}, "valueBoolean"))
            if isinstance(box, str) and isinstance(ticked, bool):
                boxes[box] = ticked
        if not found(consent, ("extension", {"url": words.CONSENT_BOX})):
            permits = only(consent, ("provision", "type")) != "deny"
            boxes[f"Consent[{number}]"] = consent.get("status") == "active" and permits
    return boxes


def known_sections(draft: native.Draft) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What of a draft fits our models, field by field, and the paths of what does not."""
    sections: dict[str, dict[str, Any]] = {}
    refused: list[str] = []
    for section, fields in draft.items():
        for field, value in fields.items():
            try:
                validate_section(section, {field: value})
                content = section_content(
                    validate_section(section, {**sections.get(section, {}), field: value})
                )
            except SchemaRefused:
                refused.append(f"{section}.{field}: bad-value")
            else:
                sections[section] = content
    return {name: sections[name] for name in SECTIONS if name in sections}, refused
