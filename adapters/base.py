"""The port between the gateway and a national case system, and the values that cross it.

Values go in and out; a driver's own exceptions do not. What the port answers:

* `Filed`, `Declined`, `CannotMap`: the system, or the mapping, has spoken. Asking again gives the
  same answer.
* `schemas.errors.CaseSystemUnavailable` (raised): nothing happened, or nothing that a repetition
  would double. Try again later.
* `schemas.errors.OutcomeUnknown` (raised): the system may or may not have acted, and cannot be
  asked. A person must look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable
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

    def __repr__(self) -> str:
        return "<CaseRecord>"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of a source that cannot become a case. Says where and why, never what it holds."""

    line: int
    """Of the source, starting at 1, where the row begins."""
    reasons: tuple[str, ...]
    """`column: code`; the codes are listed in `docs/adapters.md`."""


@dataclass(frozen=True, slots=True)
class Filed:
    """The case is in the system, durably, under this reference."""

    reference: str
    already: bool = False
    """It was there before this call."""


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


Outcome: TypeAlias = Filed | Declined | CannotMap
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

    def check(self) -> None:
        """Return if the system can be read and written now.

        Raises:
            CaseSystemUnavailable: It cannot.
        """
        ...

    def find(self, business_id: UUID) -> Filed | None:
        """Where the case of this business id is, durably; None if it is not there.

        None also means that no trace of it is left by a process that was killed while filing it:
        a withdrawal that finds nothing has nothing to erase.
        """
        ...

    def read(self, reference: str) -> CaseRecord | None:
        """The case as the system holds it, with every section field it was given."""
        ...

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """Put a case into the system, durably before this returns.

        The same id with other content answers `Declined("id-conflict")`: use `update`.
        """
        ...

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """`file` for several, in order, sharing the cost of durability where the system can.

        Raises:
            CaseSystemUnavailable: Some may be filed; repeating the whole batch is safe.
        """
        ...

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """Replace the content under a reference. `Declined("not-found")` if there is none."""
        ...

    def erase(self, reference: str) -> Erased:
        """Remove the case and every trace of it that the adapter itself made."""
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


AdapterFactory: TypeAlias = Callable[[Mapping[str, Any]], NationalSystem]
"""Makes a system from its settings (a table of the gateway's TOML). No I/O before the first call.

Raises `SchemaRefused` for settings that are missing, unknown or wrong.
"""


def file_one_by_one(
    system: NationalSystem, cases: Sequence[tuple[UUID, CaseRecord]]
) -> list[Outcome]:
    """`file_many` for a system that has nothing to gain from a batch."""
    return [system.file(business_id, case) for business_id, case in cases]
