"""Between a case and the fields of a Primero record; pure, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from adapters.base import CaseRecord
from adapters.systems.primero import words
from adapters.wire import case_from_json, case_to_json
from schemas.errors import SchemaRefused
from schemas.sections import section_content, validate_section


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


def fields_of(case: CaseRecord, business_id: UUID, *, carry: bool) -> dict[str, Any]:
    """The fields to write. With `carry`, one of them holds the sections whole."""
    kept = case if carry else replace(case, sections={}, consent_boxes={})
    fields: dict[str, Any] = {
        words.CASE: json.dumps(case_to_json(kept), sort_keys=True, separators=(",", ":"))
    }
    for row in words.ROWS:
        value = case.sections.get(row.section, {}).get(row.field)
        if value is not None and (there := row.there(value)) is not None:
            fields[row.name] = there
    for box in words.CONSENT_FIELDS:
        if box in case.consent_boxes:
            fields[box] = case.consent_boxes[box]
    rows = [
        {"unique_id": service_id(business_id, service), "service_type": words.SERVICE[service]}
        for service in requested(case)
        if service in words.SERVICE
    ]
    if rows:
        fields[words.SERVICES] = rows
    return fields


def requested(case: CaseRecord) -> list[str]:
    """The services that the case asks for."""
    return list(case.sections.get("services_support", {}).get("services_requested", ()))


def service_id(business_id: UUID, service: str) -> str:
    """The subform's id: the same for the same referral and service, so that it is there once."""
    return str(uuid5(business_id, service))


def service_of(business_id: UUID, service_record_id: object) -> str | None:
    """The inverse of `service_id`."""
    return next(
        (one for one in words.SERVICE if service_id(business_id, one) == service_record_id), None
    )


def filed_case(record: Mapping[str, Any]) -> CaseRecord | None:
    """The case in the record, as it was filed; None if the record is not one of ours."""
    text = record.get(words.CASE)
    if not isinstance(text, str):
        return None
    try:
        return case_from_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


def case_there(record: Mapping[str, Any], business_id: UUID, *, carry: bool) -> CaseRecord | None:
    """The case as Primero holds it: as filed, and what people changed in its own fields since.

    Raises:
        SchemaRefused: What is in our field is no case of ours.
    """
    filed = filed_case(record)
    if filed is None:
        return None
    filed = checked(filed)
    as_filed = fields_of(filed, business_id, carry=True)
    sections = {name: dict(section) for name, section in filed.sections.items()}
    for row in words.ROWS:
        now, then = row.here(record.get(row.name)), row.here(as_filed.get(row.name))
        if now != then:
            _replace(sections, row.section, row.field, now)
    if not carry:
        services = [
            each
            for each in words.SERVICE
            if any(
                isinstance(one, dict) and one.get("unique_id") == service_id(business_id, each)
                for one in record.get(words.SERVICES) or ()
            )
        ]
        if services:
            _replace(sections, "services_support", "services_requested", services)
    return CaseRecord(
        case_ref=filed.case_ref,
        sections=sections,
        business_id=business_id,
        sender=filed.sender,
        invented=filed.invented,
        consent_boxes=boxes_of(record),
        handed_over=filed.handed_over,
    )


def case_sent(
    record: Mapping[str, Any], case_ref: str, service_row: Mapping[str, Any] | None
) -> CaseRecord:
    """A record of a worker here, as a case to refer for one service."""
    sections: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    for row in words.ROWS:
        given = record.get(row.name)
        if given in (None, "", []):
            continue
        value = row.here(given)
        if value is None or not _replace(sections, row.section, row.field, value):
            left.append(f"{row.name}: unknown-code")
    if service_row is not None:
        known = [o for o, t in words.SERVICE.items() if t == service_row.get("service_type")]
        if known:
            _replace(sections, "services_support", "services_requested", known)
        else:
            left.append("services_section.service_type: unknown-code")
    return CaseRecord(
        case_ref=case_ref,
        sections=sections,
        consent_boxes=boxes_of(record),
        not_carried=tuple(left),
    )


def boxes_of(record: Mapping[str, Any]) -> dict[str, bool]:
    """The record's consent boxes that are ticked or crossed."""
    return {box: record[box] for box in words.CONSENT_FIELDS if isinstance(record.get(box), bool)}


def not_held(
    case: CaseRecord, fields: Mapping[str, Any], record: Mapping[str, Any]
) -> tuple[str, ...]:
    """What did not get there, by our names: fields that the forms or the role lack, unread codes.

    Primero drops what a user may not write, and says nothing; so the record is read and compared.
    """
    there = filed_case(record)
    carried = there is not None and bool(there.sections)
    native = {
        (row.section, row.field): row.name
        for row in words.ROWS
        if row.name in fields and record.get(row.name) == fields[row.name]
    }
    paths = [
        f"{section}.{field}: no-field"
        for section, content in case.sections.items()
        for field in content
        if not carried
        and (section, field) not in native
        and (section, field) != ("services_support", "services_requested")
    ]
    paths += [
        f"{row.section}.{row.field}: no-field"
        for row in words.ROWS
        if carried and row.name in fields and record.get(row.name) != fields[row.name]
    ]
    if any(service not in words.SERVICE for service in requested(case)):
        paths.append("services_support.services_requested: no-service-type")
    return tuple(paths)


def _replace(
    sections: dict[str, dict[str, Any]], section: str, field: str, value: Any | None
) -> bool:
    changed = {**sections.get(section, {})}
    changed.pop(field, None)
    if value is not None:
        changed[field] = value
    try:
        content = section_content(validate_section(section, changed))
    except SchemaRefused:
        return False
    if content or section in sections:
        sections[section] = content
    return True
