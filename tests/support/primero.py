"""A stand-in for UNICEF's Primero v2, made from its published API, with its traps. In memory.

* `{"data": …}` around everything; 204 for a record with an id of the client's; 409 for a second.
* A field that no form has is dropped, and nothing is said.
* PATCH keeps subforms that it is not told to delete.
* A record is never deleted, only disabled.
* A transition is invalid without consent or override, at every save: also when it is revoked.
* A status that the state does not permit answers 200 with the old one; DELETE has no guard at all.
* A referral is looked up by its id alone, whatever record stands in the path.
* A remote referral cannot be accepted or rejected.
* Accepting a transfer changes the owner of the record; a transfer can be revoked in any state.
* Tokens expire; some errors are no JSON; `last_updated_at` filters by whole days; pages are short.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from tests.support.standin import Given, Json, stand_in

FIELDS = [
    "name_first",
    "name_middle",
    "name_last",
    "date_of_birth",
    "sex",
    "marital_status",
    "national_id_no",
    "unhcr_individual_no",
    "telephone_current",
    "address_current",
    "risk_level",
    "services_section",
    "consent_for_services",
    "consent_reporting",
    "consent_for_tracing",
    "disclosure_other_orgs",
    "unhcr_export_opt_in",
    "referral_broker_case",
    "referral_broker_same_as",
]
_OF_RECORDS = ("id", "module_id", "record_state")


_KINDS = {"referrals": "Referral", "transfers": "Transfer"}


class Fault(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, detail: str = "", text: str | None = None) -> None:
        self.status, self.detail, self.text = status, detail, text
        super().__init__(detail)


@dataclass
class Installation:
    """What one Primero holds."""

    user: str = "gateway"
    password: str = "invented"
    fields: set[str] = field(default_factory=lambda: set(FIELDS))
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    referrals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """All transitions, by their id: Primero keeps them in one table."""
    tokens: set[str] = field(default_factory=set)
    page: int = 7
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    requests: list[str] = field(default_factory=list)
    not_json: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def touch(self, record: dict[str, Any]) -> None:
        record["last_updated_at"] = self.now().isoformat().replace("+00:00", "Z")

    def save(self, referral: dict[str, Any]) -> dict[str, Any]:
        """Valid or not, as `Transition` has it: the check runs at every save."""
        record = self.records[referral["record_id"]]
        given = record.get("disclosure_other_orgs") and (
            referral["type"] == "Transfer" or record.get("consent_for_services")
        )
        if not given and not referral.get("consent_overridden"):
            raise Fault(422, "consent")
        if referral["status"] == "done" and not referral.get("success_status"):
            raise Fault(422, "success_status")
        self.referrals[referral["id"]] = referral
        self.touch(record)
        return referral

    def make(self, **fields: Any) -> str:
        """A record that a worker made."""
        id_ = str(uuid4())
        number = f"c{next(self.numbers):06}"
        self.records[id_] = {"id": id_, "case_id_display": number, "record_state": True, **fields}
        self.touch(self.records[id_])
        return id_

    def refer(self, record: str, **fields: Any) -> str:
        """A referral that a worker made."""
        return self.transition(record, "Referral", **fields)

    def transition(self, record: str, kind: str, **fields: Any) -> str:
        new = {"id": str(uuid4()), "type": kind, "record_id": record, "record_type": "Child"}
        return str(self.save({**new, "status": "in_progress", "remote": False, **fields})["id"])

    def decide(self, referral: str, status: str, **fields: Any) -> None:
        """What a worker did to a referral."""
        self.save({**self.referrals[referral], "status": status, **fields})


class Server:
    """What an installation answers."""

    def __init__(self, held: Installation) -> None:
        self.held, self.base, self.lock = held, "", threading.RLock()

    def handle(self, method: str, target: str, headers: dict[str, str], body: Any) -> Any:
        with self.lock:
            parts = urlsplit(target)
            path = [part for part in parts.path.split("/") if part]
            if path[:2] != ["api", "v2"]:
                raise Fault(404)
            if path[2:] == ["tokens"]:
                return self._sign_in(body)
            if headers.get("authorization", "") not in self.held.tokens:
                raise Fault(401)
            if self.held.not_json:
                return 200, {}, "<html>Sign in</html>"
            return self._route(method, path[2:], dict(parse_qsl(parts.query)), body or {})

    def _sign_in(self, body: Any) -> Any:
        user = (body or {}).get("user", {})
        if (user.get("user_name"), user.get("password")) != (self.held.user, self.held.password):
            raise Fault(401)
        token = f"Bearer {uuid4()}"
        self.held.tokens.add(token)
        return 200, {"Authorization": token}, {"user_name": self.held.user}

    def _route(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Any:
        data = body.get("data", {})
        match method, path:
            case "GET", ["forms"]:
                fields = [{"name": name} for name in sorted(self.held.fields)]
                return 200, {}, {"data": [{"unique_id": "f", "fields": fields}]}
            case "GET", ["cases"]:
                return 200, {}, self._list(query)
            case "POST", ["cases"]:
                return self._create(data)
            case "GET", ["cases", id_]:
                return 200, {}, {"data": self._record(id_)}
            case "PATCH", ["cases", id_]:
                self._write(self._record(id_), data)
                return 200, {}, {"data": {"id": id_}}
            case "DELETE", ["cases", id_]:
                self._record(id_)["record_state"] = False
                self.held.touch(self._record(id_))
                return 200, {}, {"data": {"id": id_}}
            case "GET", ["cases", id_, "referrals" | "transfers" as kind]:
                self._record(id_)
                mine = [
                    each
                    for each in self.held.referrals.values()
                    if each["record_id"] == id_ and each["type"] == _KINDS[kind]
                ]
                return 200, {}, {"data": mine}
            case "POST", ["cases", id_, "referrals" | "transfers" as kind]:
                self._record(id_)
                new = self.held.transition(id_, _KINDS[kind], **data)
                return 200, {}, {"data": self.held.referrals[new]}
            case "PATCH", ["cases", _, "transfers", transfer]:
                return 200, {}, {"data": self._transfer(self._referral(transfer), data)}
            case "PATCH", ["cases", _, "referrals", referral]:
                return 200, {}, {"data": self._process(self._referral(referral), data)}
            case "DELETE", ["cases", _, "referrals", referral]:
                revoked = {**self._referral(referral), "status": "revoked"}
                return 200, {}, {"data": self.held.save(revoked)}
        raise Fault(404, text="<h1>The page you were looking for does not exist</h1>")

    def _record(self, id_: str) -> dict[str, Any]:
        if id_ not in self.held.records:
            raise Fault(404)
        return self.held.records[id_]

    def _referral(self, id_: str) -> dict[str, Any]:
        if id_ not in self.held.referrals:
            raise Fault(404)
        return self.held.referrals[id_]

    def _create(self, data: Any) -> Any:
        id_ = data.get("id")
        if id_ in self.held.records:
            raise Fault(409)
        if data.get("date_of_birth") is not None:
            try:
                date.fromisoformat(data["date_of_birth"])
            except (TypeError, ValueError):
                raise Fault(422, "date_of_birth") from None
        record: dict[str, Any] = {"case_id_display": f"c{next(self.held.numbers):06}"}
        record |= {"id": id_ or str(uuid4()), "record_state": True}
        self.held.records[record["id"]] = record
        self._write(record, data)
        return (204, {}, None) if id_ else (200, {}, {"data": record})

    def _write(self, record: dict[str, Any], data: Any) -> None:
        for name, value in data.items():
            if name == "services_section" and name in self.held.fields:
                record[name] = _merged(record.get(name) or [], value)
            elif name in self.held.fields or name in _OF_RECORDS:
                record[name] = value
        self.held.touch(record)

    def _process(self, referral: dict[str, Any], data: Any) -> dict[str, Any]:
        wanted, status = data.get("status"), referral["status"]
        if referral.get("remote"):
            raise Fault(403)
        allowed = {"accepted": "in_progress", "rejected": "in_progress", "done": "accepted"}
        if allowed.get(wanted) != status:
            return referral
        return self.held.save({**referral, **data, "responded_at": self.held.now().isoformat()})

    def _transfer(self, transfer: dict[str, Any], data: Any) -> dict[str, Any]:
        wanted = data.get("status")
        if wanted == "revoked" or transfer["status"] == "in_progress":
            if wanted == "accepted":
                record = self._record(transfer["record_id"])
                record["owned_by"] = transfer.get("transitioned_to")
            return self.held.save({**transfer, **data})
        return transfer

    def _list(self, query: dict[str, str]) -> Any:
        found = list(self.held.records.values())
        if "last_updated_at" in query:
            first, last = query["last_updated_at"].split("..")
            found = [each for each in found if first[:10] <= each["last_updated_at"][:10] <= last]
        page, per = int(query.get("page", "1")), min(int(query.get("per", "20")), self.held.page)
        metadata = {"total": len(found), "per": per, "page": page}
        data = found[(page - 1) * per : page * per]
        if "fields" in query:
            wanted = {"id", *query["fields"].split(",")}
            data = [{k: v for k, v in each.items() if k in wanted} for each in data]
        return {"data": data, "metadata": metadata}


def _merged(old: list[Any], new: list[Any]) -> list[Any]:
    rows = {row["unique_id"]: row for row in old}
    for row in new:
        if row.get("_delete"):
            rows.pop(row["unique_id"], None)
        else:
            rows[row["unique_id"]] = {**rows.get(row["unique_id"], {}), **row}
    return list(rows.values())


@contextmanager
def primero_server(held: Installation | None = None) -> Iterator[Server]:
    """An installation on a port of this machine, as long as it takes; `base` is its URL."""
    server = Server(Installation() if held is None else held)

    def answer(method: str, target: str, headers: dict[str, str], body: Json) -> Given:
        server.held.requests.append(f"{method} {target}")
        try:
            status, extra, content = server.handle(method, target, headers, body)
        except Fault as fault:
            error = {"status": fault.status, "detail": fault.detail, "message": "Invented?"}
            return fault.status, {}, fault.text or {"errors": [error]}
        return status, extra, content

    with stand_in(answer) as base:
        server.base = base
        yield server
