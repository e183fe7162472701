"""The Primero adapter: UNICEF's Primero v2, over its API.

The business id is the record's own id: Primero takes one from the client, and refuses a second
record under it (409). One service is one referral, also inside Primero.

A referral is made with `consent_overridden`, because the grant is in the gateway and Primero checks
its own consent boxes at every later change: without it, a referral could not be revoked any more
once the person has withdrawn her consent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from adapters.base import (
    Candidate,
    CannotErase,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Erasing,
    Filed,
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
from adapters.systems.files.mapping import CASE_REF_FORM
from adapters.systems.primero import words
from adapters.systems.primero.api import Primero, Record
from adapters.systems.primero.decisions import poll, tell
from adapters.systems.primero.mapping import (
    case_sent,
    case_there,
    checked,
    fields_of,
    filed_case,
    not_held,
)
from adapters.systems.primero.people import People
from adapters.systems.rest import Rest, checked_settings, checked_url
from schemas.errors import CaseSystemUnavailable, SchemaRefused

NOTE = "From another country, by the referral gateway. The signed consent is kept there."


class PrimeroSystem:
    """Implements `adapters.base.NationalSystem` over Primero v2."""

    name = "primero"
    memory = Memory.LOOKUP

    def __init__(
        self,
        primero: Primero,
        *,
        module: str,
        refer_to: str | None = None,
        transfer_to: str | None = None,
        outbox: str | None = None,
        carry: bool = True,
        reasons: Mapping[str, str] | None = None,
        identity: bool = True,
    ) -> None:
        """
        Args:
            module: `module_id` of the records made here.
            refer_to: User to whom each service of a filed case is referred.
            transfer_to: User to whom a case that was handed over is offered, to own it.
            outbox: `transitioned_to_agency` of the remote referrals that go to other countries.
            carry: The sections travel whole in a field of ours.
            reasons: Words of `rejected_reason` to our codes.
            identity: Look for people who are there already.
        """
        self.skills = frozenset(Skill) if identity else frozenset(Skill) - {Skill.CANDIDATES}
        self._people = People(primero) if identity else None
        self._primero = primero
        self._module, self._refer_to, self._outbox = module, refer_to, outbox
        self._transfer_to = transfer_to
        self._carry, self._reasons = carry, dict(reasons or {})

    def check(self) -> None:
        """See the port. Fields of ours must be on a form: Primero drops what it has no field for."""
        there = self._primero.field_names()
        for needed in (words.CASE, *([words.SAME_AS] if self._people is not None else ())):
            if needed not in there:
                raise CaseSystemUnavailable(f"no form has the field {needed}")

    def find(self, business_id: UUID) -> Filed | None:
        """See the port. What a killed process left undone is done first: its referrals."""
        record = self._primero.case(str(business_id))
        if record is None or filed_case(record) is None:
            return None
        self._refer(record)
        return Filed(str(business_id), already=True)

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        business_id = _checked(reference)
        record = self._primero.case(str(business_id))
        return None if record is None else case_there(record, business_id, carry=self._carry)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port."""
        return () if self._people is None else self._people.candidates(case)

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port."""
        try:
            whole = checked(case)
        except SchemaRefused as refused:
            return CannotMap(refused.where or (refused.detail,))
        fields = fields_of(whole, business_id, carry=self._carry)
        data = {**fields, "id": str(business_id), "module_id": self._module}
        if case.same_as is not None:
            known = self._known(case.same_as)
            if known is None:
                return Declined("no-such-person")
            data[words.SAME_AS] = known
        answer = self._primero.ask("POST", "cases", data)
        if answer.status == 409:
            return self._again(business_id, whole, fields, data.get(words.SAME_AS))
        if not answer.good:
            return _refused(answer.status, answer.body)
        return self._done(business_id, whole, fields, already=False)

    def _known(self, reference: str) -> str | None:
        """The number of the record that a worker has named; None if it is there no more."""
        try:
            record = self._primero.case(str(_checked(reference)))
        except SchemaRefused:
            return None
        if record is None or record.get("record_state") is False:
            return None
        number = record.get("case_id_display")
        return number if isinstance(number, str) else None

    def _again(
        self,
        business_id: UUID,
        case: CaseRecord,
        fields: Mapping[str, Any],
        same_as: str | None,
    ) -> Outcome:
        record = self._primero.case(str(business_id))
        if record is None:
            raise CaseSystemUnavailable("there, but cannot be read")
        if filed_case(record) is None:
            # The shell of what was erased: Primero keeps the id for ever.
            shell = {**fields, words.SAME_AS: same_as, "record_state": True}
            answer = self._primero.ask("PATCH", f"cases/{business_id}", shell)
            if not answer.good:
                return _refused(answer.status, answer.body)
            return self._done(business_id, case, fields, already=False, anew=True)
        names = (words.CASE, *(row.name for row in words.ROWS))
        if any((record.get(name) or None) != fields.get(name) for name in names):
            return Declined("id-conflict")
        return self._done(business_id, case, fields, already=True)

    def _done(
        self,
        business_id: UUID,
        case: CaseRecord,
        fields: Mapping[str, Any],
        *,
        already: bool,
        anew: bool = False,
    ) -> Filed:
        record = self._primero.case(str(business_id))
        if record is None or filed_case(record) is None:
            raise CaseSystemUnavailable("filed, but the case is not there whole")
        self._refer(record, anew=anew)
        return Filed(str(business_id), already, not_held(case, fields, record))

    def _refer(self, record: Record, *, anew: bool = False) -> None:
        """A referral for each service that has none yet; `anew`: none but revoked ones."""
        filed = filed_case(record)
        if filed is not None and filed.handed_over and self._transfer_to is not None:
            self._transfer(record, self._transfer_to, anew=anew)
            return
        if self._refer_to is None:
            return
        case = str(record["id"])
        known = {
            each.get("service_record_id")
            for each in self._primero.referrals(case)
            if not (anew and each.get("status") == "revoked")
        }
        for row in record.get(words.SERVICES) or ():
            if row.get("unique_id") in known:
                continue
            data = {
                "transitioned_to": self._refer_to,
                "service": row.get("service_type"),
                "service_record_id": row.get("unique_id"),
                "consent_overridden": True,
                "notes": NOTE,
            }
            answer = self._primero.ask("POST", f"cases/{case}/referrals", data)
            if not answer.good:
                raise CaseSystemUnavailable(f"cannot refer to the receiver: {answer.status}")

    def _transfer(self, record: Record, to: str, *, anew: bool) -> None:
        """One transfer, if there is none yet: accepting it makes somebody here the owner."""
        case = str(record["id"])
        known = [
            each
            for each in self._primero.transfers(case)
            if not (anew and each.get("status") == "revoked")
        ]
        if known:
            return
        data = {"transitioned_to": to, "consent_overridden": True, "notes": NOTE}
        answer = self._primero.ask("POST", f"cases/{case}/transfers", data)
        if not answer.good:
            raise CaseSystemUnavailable(f"cannot offer the transfer: {answer.status}")

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port."""
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        business_id = _checked(reference)
        try:
            whole = checked(case)
        except SchemaRefused as refused:
            return CannotMap(refused.where or (refused.detail,))
        record = self._primero.case(reference)
        if record is None or filed_case(record) is None:
            return Declined("not-found")
        fields = fields_of(whole, business_id, carry=self._carry)
        data: dict[str, Any] = {**dict.fromkeys(row.name for row in words.ROWS), **fields}
        data[words.SERVICES] = _merged(record, fields)
        answer = self._primero.ask("PATCH", f"cases/{reference}", data)
        if not answer.good:
            return _refused(answer.status, answer.body)
        return self._done(business_id, whole, fields, already=True)

    def erase(self, reference: str) -> Erasing:
        """See the port.

        Primero cannot delete: referrals are revoked, every field that we wrote is emptied, the
        record is disabled. Its history keeps the old values, so a person must remove them.
        """
        business_id = _checked(reference)
        record = self._primero.case(reference)
        if record is None or (filed_case(record) is None and record.get("record_state") is False):
            return Erased(existed=False)
        if filed_case(record) is None:
            return CannotErase("not-ours")
        for referral in self._primero.referrals(reference):
            if referral.get("status") in words.OPEN:
                gone = self._primero.ask("DELETE", f"cases/{reference}/referrals/{referral['id']}")
                if not gone.good:
                    raise CaseSystemUnavailable(f"cannot revoke a referral: {gone.status}")
        for transfer in self._primero.transfers(reference):
            if transfer.get("status") in words.OPEN:
                path = f"cases/{reference}/transfers/{transfer['id']}"
                gone = self._primero.ask("PATCH", path, {"status": "revoked"})
                if not gone.good:
                    raise CaseSystemUnavailable(f"cannot revoke a transfer: {gone.status}")
        data: dict[str, Any] = dict.fromkeys(
            (*(row.name for row in words.ROWS), *words.CONSENT_FIELDS, words.CASE, words.SAME_AS)
        )
        data[words.SERVICES] = _merged(record, {})
        unlinked: list[tuple[str, str, Any]] = []
        if self._people is not None and (number := record.get("case_id_display")):
            unlinked = [
                ("PATCH", f"cases/{id_}", {words.SAME_AS: None})
                for id_ in self._people.linked_to(str(number))
            ]
        for method, path, body in (
            *unlinked,
            ("PATCH", f"cases/{business_id}", data),
            ("DELETE", f"cases/{business_id}", None),
        ):
            answer = self._primero.ask(method, path, body)
            if not answer.good:
                raise CaseSystemUnavailable(f"cannot erase: {answer.status}")
        return CannotErase("record-history")

    def poll(self, cursor: str | None) -> Polled:
        """See the port."""
        return poll(self._primero, cursor, self._reasons)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port. The case number names the record and the referral, both."""
        parts = case_ref.rsplit(".", 2)
        try:
            record, referral = (_unpacked(part) for part in parts[1:])
        except ValueError:
            return Declined("not-found")
        return tell(self._primero, record, referral, news)

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port: one case for each remote referral to the outbox that is open, and a reason
        for each remote transfer to it, which a worker offers by hand."""
        if source is not None:
            raise SchemaRefused("the Primero adapter reads Primero, and no file")
        if self._outbox is None:
            return
        line = 0
        for record in self._primero.cases():
            if filed_case(record) is not None or record.get("record_state") is False:
                continue
            for referral in filter(self._is_out, self._primero.referrals(str(record.get("id")))):
                line += 1
                yield _sent(line, record, referral)
            for _ in filter(self._is_out, self._primero.transfers(str(record.get("id")))):
                # A hand-over has a day, and a risk assessed by both; no field of a transfer does.
                line += 1
                yield RejectedRow(line, ("transfer: by-hand",))

    def _is_out(self, transition: Record) -> bool:
        return (
            transition.get("remote") is True
            and transition.get("transitioned_to_agency") == self._outbox
            and transition.get("status") == "in_progress"
        )


