"""The FHIR adapter: a case system that is a FHIR R4 server, spoken to over REST.

A referral is filed as one transaction, each resource of it on the condition that none with its
identifier exists: however often it is sent, and whoever dies, it is there once and whole. The
whole case travels in an extension of the ServiceRequest; what R4 has elements for stands in them
too, for people, and what people change there counts (`resources`, `native`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, UUID, uuid5

from adapters.base import (
    Candidate,
    CannotErase,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Erasing,
    Filed,
    Kept,
    Memory,
    News,
    Outcome,
    Polled,
    RejectedRow,
    Skill,
    Source,
    Tools,
    file_one_by_one,
)
from adapters.systems.fhir import words
from adapters.systems.fhir.foreign import case_of_task, read_bundle
from adapters.systems.fhir.people import candidates, link_to, linking_to, patient_of
from adapters.systems.fhir.places import only
from adapters.systems.fhir.resources import (
    TYPES,
    Resource,
    business_id_of,
    case_there,
    checked,
    filed_case,
    kept,
    resources_of,
)
from adapters.systems.fhir.server import (
    FhirServer,
    Rejected,
    Stale,
    checked_id,
    is_id,
    named,
    version_of,
)
from adapters.systems.fhir.tasks import poll, tell
from adapters.systems.rest import Rest, checked_settings, checked_url, read_secret
from schemas.errors import CaseSystemUnavailable, OutcomeUnknown, SchemaRefused


class FhirSystem:
    """Implements `adapters.base.NationalSystem` over a FHIR R4 server."""

    name = "fhir"
    memory = Memory.LOOKUP

    def __init__(
        self,
        server: FhirServer,
        *,
        receiver: str | None = None,
        outbox: str | None = None,
        number_system: str | None = None,
        expunge: bool = False,
        identity: bool = True,
        match: bool = False,
    ) -> None:
        """
        Args:
            receiver: Who is to fulfil filed referrals, as a reference (`Organization/12`).
            outbox: Owner of the Tasks that are meant for other countries, as a reference.
            number_system: Identifier system of the country's own case numbers.
            expunge: The server has `$expunge`, so that erasing takes the history too.
            identity: Look for people who are there already.
            match: With the server's `$match` too.
        """
        self.skills = frozenset(Skill) if identity else frozenset(Skill) - {Skill.CANDIDATES}
        self._match = match
        self._server = server
        self._receiver, self._outbox = receiver, outbox
        self._number_system, self._expunge = number_system, expunge

    def check(self) -> None:
        """See the port."""
        self._server.conformant()

    def find(self, business_id: UUID) -> Filed | None:
        """See the port. Two of one referral are never taken for one of them."""
        request = self._request(business_id)
        return None if request is None else Filed(request["id"], already=True)

    def _request(self, business_id: UUID) -> Resource | None:
        found = list(self._server.search("ServiceRequest", named(str(business_id))))
        if len(found) > 1:
            raise OutcomeUnknown("the server holds one referral more than once")
        return found[0] if found else None

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        request = self._server.read("ServiceRequest", checked_id(reference))
        business_id = None if request is None else business_id_of(request)
        if request is None or business_id is None:
            return None
        return case_there(self._server.all_of(str(business_id)), business_id)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port."""
        if Skill.CANDIDATES not in self.skills:
            return ()
        return candidates(self._server, case, match=self._match)

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port."""
        try:
            whole = checked(case)
            made = resources_of(whole, business_id)
        except SchemaRefused as refused:
            return CannotMap(refused.where or (refused.detail,))
        if self._receiver is not None:
            made["task"]["owner"] = {"reference": self._receiver}
        there = self._request(business_id)
        if there is None:
            if case.same_as is not None:
                known = patient_of(self._server, case.same_as)
                if known is None:
                    return Declined("no-such-person")
                made["patient"]["link"] = link_to(known)
            try:
                self._server.transaction(_conditional_creation(made))
            except Stale:
                raise CaseSystemUnavailable("somebody else is filing it") from None
            except Rejected as rejected:
                return CannotMap(rejected.where or (f"case: {rejected.code}",))
            filed = self._request(business_id)
            if filed is None:
                raise CaseSystemUnavailable("filed, and not found yet")
            return Filed(filed["id"], not_held=_not_held(filed, whole))
        if not _is_same(there, whole):
            return Declined("id-conflict")
        return Filed(there["id"], already=True)

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port."""
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port. The Task stays as it is: what was decided is not content."""
        request = self._server.read("ServiceRequest", checked_id(reference))
        business_id = None if request is None else business_id_of(request)
        if request is None or business_id is None:
            return Declined("not-found")
        try:
            whole = checked(case)
            made = resources_of(whole, business_id)
        except SchemaRefused as refused:
            return CannotMap(refused.where or (refused.detail,))
        there = {_part(each): each for each in self._server.all_of(str(business_id))}
        del made["task"]
        there.pop("task", None)
        try:
            self._server.transaction(_replacement(made, there))
        except Stale:
            raise CaseSystemUnavailable("somebody else is changing it") from None
        except Rejected as rejected:
            return CannotMap(rejected.where or (f"case: {rejected.code}",))
        return Filed(reference, already=True)

    def erase(self, reference: str) -> Erasing:
        """See the port. What the server keeps in its history is kept, and is said."""
        request = self._server.read("ServiceRequest", checked_id(reference))
        if request is None:
            if self._server.keeps_history("ServiceRequest", reference):
                return self._without_history([("ServiceRequest", reference)], existed=False)
            return Erased(existed=False)
        business_id = business_id_of(request)
        if business_id is None:
            return CannotErase("not-ours")
        there = self._server.all_of(str(business_id))
        there.sort(key=lambda each: -TYPES.index(each["resourceType"]))
        names = [(each["resourceType"], each["id"]) for each in there]
        # Our own links to this person must not be what keeps her here.
        unlinked = [
            person for kind, id_ in names if kind == "Patient" for person in self._linking(id_)
        ]
        try:
            self._server.transaction(
                [
                    *map(_replaced, unlinked),
                    *(
                        {"request": {"method": "DELETE", "url": f"{kind}/{id_}"}}
                        for kind, id_ in names
                    ),
                ]
            )
        except Stale:
            return Kept("linked-records")
        except Rejected as rejected:
            return CannotErase(rejected.code)
        return self._without_history(names, existed=True)

    def _linking(self, patient_id: str) -> list[Resource]:
        return linking_to(self._server, patient_id) if Skill.CANDIDATES in self.skills else []

    def _without_history(self, names: list[tuple[str, str]], *, existed: bool) -> Erasing:
        if self._expunge:
            for kind, id_ in names:
                self._server.expunge(kind, id_)
        if any(self._server.keeps_history(kind, id_) for kind, id_ in names):
            return Kept("version-history")
        return Erased(existed=existed)

    def poll(self, cursor: str | None) -> Polled:
        """See the port: what changed in the Tasks that were filed here."""
        return poll(self._server, cursor)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port: into the one Task that the case number names, and no other."""
        return tell(self._server, self._tasks(case_ref), news)

    def _tasks(self, case_ref: str) -> list[Resource]:
        """The Tasks for other countries that a case number names: none, one, or too many.

        Others are not looked at: a Task that we filed is somebody else's referral to us.
        """
        if self._outbox is None:
            return []
        found: list[Resource] = []
        if self._number_system is not None:
            query = {"identifier": f"{self._number_system}|{case_ref}"}
            found = list(self._server.search("Task", query))
        if not found and is_id(case_ref):
            task = self._server.read("Task", case_ref)
            found = [] if task is None else [task]
        return [task for task in found if only(task, ("owner", "reference")) == self._outbox]

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port. One Task for other countries is one case; a file is a Bundle."""
        if source is not None:
            yield from read_bundle(source, number_system=self._number_system)
        elif self._outbox is not None:
            query = {"status": "requested", "owner": self._outbox}
            for task in self._server.search("Task", query):
                yield case_of_task(task, self._around(task), self._number_system)

    def _around(self, task: Resource) -> list[Resource]:
        """A Task, what it is about, and what belongs to that person."""
        found: list[Resource] = []
        patient = None
        kind, _, id_ = str(only(task, ("focus", "reference")) or "").rpartition("/")
        if kind.endswith("ServiceRequest"):
            request = self._server.read("ServiceRequest", checked_id(id_))
            if request is not None:
                found.append(request)
                patient = only(request, ("subject", "reference"))
        kind, _, id_ = str(patient or only(task, ("for", "reference")) or "").rpartition("/")
        if kind.endswith("Patient"):
            person = self._server.read("Patient", checked_id(id_))
            if person is not None:
                found.append(person)
                about = {"patient": f"Patient/{id_}"}
                found += self._server.search("RelatedPerson", about)
                found += self._server.search("Consent", about)
                found += self._server.search("CareTeam", about)
        return found


def make(settings: Mapping[str, Any], tools: Tools) -> FhirSystem:
    """The adapter from its settings: `url`, and those that `FhirSystem` explains.

    `token_file` holds a bearer token, read anew for each request, so that it can be renewed.

    Raises:
        SchemaRefused: A setting is missing, unknown or wrong.
    """
    checked_settings(
        settings,
        needed={"url": str},
        known={
            "token_file": str,
            "ca_file": str,
            "timeout": float,
            "receiver": str,
            "outbox": str,
            "number_system": str,
            "expunge": bool,
            "identity": bool,
            "match": bool,
        },
    )
    ca_file, token = settings.get("ca_file"), settings.get("token_file")
    rest = Rest(
        checked_url(settings["url"]),
        timeout=float(settings.get("timeout", 30)),
        ca_file=None if ca_file is None else Path(ca_file),
    )

    def headers() -> dict[str, str]:
        return {"authorization": f"Bearer {read_secret(Path(token))}"} if token else {}

    return FhirSystem(
        FhirServer(rest, headers),
        receiver=settings.get("receiver"),
        outbox=settings.get("outbox"),
        number_system=settings.get("number_system"),
        expunge=settings.get("expunge", False),
        identity=settings.get("identity", True),
        match=settings.get("match", False),
    )


def _not_held(filed: Resource, case: CaseRecord) -> tuple[str, ...]:
    """What did not get there: a server that keeps no extensions keeps what has native elements."""
    if filed_case(filed) is not None:
        return ()
    return tuple(
        f"{section}.{field}: no-extension"
        for section, fields in case.sections.items()
        for field in fields
    )


def _is_same(request: Resource, case: CaseRecord) -> bool:
    filed = filed_case(request)
    try:
        return filed is not None and checked(filed) == case
    except SchemaRefused:
        return False


def _part(resource: Resource) -> str:
    """Which of a referral's resources it is, as `resources_of` names them."""
    value = only(resource, ("identifier", {"system": words.PART}, "value"))
    if isinstance(value, str):
        return value.partition(".")[2]
    return "task" if resource["resourceType"] == "Task" else "request"


