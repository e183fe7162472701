"""Bundles and Tasks that other systems made, as cases. Pure but for opening the file.

Foreign means: other code systems, extensions that nobody told us of, elements that are missing,
contained resources, dates without a day. What our sections hold is read (`native`); everything else
is named by its element, in `CaseRecord.not_carried`, and what belongs to no case is a rejected row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from adapters.base import CaseRecord, RejectedRow, Source
from adapters.systems.fhir import native, words
from adapters.systems.fhir.bundle import Entry, Whole, entries_of, opened
from adapters.systems.fhir.places import found, only, pruned, put
from adapters.systems.fhir.resources import (
    Resource,
    boxes_of,
    business_id_of,
    case_there,
    known_sections,
)
from adapters.systems.files.mapping import CASE_REF_FORM, names_the_person
from schemas.errors import SchemaRefused
from schemas.sections.whole import check_together

_OF_PERSON = ("RelatedPerson", "CareTeam", "Consent")
_STRUCTURE = frozenset({"resourceType", "id", "meta", "implicitRules", "language", "contained"})
_LINKS = frozenset({"subject", "patient", "for", "focus"})
_DECIDING = frozenset({"Patient", "ServiceRequest", "Task", "RelatedPerson"})
_OF_REFERRAL = frozenset(
    {
        "status",
        "intent",
        "code",
        "owner",
        "requester",
        "authoredOn",
        "lastModified",
        "businessStatus",
        "priority",
        "scope",
        "category",
        "dateTime",
        "policyRule",
        "performer",
        "identifier",
    }
)
"""Of Task and Consent: who does it, how far it is, that there is one. Shown as boxes, or the exchange's
own; what else stands there is named."""
_SAYS_NOTHING = frozenset({"use", "system", "url", "preferred", "rank", "display", "authorString"})
"""What is left of an element whose value was taken: which one it was."""
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z]{0,39}")


def read_bundle(
    source: Source, *, number_system: str | None = None
) -> Iterator[CaseRecord | RejectedRow]:
    """The cases of a Bundle: one for each ServiceRequest, and each Patient without one.

    Raises:
        SchemaRefused: It is no Bundle, or too large.
        NotFound: There is no such file.
    """
    bundle = opened(source)
    entries = entries_of(bundle)
    whole = Whole(entries)
    used: set[int] = set()
    requests = [entry for entry in entries if entry.kind == "ServiceRequest"]
    for request in requests:
        yield _case(request, whole, used, number_system)
    for patient in entries:
        if patient.kind == "Patient" and patient.number not in used:
            yield _case(patient, whole, used, number_system)
    for entry in entries:
        if entry.number not in used:
            yield RejectedRow(entry.number, (f"{_named(entry.kind)}: of-no-case",))
    if found(bundle, ("link", {"relation": "next"})):
        # One page of a search: the cases of the others are not here.
        yield RejectedRow(len(entries) + 1, ("Bundle.link: more-pages",))


def case_of_task(
    task: Resource, around: Sequence[Resource], number_system: str | None
) -> CaseRecord | RejectedRow:
    """The case that a Task asks another country to take on; its number is the Task's own."""
    entries = [
        Entry(number, each, frozenset({f"{each['resourceType']}/{each.get('id')}"}))
        for number, each in enumerate(around, start=1)
    ]
    first = next((entry for entry in entries if entry.kind == "ServiceRequest"), None)
    first = first or next((entry for entry in entries if entry.kind == "Patient"), None)
    if first is None:
        return RejectedRow(1, ("Task.focus: missing",))
    return _case(first, Whole(entries), set(), number_system, numbered=task)


def _case(
    start: Entry,
    whole: Whole,
    used: set[int],
    number_system: str | None,
    *,
    numbered: Resource | None = None,
) -> CaseRecord | RejectedRow:
    used.add(start.number)
    patient = start
    if start.kind == "ServiceRequest":
        one = whole.referred(start, start.resource.get("subject"))
        if one is None or one.kind != "Patient":
            return RejectedRow(start.number, ("ServiceRequest.subject: missing",))
        patient = one
    used.add(patient.number)
    belonging = [start, patient] if start is not patient else [patient]
    for entry in whole.about({start.number, patient.number}):
        if entry.kind != "ServiceRequest" and entry.number not in (start.number, patient.number):
            belonging.append(entry)
            used.add(entry.number)
    resources = [entry.resource for entry in belonging]
    if undone := [reason for each in resources for reason in _undone(each)]:
        return RejectedRow(start.number, tuple(undone))

    business_id = business_id_of(start.resource)
    try:
        ours = None if business_id is None else case_there(resources, business_id)
    except SchemaRefused:
        return RejectedRow(start.number, ("ServiceRequest.extension: bad-value",))
    if ours is not None:
        return ours

    draft, left = _draft(resources)
    left += _not_read_inside(belonging, patient)
    sections, refused = known_sections(draft)
    case_ref = _number(numbered or start.resource, number_system)
    reasons = []
    if case_ref is None:
        reasons.append(f"{start.kind}.identifier: missing")
    elif names_the_person(case_ref, sections.get("identity_core", {})):
        reasons.append(f"{start.kind}.identifier: names-the-person")
    if not sections:
        reasons.append(f"{start.kind}: nothing-known")
    try:
        check_together(sections)
    except SchemaRefused as error:
        reasons += error.where
    if reasons or case_ref is None:
        return RejectedRow(start.number, tuple(reasons))
    return CaseRecord(
        case_ref=case_ref,
        sections=sections,
        invented=bool(found(start.resource, ("meta", "security", words.TEST_DATA))),
        consent_boxes=boxes_of(each for each in resources if each["resourceType"] == "Consent"),
        not_carried=(*refused, *left),
    )