def make(settings: Mapping[str, Any], tools: Tools) -> PrimeroSystem:
    """The adapter from its settings: `url`, `user`, `password_file`, `module`, and what
    `PrimeroSystem` explains.

    Raises:
        SchemaRefused: A setting is missing, unknown or wrong.
    """
    checked_settings(
        settings,
        needed={"url": str, "user": str, "password_file": str},
        known={
            "module": str,
            "ca_file": str,
            "timeout": float,
            "refer_to": str,
            "transfer_to": str,
            "outbox": str,
            "carry": bool,
            "reasons": dict,
            "identity": bool,
        },
    )
    ca_file = settings.get("ca_file")
    rest = Rest(
        checked_url(settings["url"]),
        timeout=float(settings.get("timeout", 30)),
        ca_file=None if ca_file is None else Path(ca_file),
    )
    return PrimeroSystem(
        Primero(rest, settings["user"], Path(settings["password_file"])),
        module=settings.get("module", "primeromodule-cp"),
        refer_to=settings.get("refer_to"),
        transfer_to=settings.get("transfer_to"),
        outbox=settings.get("outbox"),
        carry=settings.get("carry", True),
        reasons=settings.get("reasons"),
        identity=settings.get("identity", True),
    )


def _sent(line: int, record: Record, referral: Record) -> CaseRecord | RejectedRow:
    try:
        ids = [_packed(str(each["id"])) for each in (record, referral)]
    except (KeyError, ValueError):
        return RejectedRow(line, ("id: bad-form",))
    case_ref = ".".join([str(record.get("case_id_display") or "case"), *ids])
    if not CASE_REF_FORM.fullmatch(case_ref):
        return RejectedRow(line, ("case_id_display: bad-form",))
    rows = [
        row
        for row in record.get(words.SERVICES) or ()
        if row.get("unique_id") == referral.get("service_record_id")
    ]
    service = rows[0] if len(rows) == 1 else {"service_type": referral.get("service")}
    return case_sent(record, case_ref, service)