def _condition(resource: Resource) -> str:
    """The search that finds nothing but this resource."""
    value = only(resource, ("identifier", {"system": words.PART}, "value"))
    system = words.PART if value else words.REFERRAL
    value = value or only(resource, ("identifier", {"system": words.REFERRAL}, "value"))
    return urlencode({"identifier": f"{system}|{value}"})


def _conditional_creation(made: Mapping[str, Resource]) -> list[dict[str, Any]]:
    links = {f"urn:part:{part}": _urn(each) for part, each in made.items()}
    return [
        {
            "fullUrl": _urn(each),
            "resource": _linked(each, links),
            "request": {
                "method": "POST",
                "url": each["resourceType"],
                "ifNoneExist": _condition(each),
            },
        }
        for each in made.values()
    ]


def _replacement(
    made: Mapping[str, Resource], there: Mapping[str, Resource]
) -> list[dict[str, Any]]:
    """Changes in place, new ones, and the end of those that are no more."""
    links = {
        f"urn:part:{part}": f"{each['resourceType']}/{there[part]['id']}"
        if part in there
        else _urn(each)
        for part, each in made.items()
    }
    entries: list[dict[str, Any]] = []
    for part, each in made.items():
        if part not in there:
            entries += _conditional_creation({part: _linked(each, links)})
            continue
        old = there[part]
        url = f"{old['resourceType']}/{old['id']}"
        entries.append(
            {
                "fullUrl": _urn(each),
                "resource": {**_linked(kept(old, each), links), "id": old["id"]},
                "request": {"method": "PUT", "url": url, "ifMatch": f'W/"{version_of(old)}"'},
            }
        )
    for part, old in there.items():
        if part not in made:
            url = f"{old['resourceType']}/{old['id']}"
            entries.append({"request": {"method": "DELETE", "url": url}})
    return entries


def _replaced(resource: Resource) -> dict[str, Any]:
    """One change in place, if it is still the version that was read."""
    url = f"{resource['resourceType']}/{resource['id']}"
    match = f'W/"{version_of(resource)}"'
    return {
        "fullUrl": f"urn:uuid:{uuid5(NAMESPACE_URL, url)}",
        "resource": resource,
        "request": {"method": "PUT", "url": url, "ifMatch": match},
    }


def _urn(resource: Resource) -> str:
    """A name for one transaction: the same for the same resource, which harms nothing."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, resource['resourceType'] + _condition(resource))}"


def _linked(node: Any, links: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            name: links.get(value, value)
            if name == "reference" and isinstance(value, str)
            else _linked(value, links)
            for name, value in node.items()
        }
    return [_linked(each, links) for each in node] if isinstance(node, list) else node
