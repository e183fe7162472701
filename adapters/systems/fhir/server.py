"""What is asked of a FHIR R4 server: searches with all their pages, transactions, history.

Outcomes are told apart by status and by the issue codes of an OperationOutcome; its diagnostics may
repeat what was sent, so nobody reads them (R4, RESTful API and OperationOutcome).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from adapters.systems.fhir import words
from adapters.systems.fhir.resources import TYPES, Resource
from adapters.systems.rest import Answer, Json, Rest
from schemas.errors import CaseSystemUnavailable, SchemaRefused

PAGE = 100
MOST_PAGES = 1000

_ID = re.compile(r"(?!\.+$)[A-Za-z0-9.\-]{1,64}")
_ISSUE = re.compile(r"[a-z][a-z-]{0,39}")
_PLACE = re.compile(r"[A-Z][A-Za-z]{0,40}(?:\.[a-z][A-Za-z]{0,40}(?:\[\d{1,4}\])?){0,8}")


class Stale(Exception):
    """Somebody else changed it, or made it, in the meantime (409, 412)."""


class Rejected(Exception):
    """The server does not take it. Holds issue codes and paths, never words."""

    def __init__(self, code: str, where: tuple[str, ...]) -> None:
        self.code, self.where = code, where
        super().__init__(code)


class FhirServer:
    """One server under its base URL."""

    def __init__(self, rest: Rest, headers: Callable[[], Mapping[str, str]]) -> None:
        self._rest, self._headers = rest, headers

    def conformant(self) -> None:
        """Return if it is a FHIR R4 server that lets us in.

        Raises:
            CaseSystemUnavailable: It is not.
        """
        answer = self._ask("GET", "metadata")
        version = (answer.body or {}).get("fhirVersion", "") if answer.good else ""
        if not str(version).startswith("4.0"):
            raise CaseSystemUnavailable("not a FHIR R4 server")
        self._ask("GET", "Task", query={"_count": "1"})

    def read(self, kind: str, id_: str) -> Resource | None:
        """A resource, or None if there is none any more, or never was."""
        answer = self._ask("GET", f"{kind}/{id_}", gone=True)
        return answer.body if answer.good else None

    def search(self, kind: str, query: Mapping[str, str]) -> Iterator[Resource]:
        """Every match, page by page, as the server links them."""
        answer = self._ask("GET", kind, query={"_count": str(PAGE), **query})
        for _ in range(MOST_PAGES):
            bundle = _bundle(answer.body)
            for entry in bundle.get("entry", ()):
                resource = entry.get("resource")
                if isinstance(resource, dict) and resource.get("resourceType") == kind:
                    yield resource
            link = next(
                (each["url"] for each in bundle.get("link", ()) if each.get("relation") == "next"),
                None,
            )
            if link is None:
                return
            answer = self._ask("GET", self._under(link))
        raise CaseSystemUnavailable("a search without an end")

    def people(self, form: Mapping[str, str]) -> list[Resource]:
        """Patients that match, asked in a body: what is looked for stands in no URL.

        One page: the links to others would repeat the question, and nobody looks at so many.
        """
        answer = self._ask("POST", "Patient/_search", form={"_count": str(PAGE), **form})
        return [person for person, _ in _people(answer.body)]

    def match(self, person: Resource, *, most: int) -> list[tuple[Resource, int | None]]:
        """Patients whom the server itself takes for likely, with its score out of 100."""
        asked = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "resource", "resource": person},
                {"name": "count", "valueInteger": most},
                {"name": "onlyCertainMatches", "valueBoolean": False},
            ],
        }
        return _people(self._ask("POST", "Patient/$match", json_body=asked).body)[:most]

    def all_of(self, value: str) -> list[Resource]:
        """Every resource that was filed under a business id, whatever its kind."""
        asked = [
            {"request": {"method": "GET", "url": f"{kind}?{urlencode(named(value))}"}}
            for kind in TYPES
        ]
        bundle = self._send({"resourceType": "Bundle", "type": "batch", "entry": asked})
        resources: list[Resource] = []
        for entry in bundle.get("entry", ()):
            found = _bundle(entry.get("resource"))
            resources += [each["resource"] for each in found.get("entry", ()) if "resource" in each]
        return resources

    def transaction(self, entries: Sequence[Json]) -> None:
        """Do all of it or nothing.

        Raises:
            Stale: A condition does not hold any more.
            Rejected: The server takes none of it.
        """
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
        answer = self._send(bundle, changes=True)
        statuses = [
            str(each.get("response", {}).get("status", ""))[:3] for each in answer.get("entry", ())
        ]
        # Whole or not at all, by R4; a server that thinks otherwise is not taken at its word.
        bad = [status for status in statuses if not status.startswith("2")]
        if any(status in ("409", "412") for status in bad):
            raise Stale
        if bad or len(statuses) != len(entries):
            raise CaseSystemUnavailable("a transaction that was done in part")

    def update(self, resource: Resource) -> None:
        """Replace one resource, if it is still the version that was read.

        Raises:
            Stale, Rejected.
        """
        match = {"if-match": f'W/"{version_of(resource)}"'}
        path = f"{resource['resourceType']}/{resource['id']}"
        self._ask("PUT", path, json_body=resource, headers=match, changes=True)

    def keeps_history(self, kind: str, id_: str) -> bool:
        """True if what was deleted can still be read in an older version."""
        answer = self._ask("GET", f"{kind}/{id_}/_history", gone=True)
        entries = (answer.body or {}).get("entry", ()) if answer.good else ()
        return any(len(each.get("resource", {}).keys() - {"meta", "id"}) > 1 for each in entries)

    def versions(self, resource: Resource) -> list[Resource]:
        """The versions of a resource, oldest first; itself alone if the server keeps no history."""
        path = f"{resource['resourceType']}/{resource['id']}/_history"
        answer = self._ask("GET", path, gone=True, query={"_count": str(PAGE)})
        entries = (answer.body or {}).get("entry", ()) if answer.good else ()
        found = [each["resource"] for each in entries if "resource" in each]
        return sorted(found, key=_age) or [resource]

    def expunge(self, kind: str, id_: str) -> None:
        """Remove the history too, on a server that has this operation."""
        body = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "expungeDeletedResources", "valueBoolean": True},
                {"name": "expungePreviousVersions", "valueBoolean": True},
            ],
        }
        self._ask("POST", f"{kind}/{id_}/$expunge", json_body=body, gone=True)

    def _send(self, bundle: Json, *, changes: bool = False) -> Json:
        return _bundle(self._ask("POST", "", json_body=bundle, changes=changes).body)

    def _under(self, link: Any) -> str:
        """A link of the server; it may not lead our token anywhere else."""
        if not isinstance(link, str):
            raise CaseSystemUnavailable("a page without an address")
        if link.startswith((f"{self._rest.url}/", f"{self._rest.url}?")):
            return link
        if "://" in link:
            raise CaseSystemUnavailable("a page at another address")
        return link

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json_body: Json = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        gone: bool = False,
        changes: bool = False,
    ) -> Answer:
        """Ask; what the server refuses is an answer only where something was to be changed."""
        answer = self._rest.call(
            method,
            path,
            json_body=json_body,
            form=form,
            query=query,
            headers={
                "accept": "application/fhir+json",
                "content-type": "application/fhir+json",
                **self._headers(),
                **(headers or {}),
            },
        )
        if answer.good or (gone and answer.status in (400, 404, 405, 410)):
            return answer
        if answer.status == 403 or not changes:
            raise CaseSystemUnavailable(f"answered {answer.status}")
        if answer.status in (409, 412):
            raise Stale
        raise Rejected(*_issues(answer))


def named(value: str) -> dict[str, str]:
    """The search for what was filed under a business id."""
    return {"identifier": f"{words.REFERRAL}|{value}"}


def is_id(text: str) -> bool:
    """True for what may be an id of FHIR."""
    return _ID.fullmatch(text) is not None


def checked_id(reference: str) -> str:
    """A reference comes back from outside: it must be an id of FHIR.

    Raises:
        SchemaRefused: It is none.
    """
    if not is_id(reference):
        raise SchemaRefused("not a reference of the FHIR adapter")
    return reference


def version_of(resource: Mapping[str, Any]) -> str:
    """Its version, for a conditional update."""
    return str(resource.get("meta", {}).get("versionId", ""))


def _age(resource: Mapping[str, Any]) -> tuple[str, int, str]:
    version = version_of(resource)
    return str(resource.get("meta", {}).get("lastUpdated", "")), len(version), version


def _bundle(body: Json) -> Json:
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        raise CaseSystemUnavailable("answered, but not with a Bundle")
    return body


def _people(body: Json) -> list[tuple[Resource, int | None]]:
    """The Patients of a search, each with its score of 0 to 1 as a number out of 100."""
    people: list[tuple[Resource, int | None]] = []
    for entry in _bundle(body).get("entry", ()):
        person, search = entry.get("resource"), entry.get("search")
        if not isinstance(person, dict) or person.get("resourceType") != "Patient":
            continue  # an OperationOutcome may stand among them
        if not isinstance(person.get("id"), str) or not is_id(person["id"]):
            continue
        score = search.get("score") if isinstance(search, dict) else None
        if isinstance(score, int | float) and 0 <= score <= 1:
            people.append((person, round(100 * score)))
        else:
            people.append((person, None))
    return people


def _issues(answer: Answer) -> tuple[str, tuple[str, ...]]:
    """The code of the first issue, and the places of all, as far as they are codes and places."""
    body = answer.body if isinstance(answer.body, dict) else {}
    code, where = f"status-{answer.status}", []
    for issue in reversed(body.get("issue", ()) if isinstance(body.get("issue"), list) else ()):
        if not isinstance(issue, dict):
            continue
        given = issue.get("code")
        if isinstance(given, str) and _ISSUE.fullmatch(given):
            code = given
        for place in issue.get("expression") or issue.get("location") or ():
            if isinstance(place, str) and _PLACE.fullmatch(place):
                where.append(f"{place}: {code}")
    return code, tuple(where[:50])
