"""The port between the gateway and a national case system, and the values that cross it.

Values go in and out; a driver's own exceptions do not, and no key ever comes in. What the port
answers:

* `Filed`, `Declined`, `CannotMap`: the system, or the mapping, has spoken. Asking again gives the
  same answer.
* `schemas.errors.CaseSystemUnavailable` (raised): nothing happened, or nothing that a repetition
  would double. Try again later.
* `schemas.errors.OutcomeUnknown` (raised): the system may or may not have acted, and cannot be
  asked. A person must look.

Four ways through the port, two in each direction:

| | the case | what becomes of it |
|---|---|---|
| inward | `find`, `candidates`, `file`, `update`, `erase`: a partner's referral | `tell`: a partner's decision about a case of ours |
| outward | `read_cases`: cases to be referred | `poll`: what workers here decided about a partner's case |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

JsonSection: TypeAlias = Mapping[str, Any]
"""The content of one section as JSON values; `schemas.sections.validate_section` is its law."""


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """One case as a national system holds it, in our sections. Silent in `repr`."""

    case_ref: str
    """The case number of the system that the record comes from."""
    sections: Mapping[str, JsonSection]
    """Section id to content, canonical: fields that say nothing are absent."""
    business_id: UUID | None = None
    """Names the referral that the record was filed for, if it was."""
    sender: str | None = None
    """Participant that it came from, if it was filed."""
    invented: bool = False
    """No such person exists: a demonstration or a test."""
    consent_boxes: Mapping[str, bool] = field(default_factory=dict)
    """What the system's own consent boxes say. Never a grant: a worker records that."""
    not_carried: tuple[str, ...] = ()
    """Columns that hold something for which no section exists here; said, not dropped silently."""
    handed_over: bool = False
    """It is a case file: the sender gives the case away, and somebody here is to own it."""
    same_as: str | None = None
    """Reference of a record of this system whose person is known to be this one: by a worker's
    word, or since the same sender referred her before. None: nobody has said so. To be filed as a
    link beside the case; it is not content, and the other record stays as it is."""

    def __repr__(self) -> str:
        return "<CaseRecord>"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of a source that cannot become a case. Says where and why, never what it holds."""

    line: int
    """Of the source, starting at 1, where the row begins."""
    reasons: tuple[str, ...]
    """`column: code`; the codes are listed in `docs/adapters.md`."""


class Memory(StrEnum):
    """What keeps a system from holding one referral twice."""

    LOOKUP = "lookup"
    """`find` sees what was filed, also by a process that died right after."""
    KEYS = "keys"
    """It cannot be asked, but itself files once for one business id, however often it is told."""
    NONE = "none"
    """Neither. The gateway files at most once: an attempt without an answer is held for a person
    and never repeated by a machine."""


class Skill(StrEnum):
    """What a system offers besides taking a case. What it lacks is said, not guessed."""

    READ = "read"
    UPDATE = "update"
    ERASE = "erase"
    CASES = "cases"
    """`read_cases` finds cases to be referred."""
    POLL = "poll"
    TELL = "tell"
    CANDIDATES = "candidates"
    """`candidates` finds people whom the system knows already, and `file` links to one of them."""


class Match(StrEnum):
    """Why somebody in the system may be the person of a case. None of these is a certainty."""

    NUMBER = "number"
    """An identity number is the same."""
    NAME = "name"
    """The whole name is the same, and nothing else speaks against it."""
    SCORE = "score"
    """The system's own search thinks so."""
    CASE = "case"
    """The same sender's case of the same number, but its details speak against it. Said by the
    gateway alone."""


