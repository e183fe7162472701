"""Bundles and Tasks that other systems made, as cases. Pure but for opening the file.

Foreign means: other code systems, extensions that nobody told us of, elements that are missing,
contained resources, dates without a day. What our sections hold is read (`native`); everything else
is named by its element, in `CaseRecord.not_carried`, and what belongs to no case is a rejected row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import CaseRecord, RejectedRow, Source
from adapters.systems.fhir import native, words
from adapters.systems.fhir.places import found, only, pruned, put
from adapters.systems.fhir.resources import (
    Resource,
    boxes_of,
    business_id_of,
    case_there,
    known_sections,
)
from adapters.systems.files.mapping import CASE_REF_FORM, names_the_person
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused
from schemas.sections.whole import check_together

MOST = 256 << 20
"""Bytes of one Bundle, which is held whole: JSON of FHIR has no order to stream by."""

_OF_PERSON = ("RelatedPerson", "CareTeam", "Consent")
_STRUCTURE = frozenset({"resourceType", "id", "meta", "implicitRules", "language", "contained"})
_LINKS = frozenset({"subject", "patient", "for", "focus"})
_SAYS_NOTHING = frozenset({"use", "system", "url", "preferred", "rank", "display", "authorString"})
"""What is left of an element whose value was taken: which one it was."""
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z]{0,39}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource of a Bundle: its number from 1, and what others may call it."""

    number: int
    resource: Resource
    names: frozenset[str]

    @property
    def kind(self) -> str:
        """Its resource type."""
        return str(self.resource["resourceType"])


def read_bundle(
    source: Source, *, number_system: str | None = None
) -> Iterator[CaseRecord | RejectedRow]:
    """The cases of a Bundle: one for each ServiceRequest, and each Patient without one.

    Raises:
        SchemaRefused: It is no Bundle, or too large.
        NotFound: There is no such file.
    """
    entries = _entries(_parsed(_bytes(source)))
    used: set[int] = set()
    requests = [entry for entry in entries if entry.kind == "ServiceRequest"]
    for request in requests:
        yield _case(request, entries, used, number_system)
    for patient in entries:
        if patient.kind == "Patient" and patient.number not in used:
            yield _case(patient, entries, used, number_system)
    for entry in entries:
        if entry.number not in used:
            yield RejectedRow(entry.number, (f"{_named(entry.kind)}: of-no-case",))


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
    return _case(first, entries, set(), number_system, numbered=task)


def _bytes(source: Source) -> bytes:
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                content = file.read(MOST + 1)
        else:
            content = source.read(MOST + 1)
    except FileNotFoundError:
        raise NotFound("no such file") from None
    except OSError as error:
        raise CaseSystemUnavailable(f"cannot open the file: errno {error.errno}") from None
    if len(content) > MOST:
        raise SchemaRefused("a Bundle of more than 256 MiB")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        bundle = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise SchemaRefused("not JSON") from None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise SchemaRefused("not a FHIR Bundle")
    return bundle


def _entries(bundle: Mapping[str, Any]) -> list[Entry]:
    given = bundle.get("entry", [])
    if not isinstance(given, list):
        raise SchemaRefused("not a FHIR Bundle", where=("entry",))
    entries = []
    for number, each in enumerate(given, start=1):
        resource = each.get("resource") if isinstance(each, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            raise SchemaRefused("an entry without a resource", where=(f"entry[{number}]",))
        names = {f"{resource['resourceType']}/{resource['id']}"} if "id" in resource else set()
        if isinstance(each.get("fullUrl"), str):
            names.add(each["fullUrl"])
        entries.append(Entry(number, resource, frozenset(names)))
    return entries


def _case(
    start: Entry,
    entries: Sequence[Entry],
    used: set[int],
    number_system: str | None,
    *,
    numbered: Resource | None = None,
) -> CaseRecord | RejectedRow:
    used.add(start.number)
    patient = start
    if start.kind == "ServiceRequest":
        one = _referred(start, start.resource.get("subject"), entries)
        if one is None or one.kind != "Patient":
            return RejectedRow(start.number, ("ServiceRequest.subject: missing",))
        patient = one
    used.add(patient.number)
    belonging = [start, patient] if start is not patient else [patient]
    for entry in entries:
        link = entry.resource.get("patient") or entry.resource.get("subject")
        about = entry.resource.get("focus") or link or entry.resource.get("for")
        if entry.kind == "ServiceRequest" or entry in belonging:
            continue
        if _referred(entry, about, entries) in (start, patient):
            belonging.append(entry)
            used.add(entry.number)
    resources = [entry.resource for entry in belonging]

    business_id = business_id_of(start.resource)
    try:
        ours = None if business_id is None else case_there(resources, business_id)
    except SchemaRefused:
        return RejectedRow(start.number, ("ServiceRequest.extension: bad-value",))
    if ours is not None:
        return ours

    draft, left = _draft(resources)
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


def _referred(entry: Entry, link: Any, entries: Sequence[Entry]) -> Entry | None:
    """The resource that a reference names: in the Bundle, or contained in the one that refers."""
    name = link.get("reference") if isinstance(link, dict) else None
    if not isinstance(name, str):
        return None
    if name.startswith("#"):
        for inner in entry.resource.get("contained", ()):
            if isinstance(inner, dict) and inner.get("id") == name[1:]:
                return Entry(entry.number, inner, frozenset())
        return None
    whole = [one for one in entries if name in one.names]
    # `https://server/fhir/Patient/1` is what the Bundle may have as `Patient/1`.
    whole = whole or [one for one in entries if "/".join(name.split("/")[-2:]) in one.names]
    return whole[0] if len(whole) == 1 else None


def _draft(resources: Iterable[Resource]) -> tuple[native.Draft, list[str]]:
    """What our sections hold of some resources, and what of them they do not."""
    draft: native.Draft = {}
    unread: list[str] = []
    for resource in resources:
        kind = resource["resourceType"]
        if kind == "Consent":
            continue  # shown as boxes; a grant is made by a worker
        if kind == "Task":
            continue  # who is to do it, and how far it is: the referral's, not the case's
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
        if kind == "ServiceRequest" and name in ("status", "intent"):
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
