"""No case system: the gateway itself is where workers keep and read cases.

For a country or a shelter that has none. What arrives stays in the gateway's vault, and is read,
answered and erased there; so filing is nothing but a name for it. There is no second copy, and
nothing of a case ever leaves the vault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from adapters.base import (
    Candidate,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
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
from schemas.errors import SchemaRefused
from schemas.sections import validate_section


class Desk:
    """Implements `adapters.base.NationalSystem` without a system behind it."""

    name = "desk"
    memory = Memory.KEYS
    """The name of a case follows from its business id: filing it again is the same filing."""
    skills = frozenset({Skill.UPDATE, Skill.ERASE})

    def check(self) -> None:
        """See the port. There is nothing that could be away."""

    def find(self, business_id: UUID) -> Filed | None:
        """See the port: nothing is meant by it."""
        return None

    def read(self, reference: str) -> CaseRecord | None:
        """See the port: workers read in the gateway."""
        return None

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port: it cannot be searched."""
        return ()

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port. It is in the vault already, or the gateway would not be asking."""
        wrong: list[str] = []
        for section, content in case.sections.items():
            try:
                validate_section(section, dict(content))
            except SchemaRefused as refused:
                wrong += refused.where
        return CannotMap(tuple(wrong)) if wrong else Filed(f"desk:{business_id}")

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port."""
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port: the vault, which the gateway narrows itself, is all there is."""
        return Filed(reference, already=True)

    def erase(self, reference: str) -> Erased:
        """See the port: there is no copy besides the vault's, which the gateway erases itself."""
        return Erased(existed=False)

    def poll(self, cursor: str | None) -> Polled:
        """See the port: what workers decide here they say here."""
        return Polled((), cursor)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port: workers read it in the gateway."""
        return Declined("not-supported")

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port: cases are written in the gateway, or read from HTCDS files."""
        return iter(())


def make(settings: Mapping[str, Any], tools: Tools) -> Desk:
    """The adapter; it has no settings and needs no tools.

    Raises:
        SchemaRefused: There is a setting.
    """
    if settings:
        raise SchemaRefused("the desk has no settings", where=tuple(sorted(settings)))
    return Desk()
