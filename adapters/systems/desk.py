"""No case system: the gateway itself is where workers keep and read cases.

For a country or a shelter that has none. What arrives stays in the gateway's vault, and is read,
answered and erased there; so filing is nothing but a name for it. There is no second copy, and
nothing of a case ever leaves the vault. What the gateway keeps it can look up, so that nobody is
taken for somebody here either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from adapters.base import (
    MOST_CANDIDATES,
    Candidate,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Filed,
    Match,
    Memory,
    News,
    Outcome,
    Polled,
    Register,
    RejectedRow,
    Skill,
    Source,
    Tools,
    file_one_by_one,
)
from adapters.likeness import likeness
from schemas.errors import SchemaRefused
from schemas.sections import validate_section


class Desk:
    """Implements `adapters.base.NationalSystem` without a system behind it.

    With the gateway's register it remembers by lookup and knows who is in it; without one, as where
    nothing of a gateway runs, a case's name follows from its business id, and that is all.
    """

    name = "desk"

    def __init__(self, register: Register | None = None) -> None:
        self._register = register
        self.memory = Memory.KEYS if register is None else Memory.LOOKUP
        self.skills = frozenset({Skill.UPDATE, Skill.ERASE}) | (
            frozenset() if register is None else {Skill.READ, Skill.CANDIDATES}
        )

    def check(self) -> None:
        """See the port. There is nothing that could be away."""

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        reference = _reference(business_id)
        return None if self.read(reference) is None else Filed(reference, already=True)

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        return None if self._register is None else self._register.read(reference)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port: by number and by whole name."""
        if self._register is None:
            return ()
        found = []
        for reference, sections in self._register.alike(case).items():
            alike = likeness(case.sections, sections)
            if alike is not None:
                found.append(Candidate(reference, alike.match, alike.fields))
        found.sort(key=lambda one: (one.match is not Match.NUMBER, one.reference))
        return tuple(found[:MOST_CANDIDATES])

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port. It is in the vault already, or the gateway would not be asking; a link is
        kept there too, as the worker's answer."""
        wrong: list[str] = []
        for section, content in case.sections.items():
            try:
                validate_section(section, dict(content))
            except SchemaRefused as refused:
                wrong += refused.where
        if wrong:
            return CannotMap(tuple(wrong))
        if case.same_as is not None and self.read(case.same_as) is None:
            return Declined("no-such-person")
        return Filed(_reference(business_id))

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


def _reference(business_id: UUID) -> str:
    return f"desk:{business_id}"


def make(settings: Mapping[str, Any], tools: Tools) -> Desk:
    """The adapter; it has no settings, and asks the gateway's register.

    Raises:
        SchemaRefused: There is a setting.
    """
    if settings:
        raise SchemaRefused("the desk has no settings", where=tuple(sorted(settings)))
    return Desk(tools.register)