def _undone(resource: Resource) -> list[str]:
    """Why this is no case to be referred, whatever else stands in it."""
    kind = _named(resource["resourceType"])
    reasons = []
    if resource.get("status") in ("revoked", "entered-in-error", "cancelled"):
        reasons.append(f"{kind}.status: not-in-force")
    if resource.get("doNotPerform") is True:
        reasons.append(f"{kind}.doNotPerform: not-in-force")
    if resource.get("modifierExtension"):
        # R4: what modifies the meaning and is not understood forbids to use the rest.
        reasons.append(f"{kind}.modifierExtension: not-understood")
    return reasons if kind in _DECIDING else []


def _not_read_inside(belonging: Sequence[Entry], patient: Entry) -> list[str]:
    """Resources inside of others, but for the person herself."""
    paths = []
    for entry in belonging:
        inside = entry.resource.get("contained")
        for number, inner in enumerate(inside if isinstance(inside, list) else ()):
            if inner is not patient.resource:
                paths.append(f"{_named(entry.kind)}.contained[{number}]")
    return paths


def _draft(resources: Iterable[Resource]) -> tuple[native.Draft, list[str]]:
    """What our sections hold of some resources, and what of them they do not."""
    draft: native.Draft = {}
    unread: list[str] = []
    for resource in resources:
        kind = resource["resourceType"]
        if kind in ("Consent", "Task"):
            unread += _left(kind, _but_the_usual(resource))
            continue
        if kind == "RelatedPerson":
            part, left = _related(resource)
        elif kind in _ROWS:
            part, left = native.read(_ROWS[kind], _tidy(resource))
        else:
            unread.append(f"{_named(kind)}: not-read")
            continue
        for section, fields in part.items():
            for field, value in fields.items():
                known = draft.setdefault(section, {})
                if field == "relatives":
                    known.setdefault(field, []).extend(value)
                elif field in known:
                    unread.append(f"{section}.{field}: twice")
                else:
                    known[field] = value
        unread += _left(kind, left)
    return draft, unread


_ROWS = {
    "Patient": native.PATIENT,
    "ServiceRequest": native.SERVICE_REQUEST,
    "CareTeam": native.CARE_TEAM,
}


def _but_the_usual(resource: Resource) -> Resource:
    """A Task or Consent without what is the exchange's own, or is shown to a worker as a box."""
    left = {name: value for name, value in resource.items() if name not in _OF_REFERRAL}
    provision = left.get("provision")
    if isinstance(provision, dict) and provision.keys() <= {"type"}:
        del left["provision"]
    return left


def _tidy(resource: Resource) -> Resource:
    """Further given names become one text with the second, as our sections have them."""
    tidy: Resource = json.loads(json.dumps(resource))
    for name in found(tidy, ("name", {})):
        given = name.get("given")
        if isinstance(given, list) and len(given) > 2 and all(isinstance(x, str) for x in given):
            put(name, ("given",), [given[0], " ".join(given[1:])])
    return tidy


def _related(resource: Resource) -> tuple[native.Draft, Resource]:
    named = _tidy(resource)
    for name in found(named, ("name", {})):
        given = name.get("given")
        parts = [*(given if isinstance(given, list) else [given]), name.get("family")]
        if "text" not in name and all(isinstance(part, str) for part in parts if part):
            name["text"] = " ".join(part for part in parts if part)
            name.pop("given", None)
            name.pop("family", None)
    if native.is_guardian(named):
        draft, left = native.read(native.GUARDIAN, named)
        left.pop("relationship", None)
        return draft, left
    draft, left = native.read(native.RELATIVE, named)
    relative = draft.get("family_dependants")
    return ({"family_dependants": {"relatives": [relative]}} if relative else {}), left


def _left(kind: str, resource: Resource) -> list[str]:
    """The elements that nobody took, by name and number."""
    paths = []
    for name, value in (pruned(resource) or {}).items():
        if name in _STRUCTURE | _LINKS or (name == "text" and _is_generated(value)):
            continue
        if kind == "ServiceRequest" and (name == "intent" or (name, value) == ("status", "active")):
            continue
        if kind in _OF_PERSON and name in ("status", "active"):
            continue
        many = isinstance(value, list)
        for number, each in enumerate(value if many else [value]):
            if _says_something(each):
                paths.append(f"{_named(kind)}.{_named(name)}{f'[{number}]' if many else ''}")
    return paths


def _is_generated(narrative: Any) -> bool:
    return isinstance(narrative, dict) and narrative.get("status") in ("generated", "empty")


def _says_something(value: Any) -> bool:
    if isinstance(value, dict):
        if str(value.get("system", "")).startswith(words.OURS):
            return False
        return any(
            name not in _SAYS_NOTHING and _says_something(each) for name, each in value.items()
        )
    if isinstance(value, list):
        return any(map(_says_something, value))
    return value is not None


def _named(element: str) -> str:
    """An element's name; in a hostile file it may be anything."""
    return element if _ELEMENT.fullmatch(element) else "unknown-element"


def _number(resource: Resource, number_system: str | None) -> str | None:
    """The case number: of the country's own system, the placer's, or the resource's id."""
    placer = {"type": {"coding": [{"system": words.IDENTIFIER_TYPE, "code": "PLAC"}]}}
    for place in (
        ("identifier", {"system": number_system}, "value") if number_system else None,
        ("identifier", placer, "value"),
        ("identifier", {"system": words.CASE_NUMBER}, "value"),
        ("id",),
    ):
        value = None if place is None else only(resource, place)
        if isinstance(value, str) and CASE_REF_FORM.fullmatch(value):
            return value
    return None
