"""`referral send --all`: every case of a national file, each under its own consent.

Three promises:

* **No consent, no message.** A case travels under a live grant of its own. With `--record-consent`
  one is recorded for a row whose consent box says yes, for an adult, if the person never took
  anything of it back. A withdrawal is not undone by a file that still says yes.
* **Doing it again changes nothing.** A request has a name made of participant, case, type and
  recipient, which the gateway answers as before; a grant is looked for before one is recorded.
  So a run that broke off is simply run again.
* **Flat memory.** Rows are read a page at a time, and several requests of a page are under way at
  once.
"""

from __future__ import annotations

import csv
import os
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TextIO
from uuid import UUID, uuid5

from adapters.base import CaseRecord, RejectedRow
from broker.cli.local import LocalApi
from schemas.errors import (
    BrokerError,
    ChildRule,
    ConsentExpired,
    ConsentMissing,
    ConsentWithdrawn,
    Expired,
    NotFound,
    NotPermitted,
    Refused,
    Unavailable,
)
from schemas.sections.fields import possibly_child

PAGE = 200
"""Rows read ahead; also how many cases are asked about in one search for grants."""
IN_FLIGHT = 8
PAUSES_SECONDS = (0.5, 2.0)
"""Before the second and the third attempt at what the gateway could not do just then."""
_NAMES = UUID("feb3b413-800c-4530-be18-1f6a045f1003")
_DECIDING_BOXES = ("con_Consent", "vic_AgreementToManagePersonalData", "con_UseOfData")
"""The boxes about the use of the data. Others (research, an interview) decide nothing here."""
_ENDED_UNSENT = {"refused", "failed", "stopped", "expired"}
"""States of an earlier request of the same name that never reached anybody."""


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """What is the same for every consent that a run records."""

    valid_until: str
    language: str
    notice: str
    how: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent about every case."""

    participant: str
    to: str
    type_name: str
    purpose: str
    body: Mapping[str, Any]
    chosen: tuple[str, ...] = ()
    """Sections to send of those that a case has; all of them if none is named."""
    urgency: str | None = None
    consent: ConsentTerms | None = None
    """None: only cases with a live grant are sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one case; no code means sent."""

    case_ref: str
    code: str | None = None
    where: tuple[str, ...] = ()
    undecided: bool = False
    """Nobody has refused it: the gateway could not say. Running again finds out."""
    recorded: bool = False
    """A consent was recorded for it."""


@dataclass(slots=True)
class Tally:
    """What became of all of them."""

    sent: int = 0
    refused: int = 0
    rows_rejected: int = 0
    undecided: int = 0
    consents_recorded: int = 0
    complete: bool = True
    """False: the gateway stopped answering, and the rest of the file was not tried."""
    by_code: Counter[str] = field(default_factory=Counter)
    not_carried: Counter[str] = field(default_factory=Counter)
    """Columns that hold something for which no message has a place, and in how many rows."""

    @property
    def done(self) -> int:
        return self.sent + self.refused + self.rows_rejected + self.undecided

    def add(self, answer: Answer) -> None:
        self.consents_recorded += answer.recorded
        if answer.code is None:
            self.sent += 1
            return
        self.by_code[answer.code] += 1
        if answer.undecided:
            self.undecided += 1
        else:
            self.refused += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "refused": self.refused,
            "rows_rejected": self.rows_rejected,
            "undecided": self.undecided,
            "consents_recorded": self.consents_recorded,
            "complete": self.complete,
            "by_code": dict(sorted(self.by_code.items())),
            "not_carried": dict(sorted(self.not_carried.items())),
        }


class Held:
    """The grants that one case has with the recipient, as the gateway knows them."""

    def __init__(self, consents: Iterable[Mapping[str, Any]], *, today: date) -> None:
        self._live: list[tuple[str, set[tuple[str, str]]]] = []
        self._expired: set[tuple[str, str]] = set()
        self._taken_back: set[tuple[str, str]] = set()
        for consent in consents:
            stand: set[tuple[str, str]] = set()
            for scope in consent["scopes"]:
                name = (str(scope["purpose"]), str(scope["section"]))
                (self._taken_back if scope["removed"] else stand).add(name)
            if consent["state"] == "refused":
                continue  # the hub never knew it
            if date.fromisoformat(consent["until"]) < today:
                self._expired |= stand
            else:
                self._live.append((str(consent["grant"]), stand))

    def covering(self, scopes: set[tuple[str, str]]) -> str | None:
        """A live grant for all of these, or None if a new one may be recorded.

        Raises:
            ConsentWithdrawn, ConsentExpired: The person must be asked again, by a person.
        """
        for grant, stand in self._live:
            if scopes <= stand:
                return grant
        if scopes & self._taken_back:
            raise ConsentWithdrawn(where=_sections(scopes & self._taken_back))
        if scopes & self._expired:
            raise ConsentExpired(where=_sections(scopes & self._expired))
        return None


def send_all(
    api: LocalApi,
    order: Order,
    rows: Iterable[CaseRecord | RejectedRow],
    *,
    keep: Callable[[Answer], None],
    at: Callable[[Tally], None],
) -> Tally:
    """Send every case among `rows`.

    Args:
        keep: Called with each case that was not sent.
        at: Called after each case, with what became of all so far.

    Raises:
        Refused, Unavailable: Nothing could be asked at all, as with a token that is not one.
    """
    tally = Tally()
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="send") as pool:
        for page in _pages(rows):
            cases = [row for row in page if isinstance(row, CaseRecord)]
            tally.rows_rejected += len(page) - len(cases)
            for case in cases:
                tally.not_carried.update(case.not_carried)
            held = _search(api, order, [case.case_ref for case in cases]) if cases else {}
            known = [held.get(case.case_ref) for case in cases]
            for answer in pool.map(partial(_one, api, order), cases, known):
                tally.add(answer)
                if answer.code is not None:
                    keep(answer)
                at(tally)
            if tally.undecided:
                # Hammering a gateway that cannot would only make the list longer.
                tally.complete = False
                break
    return tally


def business_id(order: Order, case_ref: str) -> UUID:
    """The name of a request: the same in every run."""
    return _name(order.type_name, order, case_ref)


def _name(what: str, order: Order, case_ref: str) -> UUID:
    return uuid5(_NAMES, "\n".join((order.participant, case_ref, what, order.to)))


def box_says_yes(case: CaseRecord) -> bool:
    """True if the row's consent boxes about the use of the data are filled, and all say yes."""
    said = [case.consent_boxes[name] for name in _DECIDING_BOXES if name in case.consent_boxes]
    return bool(said) and all(said)