MOST_CANDIDATES: Final = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody whom the system knows, and who may be the person of a case. A worker decides."""

    reference: str
    """The record, as a worker finds it in the system and as `CaseRecord.same_as` names it."""
    match: Match
    fields: tuple[str, ...] = ()
    """Paths, `section.field`, that are the same in both; never values."""
    score: int | None = None
    """0 to 100, if the system gives one."""


@dataclass(frozen=True, slots=True)
class Filed:
    """The case is in the system, durably, under this reference."""

    reference: str
    already: bool = False
    """It was there before this call."""
    not_held: tuple[str, ...] = ()
    """`section.field: code` of what the system has no place for. A worker sees them, and the
    gateway keeps them; never values."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The system understood and does not want it."""

    code: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CannotMap:
    """Something in the case has no place in the system. Nothing was filed, so nothing is lost."""

    where: tuple[str, ...]
    """Paths, `section.field: code`; never values."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The system holds nothing under this reference any more."""

    existed: bool
    """False if there was nothing to erase, which is no error: erasing is idempotent."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The system must keep the case, or part of it, and says on which ground."""

    basis: str
    """A code: the law or rule that it is kept on."""


@dataclass(frozen=True, slots=True)
class CannotErase:
    """The system offers no way to remove it. A worker must, and attests it then."""

    code: str


class Step(StrEnum):
    """What happened to a referral in a case system, in the words that all systems share."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UPDATED = "updated"
    """The content of the case changed; the new content is in `sections`."""


@dataclass(frozen=True, slots=True)
class News:
    """What became of one referral: told by a system (`poll`), or to it (`tell`). Silent in `repr`.

    It names the referral by its business id alone. A system that reports a decision under its own
    number only must know which business id it filed that number for; when it does not, or when
    two fit, it reports nothing and the item is `Ambiguous`.
    """

    id: str
    """Unique for one system; the same news comes with the same id, however often it comes."""
    business_id: UUID
    step: Step
    at: datetime
    reason: str | None = None
    """A code of the list that the answer's message type asks for; needed to decline."""
    services: tuple[str, ...] = ()
    """The services it is about; none: the whole referral."""
    sections: Mapping[str, JsonSection] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "<News>"


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Something the system reports that fits no referral, or more than one. A person must look."""

    id: str
    reference: str
    """The system's own number, for the worker who looks."""
    code: str
    """`no-referral`, `several-referrals`, `unknown-code`, `reason-missing`."""
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Polled:
    """One page of what happened in a system since a cursor."""

    items: tuple[News | Ambiguous, ...]
    cursor: str | None
    """To be given to the next `poll`, once the items are stored durably."""
    more: bool = False
    """There is another page now."""


class Register(Protocol):
    """The cases that the gateway itself keeps, for a desk that has no store of its own. It reads
    and never writes. Every method blocks and belongs to no event loop."""

    def read(self, reference: str) -> CaseRecord | None:
        """The case that was filed under a reference, in its newest version; None if none is."""
        ...

    def alike(self, case: CaseRecord) -> Mapping[str, Mapping[str, JsonSection]]:
        """Cases that have a name or a number in common with this one: by reference, what says who
        it is."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What an adapter may ask of its gateway. Functions, never keys."""

    sign_request: Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]] | None = None
    """(method, url, headers, body) to the headers to add: RFC 9421, by the participant's key."""
    verify_request: Callable[[str, str, Mapping[str, str], bytes], str] | None = None
    """(method, url, headers, body) to the participant that signed it; raises `Suspect`."""
    seal_file: Callable[[bytes], bytes] | None = None
    """A file to the bytes that only the country's own file key opens."""
    open_file: Callable[[bytes], bytes] | None = None
    """The inverse; raises `Suspect`."""
    state: Path | None = None
    """A folder of the adapter's own, mode 0700, that outlives the process. No content of a case
    may stay there: it is not erased with the case."""
    register: Register | None = None
    """The cases that the gateway keeps."""


Outcome: TypeAlias = Filed | Declined | CannotMap
Erasing: TypeAlias = Erased | Kept | CannotErase
Source: TypeAlias = Path | BinaryIO


