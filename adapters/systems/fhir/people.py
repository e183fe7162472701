"""Who on a FHIR server may be the person of a case, and the link to one of them.

Asked by `POST Patient/_search`, so that no name and no number stands in a URL, and by `$match` where
the server has it. What the server finds is compared here once more: its searches are looser than a
worker's time allows. A link is `Patient.link` of the type `seealso`: both records stay in use, and
neither is said to replace the other (R4, Patient).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.base import MOST_CANDIDATES, Candidate, CaseRecord, Match
from adapters.likeness import NUMBERS, likeness
from adapters.systems.fhir import native, words
from adapters.systems.fhir.places import found, only
from adapters.systems.fhir.resources import Resource, business_id_of, checked
from adapters.systems.fhir.server import FhirServer, is_id

SEE_ALSO: Final = "seealso"


def candidates(server: FhirServer, case: CaseRecord, *, match: bool) -> tuple[Candidate, ...]:
    """The people there who may be this one, the likeliest first.

    Args:
        match: The server has `$match`.
    """
    sections = checked(case).sections
    people = {person["id"]: person for query in _queries(sections) for person in query(server)}
    alike: dict[str, Candidate] = {}
    for id_, person in people.items():
        one = _likest(sections, person, id_)
        if one is not None:
            alike[id_] = one
    if match and sections.get("identity_core"):
        for person, score in server.match(_person(sections), most=MOST_CANDIDATES):
            people.setdefault(person["id"], person)
            id_ = person["id"]
            alike.setdefault(id_, Candidate(f"Patient/{id_}", Match.SCORE, score=score))
    # A record that is linked to another of them is looked at with it.
    left = [one for id_, one in alike.items() if not _linked(people[id_]) & alike.keys() - {id_}]
    order = list(Match)
    left.sort(key=lambda one: (order.index(one.match), -(one.score or 0), one.reference))
    return tuple(left[:MOST_CANDIDATES])


def _queries(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
    for section, field in NUMBERS:
        number = sections.get(section, {}).get(field)
        if number is not None:
            # In the form in which it came: the servers know no other.
            yield lambda server, value=number: server.people({"identifier": value})
    person = sections.get("identity_core", {})
    for prefix in ("", "original_"):
        given, family = (person.get(f"{prefix}{part}_name") for part in ("first", "second"))
        if given and family:
            form = {"given": given, "family": family}
            yield lambda server, form=form: server.people(form)


def _likest(
    sections: Mapping[str, Mapping[str, Any]], person: Resource, id_: str
) -> Candidate | None:
    """The candidate, by whichever of the person's names and numbers is most like."""
    found_alike: Candidate | None = None
    for there in _readings(person):
        alike = likeness(sections, there)
        if alike is not None and (found_alike is None or alike.match is Match.NUMBER):
            found_alike = Candidate(f"Patient/{id_}", alike.match, alike.fields)
    return found_alike


def _readings(person: Resource) -> Iterator[dict[str, dict[str, Any]]]:
    """A foreign Patient may have several names and numbers: each with each."""
    names = [
        {"first_name": only(name, ("given", 0)), "second_name": only(name, ("family",))}
        for name in found(person, ("name", {}))
    ]
    numbers: list[str | None] = [
        number
        for each in found(person, ("identifier", {}))
        if not str(each.get("system", "")).startswith(words.OURS)
        and isinstance(number := each.get("value"), str)
    ]
    for name in names or [{}]:
        for number in numbers or [None]:
            born = person.get("birthDate")
            for _, field in NUMBERS:
                yield {
                    "identity_core": {**name, "birthdate": born},
                    "nationality_documents": {field: number},
                }


def _person(sections: Mapping[str, Mapping[str, Any]]) -> Resource:
    """The person to be asked about, and nothing of the case."""
    person: Resource = {"resourceType": "Patient"}
    asked = {name: sections[name] for name in ("identity_core",) if name in sections}
    numbers = {
        field: value
        for section, field in NUMBERS
        if (value := sections.get(section, {}).get(field)) is not None
    }
    native.write(native.PATIENT, {**asked, "nationality_documents": numbers}, person)
    return person


def _linked(person: Resource) -> set[str]:
    """Ids of the Patients that one says to be the same person."""
    links = found(person, ("link", {"type": SEE_ALSO}, "other", "reference"))
    return {str(link).rpartition("/")[2] for link in links}


def patient_of(server: FhirServer, reference: str) -> str | None:
    """The Patient that a candidate's reference names, or that of a filed referral; None if gone."""
    kind, slash, id_ = reference.rpartition("/")
    if not is_id(id_) or (slash and kind != "Patient"):
        return None
    if not slash:
        request = server.read("ServiceRequest", id_)
        subject = None if request is None else only(request, ("subject", "reference"))
        if not isinstance(subject, str) or not is_id(id_ := subject.rpartition("/")[2]):
            return None
    return f"Patient/{id_}" if server.read("Patient", id_) is not None else None


def link_to(patient: str) -> list[dict[str, Any]]:
    """`Patient.link` of a case whose person is known."""
    return [{"other": {"reference": patient}, "type": SEE_ALSO}]


def linking_to(server: FhirServer, patient_id: str) -> list[Resource]:
    """Patients that we filed and linked to this one, without that link: it is to be erased."""
    people = server.search("Patient", {"link": f"Patient/{patient_id}"})
    return [_without_link(each, patient_id) for each in people if business_id_of(each) is not None]


def _without_link(person: Resource, patient_id: str) -> Resource:
    links = [
        link
        for link in person.get("link", ())
        if str(only(link, ("other", "reference"))).rpartition("/")[2] != patient_id
    ]
    left = {name: value for name, value in person.items() if name != "link"}
    return {**left, "link": links} if links else left