def _packed(id_: str) -> str:
    """A UUID in 22 letters, so that two of them fit into a case number."""
    return base64.urlsafe_b64encode(UUID(id_).bytes).decode().rstrip("=")


def _unpacked(text: str) -> str:
    try:
        return str(UUID(bytes=base64.b64decode(text + "==", altchars=b"-_", validate=True)))
    except binascii.Error as error:
        raise ValueError("not an id") from error


def _checked(reference: str) -> UUID:
    """A reference comes back from outside: it must be one that `file` could have given."""
    try:
        if str(UUID(reference)) == reference:
            return UUID(reference)
    except ValueError:
        pass
    raise SchemaRefused("not a reference of the Primero adapter")


def _merged(record: Record, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Subforms as PATCH wants them: it keeps the rows that are not said to go."""
    new = list(fields.get(words.SERVICES, ()))
    stay = {row["unique_id"] for row in new}
    old = [row.get("unique_id") for row in record.get(words.SERVICES) or ()]
    return [*new, *({"unique_id": id_, "_delete": True} for id_ in old if id_ not in stay)]


def _refused(status: int, body: Any) -> Outcome:
    """What Primero does not take: the names of fields of ours, never its words."""
    if status == 403:
        raise CaseSystemUnavailable("answered 403")
    names = {row.name: f"{row.section}.{row.field}" for row in words.ROWS}
    errors = body.get("errors") if isinstance(body, dict) else None
    where = [
        f"{names[each['detail']]}: refused"
        for each in (errors if isinstance(errors, list) else ())
        if isinstance(each, dict) and each.get("detail") in names
    ]
    return CannotMap(tuple(where) or (f"case: status-{status}",))
