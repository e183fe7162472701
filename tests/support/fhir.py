"""A strict FHIR R4 server for tests, from the RESTful API chapter of the specification. In memory.

It has what the adapter relies on, and what makes careless clients fail: conditional creation,
transactions that happen whole or not at all, ETags, history that outlives a deletion, pages, and a
clock that may stand still, so that many changes have one moment. Every resource is checked by an
independent library; what does not fit is refused, with an OperationOutcome that repeats the value.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from tests.support.standin import Given, stand_in

Json = Any


class Refused(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, code: str, diagnostics: str = "", place: str = "") -> None:
        self.status = status
        issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
        if place:
            issue["expression"] = [place]  # type: ignore[assignment]
        self.outcome = {"resourceType": "OperationOutcome", "issue": [issue]}


@dataclass
class Store:
    """Every version of every resource, newest last; None: deleted by that version."""

    versions: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    keeps_history: bool = True
    keeps_extensions: bool = True
    sorts: bool = True
    checks: bool = True
    """The library judges every resource; False where its time would be what is measured."""
    page: int = 50
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    requests: list[str] = field(default_factory=list)
    """Method and path of every request, for tests that look for what may not stand in a URL."""

    _named: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """(kind, value of an identifier) to ids that have had it: a search looks at these alone."""
    _undo: list[tuple[tuple[str, str], list[Json] | None]] | None = None

    def current(self, kind: str, id_: str) -> Json | None:
        versions = self.versions.get((kind, id_))
        return versions[-1] if versions else None

    def of(self, kind: str, *, identifier: str | None = None) -> list[Json]:
        """Every resource of a kind that is there now; with an identifier's value, of those alone."""
        if identifier is None:
            keys = [key for key in self.versions if key[0] == kind]
        else:
            keys = [(kind, id_) for id_ in sorted(self._named.get((kind, identifier), ()))]
        found = [versions[-1] for key in keys if (versions := self.versions.get(key))]
        return [each for each in found if "deleted" not in each]

    @contextmanager
    def whole_or_not_at_all(self) -> Iterator[None]:
        """What is changed within is taken back if it ends with a refusal."""
        self._undo = []
        try:
            yield
        except Refused:
            for key, versions in reversed(self._undo):
                if versions is None:
                    self.versions.pop(key, None)
                else:
                    self.versions[key] = versions
            raise
        finally:
            self._undo = None

    def touch(self, kind: str, id_: str) -> None:
        if self._undo is not None:
            versions = self.versions.get((kind, id_))
            self._undo.append(((kind, id_), None if versions is None else list(versions)))

    def put(self, kind: str, id_: str, resource: Json) -> Json:
        resource = copy.deepcopy(resource)
        if resource.get("resourceType") != kind:
            raise Refused(400, "invalid", place="Resource.resourceType")
        if self.checks:
            validated(resource)
        if not self.keeps_extensions:
            resource.pop("extension", None)
        self.touch(kind, id_)
        for each in resource.get("identifier", ()):
            self._named.setdefault((kind, str(each.get("value"))), set()).add(id_)
        versions = self.versions.setdefault((kind, id_), [])
        resource["id"] = id_
        resource["meta"] = {
            **resource.get("meta", {}),
            "versionId": str(len(versions) + 1),
            "lastUpdated": self.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        versions.append(resource)
        return resource

    def delete(self, kind: str, id_: str) -> None:
        for other, versions in self.versions.items():
            if "deleted" not in versions[-1] and f'"{kind}/{id_}"' in json.dumps(versions[-1]):
                raise Refused(409, "conflict", place=f"{other[0]}.id")
        if self.keeps_history:
            number = len(self.versions[kind, id_]) + 1
            self.versions[kind, id_].append({"deleted": True, "meta": {"versionId": str(number)}})
        else:
            del self.versions[kind, id_]


def validated(resource: Json) -> None:
    """Return if an independent library takes it for a resource of its type."""
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate_json(json.dumps(resource))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([resource["resourceType"], *(str(x) for x in first["loc"] if x)][:2])
        raise Refused(422, "structure", diagnostics=str(error), place=place) from None


class Server:
    """What the store answers to requests."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.base = ""
        self.lock = threading.RLock()

    def handle(self, method: str, target: str, headers: dict[str, str], body: Json) -> Any:
        """(status, headers, body)."""
        with self.lock:
            parts = urlsplit(target)
            path = [part for part in parts.path.split("/") if part]
            query = parse_qsl(parts.query, keep_blank_values=True)
            return self._route(method, path, query, headers, body)

    def _route(
        self,
        method: str,
        path: list[str],
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Json,
    ) -> Any:
        match method, path:
            case "GET", ["metadata"]:
                return 200, {}, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
            case "POST", []:
                return 200, {}, self._bundle(body)
            case "GET", [kind]:
                return 200, {}, self._search(kind, query)
            case "POST", [kind, "_search"]:
                return 200, {}, self._search(kind, body["form"])
            case "POST", ["Patient", "$match"]:
                return 200, {}, self._match(body)
            case "POST", [kind]:
                return self._create(kind, headers.get("if-none-exist"), body)
            case "GET", [kind, id_]:
                resource = self.store.current(kind, id_)
                if resource is None:
                    raise Refused(404, "not-found")
                if "deleted" in resource:
                    raise Refused(410, "deleted")
                return 200, {"etag": f'W/"{resource["meta"]["versionId"]}"'}, resource
            case "PUT", [kind, id_]:
                return 200, {}, self._update(kind, id_, headers.get("if-match"), body)
            case "DELETE", [kind, id_]:
                if self.store.current(kind, id_) is not None:
                    self.store.delete(kind, id_)
                return 204, {}, None
            case "GET", [kind, id_, "_history"]:
                versions = self.store.versions.get((kind, id_), [])
                if not versions:
                    raise Refused(404, "not-found")
                entry = [{"resource": each} for each in versions if "deleted" not in each]
                return 200, {}, {"resourceType": "Bundle", "type": "history", "entry": entry[::-1]}
            case "POST", [kind, id_, "$expunge"]:
                self.store.versions.pop((kind, id_), None)
                return 200, {}, {"resourceType": "Parameters"}
        raise Refused(404, "not-supported")

    def _create(self, kind: str, condition: str | None, body: Json) -> Any:
        if condition is not None:
            matches = self._matches(kind, parse_qsl(condition))
            if len(matches) > 1:
                raise Refused(412, "duplicate")
            if matches:
                return 200, {}, matches[0]
        return 201, {}, self.store.put(kind, f"r{next(self.store.ids)}", body)

    def _update(self, kind: str, id_: str, condition: str | None, body: Json) -> Json:
        there = self.store.current(kind, id_)
        if there is None or "deleted" in there:
            raise Refused(404, "not-found")
        if condition is not None and condition != f'W/"{there["meta"]["versionId"]}"':
            raise Refused(412, "conflict")
        return self.store.put(kind, id_, body)

    # --- search --------------------------------------------------------------------------

    def _matches(self, kind: str, query: list[tuple[str, str]]) -> list[Json]:
        values = [value.rpartition("|")[2] for name, value in query if name == "identifier"]
        one = values[0] if len(values) == 1 and values[0] and "," not in values[0] else None
        found = self.store.of(kind, identifier=one)
        for name, value in query:
            if name not in ("_count", "_sort", "_from"):
                found = [each for each in found if _fits(each, name, value)]
        if ("_sort", "_lastUpdated") in query and self.store.sorts:
            found.sort(key=lambda each: each["meta"]["lastUpdated"])
        return found

    def _search(self, kind: str, query: list[tuple[str, str]]) -> Json:
        found = self._matches(kind, query)
        given = dict(query)
        begin = int(given.get("_from", "0"))
        count = min(int(given.get("_count", self.store.page)), self.store.page)
        bundle: Json = {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": each} for each in found[begin : begin + count]],
        }
        if begin + count < len(found):
            rest = {**given, "_from": str(begin + count)}
            link = "&".join(f"{name}={value}" for name, value in rest.items())
            link = link.replace("|", "%7C").replace(":", "%3A").replace("+", "%2B")
            bundle["link"] = [{"relation": "next", "url": f"{self.base}/{kind}?{link}"}]
        return bundle

    def _match(self, asked: Json) -> Json:
        """Scores by the letters that two family names share: a bad guess, as those of others."""
        given = {each["name"]: each for each in asked["parameter"]}
        wanted = set(_said(given["resource"]["resource"], "family"))
        entry = []
        for person in self.store.of("Patient"):
            letters = set("".join(_said(person, "family")))
            both = letters & set("".join(wanted))
            if both:
                score = round(len(both) / len(letters | set("".join(wanted))), 2)
                if score > 0.7:
                    entry.append({"resource": person, "search": {"mode": "match", "score": score}})
        entry.sort(key=lambda each: -each["search"]["score"])
        count = given["count"]["valueInteger"]
        return {"resourceType": "Bundle", "type": "searchset", "entry": entry[:count]}

    # --- bundles -------------------------------------------------------------------------

    def _bundle(self, bundle: Json) -> Json:
        if bundle["type"] == "batch":
            entries = [self._one(entry, {}) for entry in bundle["entry"]]
            return {"resourceType": "Bundle", "type": "batch-response", "entry": entries}
        with self.store.whole_or_not_at_all():
            names: dict[str, str] = {}
            order = ["DELETE", "POST", "PUT", "GET"]
            entries = sorted(bundle["entry"], key=lambda e: order.index(e["request"]["method"]))
            # First who is there already and which ids the others get, then what they say.
            for entry in entries:
                request = entry["request"]
                if request["method"] == "POST" and "fullUrl" in entry:
                    condition = parse_qsl(request.get("ifNoneExist", ""))
                    matches = self._matches(request["url"], condition) if condition else []
                    if len(matches) > 1:
                        raise Refused(412, "duplicate")
                    id_ = matches[0]["id"] if matches else f"r{next(self.store.ids)}"
                    names[entry["fullUrl"]] = f"{request['url']}/{id_}"
                elif request["method"] == "PUT" and "fullUrl" in entry:
                    names[entry["fullUrl"]] = request["url"]
            answers = []
            deletes = [e for e in entries if e["request"]["method"] == "DELETE"]
            self._delete_all([e["request"]["url"] for e in deletes], entries)
            for entry in entries:
                if entry["request"]["method"] == "DELETE":
                    answers.append({"response": {"status": "204"}})
                else:
                    answers.append(self._one(entry, names))
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def _delete_all(self, urls: list[str], entries: list[Json]) -> None:
        """References among what goes together, or is replaced here, hold nothing back."""
        gone = {tuple(url.split("/")) for url in urls}
        if not gone:
            return
        replaced = {tuple(e["request"]["url"].split("/")) for e in entries if "resource" in e}
        for key, versions in self.store.versions.items():
            if key in gone or key in replaced or "deleted" in versions[-1]:
                continue
            if any(f'"{"/".join(each)}"' in json.dumps(versions[-1]) for each in gone):
                raise Refused(409, "conflict", place=f"{key[0]}.id")
        for kind, id_ in gone:
            self.store.touch(kind, id_)
            if self.store.keeps_history:
                self.store.versions[kind, id_].append({"deleted": True, "meta": {}})
            else:
                self.store.versions.pop((kind, id_), None)

    def _one(self, entry: Json, names: dict[str, str]) -> Json:
        request = entry["request"]
        parts = urlsplit(request["url"])
        path = parts.path.strip("/").split("/")
        match request["method"]:
            case "GET" if len(path) == 1:
                return {
                    "resource": self._search(path[0], parse_qsl(parts.query)),
                    "response": {"status": "200"},
                }
            case "POST":
                kind, _, id_ = names[entry["fullUrl"]].partition("/")
                if self.store.current(kind, id_) is not None:
                    return {"response": {"status": "200 OK"}}
                self.store.put(kind, id_, _renamed(entry["resource"], names))
                return {"response": {"status": "201 Created"}}
            case "PUT":
                resource = _renamed(entry["resource"], names)
                self._update(path[0], path[1], request.get("ifMatch"), resource)
                return {"response": {"status": "200 OK"}}
        raise Refused(400, "not-supported")


def _renamed(resource: Json, names: dict[str, str]) -> Json:
    text = json.dumps(resource)
    for name, target in names.items():
        text = text.replace(f'"reference": "{name}"', f'"reference": "{target}"')
    if unknown := re.search(r'"reference": "urn:[^"]*"', text):
        raise Refused(400, "not-found", diagnostics=unknown[0])
    return json.loads(text)


def _fits(resource: Json, name: str, value: str) -> bool:
    match name:
        case "identifier":
            return any(
                _is_token(each, option)
                for each in resource.get("identifier", ())
                for option in value.split(",")
            )
        case "status":
            return resource.get("status") in value.split(",")
        case "owner" | "patient" | "subject" | "focus":
            return bool(resource.get(name, {}).get("reference") == value)
        case "given" | "family":
            return any(said.startswith(_folded(value)) for said in _said(resource, name))
        case "link":
            return any(
                str(each["other"]["reference"]) == value for each in resource.get("link", ())
            )
        case "_lastUpdated" if value.startswith("ge"):
            given = datetime.fromisoformat(value[2:].replace("Z", "+00:00"))
            return datetime.fromisoformat(resource["meta"]["lastUpdated"]) >= given
    raise Refused(400, "not-supported", place=name)


def _said(person: Json, part: str) -> list[str]:
    """All that a person's names say, as a string search compares it: without case and accents."""
    said = [name.get(part) or () for name in person.get("name", ())]
    return [_folded(one) for each in said for one in ([each] if isinstance(each, str) else each)]


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")


def _is_token(identifier: Json, token: str) -> bool:
    system, bar, value = token.partition("|")
    if not bar:
        return bool(identifier.get("value") == token)
    return identifier.get("system") == system and (not value or identifier.get("value") == value)


@contextmanager
def fhir_server(store: Store | None = None, *, token: str | None = None) -> Iterator[Server]:
    """A server on a port of this machine, as long as it takes; `base` is its URL."""
    server = Server(Store() if store is None else store)

    def answer(method: str, target: str, headers: dict[str, str], body: Json) -> Given:
        server.store.requests.append(f"{method} {target}")
        try:
            if token is not None and headers.get("authorization") != f"Bearer {token}":
                raise Refused(401, "login")
            status, extra, content = server.handle(
                method, target.removeprefix("/fhir"), headers, body
            )
        except Refused as refused:
            return refused.status, {}, refused.outcome
        return status, extra, content

    with stand_in(answer, content_type="application/fhir+json") as base:
        server.base = f"{base}/fhir"
        yield server