@runtime_checkable
class NationalSystem(Protocol):
    """A national case system, as the gateway sees it.

    Every method blocks, so the gateway calls it from a worker thread; calls for different
    business ids may run at the same time. The gateway retries; an adapter does not.

    Filing is idempotent on the business id: `file` twice with the same case leaves one record and
    answers with the same reference. A process killed at any line leaves either no record that
    `find` reports, or the whole record.
    """

    @property
    def name(self) -> str:
        """The adapter's name in the registry."""
        ...

    @property
    def memory(self) -> Memory:
        """What keeps this system from holding one referral twice."""
        ...

    @property
    def skills(self) -> frozenset[Skill]:
        """What it offers. The rest is answered so: `read` None, `update` and `tell`
        `Declined("not-supported")`, `erase` `CannotErase`, `poll` an empty page, `read_cases` and
        `candidates` nothing."""
        ...

    def check(self) -> None:
        """Return if the system can be read and written now.

        Raises:
            CaseSystemUnavailable: It cannot.
        """
        ...

    def find(self, business_id: UUID) -> Filed | None:
        """Where the case of this business id is, durably; None if it is not there.

        Asked only of a system with `Memory.LOOKUP`; the others answer None and mean nothing by
        it. None also means that no trace of it is left by a process that was killed while filing it:
        a withdrawal that finds nothing has nothing to erase.
        """
        ...

    def read(self, reference: str) -> CaseRecord | None:
        """The case as the system holds it, with every section field it was given."""
        ...

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """Who in the system may be this person already: the first of the two steps of identity.

        Read, compared, nothing written; the second step is a worker's. By an identity number, by
        the whole name in any of its scripts, by the system's own scored search; letters are
        normalised, and nothing is guessed. At most `MOST_CANDIDATES`, the likeliest first. What
        was asked about does not stand in a URL.
        """
        ...

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """Put a case into the system, durably before this returns.

        The same id with other content answers `Declined("id-conflict")`: use `update`. A case with
        `same_as` is filed beside that record and linked to it; the record itself is not touched.
        `Declined("no-such-person")` if there is none: nothing was filed.
        """
        ...

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """`file` for several, in order, sharing the cost of durability where the system can.

        Raises:
            CaseSystemUnavailable: Some may be filed; repeating the whole batch is safe.
        """
        ...

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """Replace the content under a reference, and leave its link to another record.
        `Declined("not-found")` if there is none."""
        ...

    def erase(self, reference: str) -> Erasing:
        """Remove the case and every trace of it that the adapter itself made."""
        ...

    def poll(self, cursor: str | None) -> Polled:
        """What workers decided or changed in the system since a cursor; None: since ever.

        The same page may be asked for again, after a crash, and says the same. A system that can
        tell nothing answers an empty page.
        """
        ...

    def tell(self, case_ref: str, news: News) -> Outcome:
        """Write what a partner decided to the case of ours that was referred to it.

        Written to that referral of that case and no other: a case may have been referred to
        several. Telling the same news twice changes nothing the second time.
        `Declined("not-supported")` if the system has no place for it: the worker reads it in the
        gateway then.
        """
        ...

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """Cases to be referred, one by one in flat memory.

        Args:
            source: A file to read; None for wherever the system keeps them.

        Raises:
            SchemaRefused: The source as a whole is not what it should be.
            NotFound: There is no such source.
        """
        ...


AdapterFactory: TypeAlias = Callable[[Mapping[str, Any], Tools], NationalSystem]
"""Makes a system from its settings (the table `[adapter.settings]` of the gateway's TOML) and what
the gateway lends it. No I/O before the first call.

Raises `SchemaRefused` for settings that are missing, unknown or wrong.
"""


def file_one_by_one(
    system: NationalSystem, cases: Sequence[tuple[UUID, CaseRecord]]
) -> list[Outcome]:
    """`file_many` for a system that has nothing to gain from a batch."""
    return [system.file(business_id, case) for business_id, case in cases]