def is_child(case: CaseRecord, today: date) -> bool:
    """In doubt, a child: by the guardian section or by the latest possible date of birth."""
    birthdate = case.sections.get("identity_core", {}).get("birthdate")
    return "guardian_child" in case.sections or possibly_child(birthdate, today)


def _pages(
    rows: Iterable[CaseRecord | RejectedRow],
) -> Iterator[list[CaseRecord | RejectedRow]]:
    source = iter(rows)
    while page := list(islice(source, PAGE)):
        yield page


def _search(api: LocalApi, order: Order, case_refs: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    answer = api.post("/v1/consents/search", {"to": order.to, "case_refs": case_refs})
    for consent in answer["consents"]:
        found.setdefault(str(consent["case_ref"]), []).append(consent)
    return found


def _one(
    api: LocalApi, order: Order, case: CaseRecord, known: list[dict[str, Any]] | None
) -> Answer:
    """Send one case, trying again what could not be done just then."""
    attempt = _Attempt(api, order, case)
    for pause in (*PAUSES_SECONDS, None):
        try:
            attempt.make(known)
        except Unavailable as error:
            if pause is None:
                return attempt.answer(error, undecided=True)
            time.sleep(pause)
            known = None  # a grant may have been recorded though its answer was lost: look again
        except BrokerError as error:
            return attempt.answer(error)
        else:
            return attempt.answer()
    raise AssertionError("the last attempt has an answer")


class _Attempt:
    """One case on its way: consent first, then the message."""

    def __init__(self, api: LocalApi, order: Order, case: CaseRecord) -> None:
        self._api, self._order, self._case = api, order, case
        self._today = datetime.now(UTC).date()
        self._looked = False
        self._recorded = False

    def answer(self, error: BrokerError | None = None, *, undecided: bool = False) -> Answer:
        return Answer(
            self._case.case_ref,
            error.code if error else None,
            error.where if error else (),
            undecided=undecided,
            recorded=self._recorded,
        )

    def make(self, known: list[dict[str, Any]] | None) -> None:
        """Send it.

        Raises:
            BrokerError: Why not.
        """
        order, case = self._order, self._case
        sections = {
            name: dict(content)
            for name, content in case.sections.items()
            if not order.chosen or name in order.chosen
        }
        if not sections:
            raise NotFound("the case has none of the sections", where=("sections",))
        child = is_child(case, self._today)
        if child and "guardian_child" not in sections:
            raise ChildRule(where=("sections.guardian_child",))
        if known is None and self._looked:
            known = _search(self._api, order, [case.case_ref]).get(case.case_ref)
        self._looked = True
        scopes = {(order.purpose, name) for name in sections}
        grant = Held(known or (), today=self._today).covering(scopes)
        if grant is None and order.consent is not None:
            grant = self._record(order.consent, scopes, child=child)
        self._send(sections, grant)

    def _record(self, terms: ConsentTerms, scopes: set[tuple[str, str]], *, child: bool) -> str:
        order = self._order
        if not box_says_yes(self._case):
            raise ConsentMissing(where=("consent box",))
        if child:
            # Two voices must be on record, and a file has neither.
            raise ChildRule(where=("grant.guardian",))
        answer = self._api.post(
            "/v1/consents",
            {
                "to": order.to,
                "case_ref": self._case.case_ref,
                "scopes": [
                    {"purpose": purpose, "section": section} for purpose, section in sorted(scopes)
                ],
                # A pseudonym for this corridor: two recipients cannot compare theirs.
                "principal": str(_name("principal", order, self._case.case_ref)),
                "valid_until": terms.valid_until,
                "language": terms.language,
                "notice": terms.notice,
                "how": terms.how,
            },
        )
        self._recorded = True
        return str(answer["grant"])

    def _send(self, sections: Mapping[str, Any], grant: str | None) -> None:
        order = self._order
        draft = {
            "type": order.type_name,
            "to": order.to,
            "case_ref": self._case.case_ref,
            "purpose": order.purpose,
            "grant": grant,
            "sections": sections,
            "body": dict(order.body),
            "urgency": order.urgency,
            "business_id": str(business_id(order, self._case.case_ref)),
        }
        stored = self._api.post(
            "/v1/messages", {name: value for name, value in draft.items() if value is not None}
        )
        if stored.get("state") in _ENDED_UNSENT:
            raise _ended(self._api.get(f"/v1/messages/{stored['id']}"))


def _ended(message: Mapping[str, Any]) -> BrokerError:
    """Why an earlier request of the same name never arrived; its id is in `where`."""
    from broker.cli.terminal.failures import error_named

    where = (f"message {message['id']}: {message['state']}",)
    if message.get("code"):
        return error_named(str(message["code"]), family="refused", where=where)
    return (Expired if message["state"] == "expired" else NotPermitted)(where=where)


def _sections(scopes: set[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"scopes.{section}" for section in sorted(name for _, name in scopes))


class RefusedFile:
    """The cases that were not sent, with codes: for a worker of this machine, mode 0600.

    Made when the first is refused, over what an earlier run left; a run that refuses none leaves
    none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used = False
        self._file: TextIO | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def add(self, answer: Answer) -> None:
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(("case_ref", "code", "where"))
            self.used = True
        self._writer.writerow((answer.case_ref, answer.code, "; ".join(answer.where)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def about_how_many(path: Path) -> int:
    """Rows of a file, counted without reading them: good enough for a progress display."""
    if zipfile.is_zipfile(path):
        return _rows_of_sheets(path)
    with path.open("rb") as stream:
        return max(_count(stream, b"\n") - 1, 0)


def _rows_of_sheets(path: Path) -> int:
    """Of a workbook: those of its longest sheet, which is the one with the cases or near to it."""
    rows = [0]
    with zipfile.ZipFile(path) as package, suppress(zipfile.BadZipFile, zlib.error):
        for name in package.namelist():
            if name.startswith("xl/worksheets/sheet"):
                with package.open(name) as sheet:
                    rows.append(_count(sheet, b"<row ") - 1)
    return max(rows)


def _count(stream: IO[bytes], mark: bytes) -> int:
    found, tail = 0, b""
    while block := stream.read(1 << 20):
        block = tail + block
        found += block.count(mark)
        tail = block[len(block) - len(mark) + 1 :]
    return found


def verdict(tally: Tally) -> BrokerError | None:
    """What a run ends with in which nothing was sent; None if that is no error."""
    if tally.sent or not tally.done:
        return None
    if tally.undecided:
        return Unavailable("the gateway could not decide; run the same command again")
    if len(tally.by_code) == 1 and not tally.rows_rejected:
        from broker.cli.terminal.failures import error_named

        return error_named(next(iter(tally.by_code)), detail="for every case")
    return Refused("nothing was sent")
