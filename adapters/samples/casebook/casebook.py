"""An adapter to copy: a case system that is one table in SQLite.

Yours has another table, or another way in; what stays is the order of things. `WORDS` is the
mapping: our codes on the left, the system's own on the right, nothing guessed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
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
from schemas.errors import CaseSystemUnavailable, SchemaRefused
from schemas.sections import section_content, validate_section

TABLE = """
CREATE TABLE IF NOT EXISTS cases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- an erased case's number names no other, ever
    referral TEXT NOT NULL UNIQUE,  -- what keeps one referral from being filed twice
    sender TEXT, case_ref TEXT NOT NULL, invented INTEGER NOT NULL, sex TEXT, rest TEXT NOT NULL
)
"""
WORDS = {
    "Feminine": "F",
    "Masculine": "M",
    "TransgenderFeminine": "TF",
    "TransgenderMasculine": "TM",
    "NonConforming": "X",
    "NonSpecifiedUnknown": "U",
}
"""`identity_core.gender` in this system's own column."""
OURS = {theirs: ours for ours, theirs in WORDS.items()}


class Casebook:
    """See `adapters.base.NationalSystem` for what each method promises."""

    name = "casebook"
    memory = Memory.LOOKUP
    skills = frozenset({Skill.READ, Skill.UPDATE, Skill.ERASE})

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        self._ask("SELECT 1 FROM cases LIMIT 1")

    def find(self, business_id: UUID) -> Filed | None:
        rows = self._ask("SELECT number FROM cases WHERE referral = ?", str(business_id))
        return Filed(str(rows[0]["number"]), already=True) if rows else None

    def read(self, reference: str) -> CaseRecord | None:
        rows = self._ask("SELECT * FROM cases WHERE number = ?", _number(reference))
        return _case(rows[0]) if rows else None

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        row = _row(case)
        if isinstance(row, CannotMap):
            return row
        new = self._ask(
            "INSERT INTO cases (referral, sender, case_ref, invented, sex, rest)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (referral) DO NOTHING RETURNING number",
            *(str(business_id), *row),
        )
        if new:
            return Filed(str(new[0]["number"]))
        there = self.find(business_id)
        if there is None:
            raise CaseSystemUnavailable("withdrawn meanwhile")
        found = self.read(there.reference)
        same = found is not None and _row(found) == row
        return there if same else Declined("id-conflict")

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        return file_one_by_one(self, cases)

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        row = _row(case)
        if isinstance(row, CannotMap):
            return row
        if self.read(reference) is None:
            return Declined("not-found")
        self._ask(
            "UPDATE cases SET sender = ?, case_ref = ?, invented = ?, sex = ?, rest = ?"
            " WHERE number = ?",
            *(*row, _number(reference)),
        )
        return Filed(reference, already=True)

    def erase(self, reference: str) -> Erased:
        existed = self.read(reference) is not None
        self._ask("DELETE FROM cases WHERE number = ?", _number(reference))
        return Erased(existed)

    # --- what this system does not offer, each answered as the port says ---

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        return ()

    def poll(self, cursor: str | None) -> Polled:
        return Polled((), cursor)

    def tell(self, case_ref: str, news: News) -> Outcome:
        return Declined("not-supported")

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        return iter(())

    def _ask(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """One statement, durable when this returns. A connection of its own: threads call at once."""
        try:
            with closing(sqlite3.connect(self._path, timeout=20)) as line, line:
                line.row_factory = sqlite3.Row
                line.execute("PRAGMA secure_delete = ON")
                line.execute(TABLE)
                return line.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            # Never the driver's text: it may repeat what it was given.
            raise CaseSystemUnavailable(f"casebook: {error.sqlite_errorname}") from None


def _row(case: CaseRecord) -> tuple[object, ...] | CannotMap:
    """Our sections in this system's columns, or the fields that have no place."""
    try:
        sections = {
            name: section_content(validate_section(name, content))
            for name, content in case.sections.items()
        }
    except SchemaRefused as refused:
        return CannotMap(refused.where)
    sex = None
    if "identity_core" in sections:
        gender = sections["identity_core"].pop("gender", None)
        if gender is not None and gender not in WORDS:
            return CannotMap(("identity_core.gender: unknown-code",))
        sex = None if gender is None else WORDS[str(gender)]
    rest = json.dumps(sections, sort_keys=True)
    return (case.sender, case.case_ref, int(case.invented), sex, rest)


def _case(row: sqlite3.Row) -> CaseRecord:
    """The inverse of `_row`."""
    sections: dict[str, dict[str, Any]] = json.loads(row["rest"])
    if row["sex"] is not None:
        sections["identity_core"]["gender"] = OURS[row["sex"]]
    case = CaseRecord(row["case_ref"], sections, business_id=UUID(row["referral"]))
    return replace(case, sender=row["sender"], invented=bool(row["invented"]))


def _number(reference: str) -> int:
    """A reference comes back from outside: it must be one that `file` could have given."""
    if not reference.isascii() or not reference.isdigit() or len(reference) > 18:
        raise SchemaRefused("not a reference of the casebook")
    return int(reference)


def make(settings: Mapping[str, Any], tools: Tools) -> Casebook:
    """The adapter from its settings: `path`, the database."""
    if set(settings) != {"path"} or not isinstance(settings["path"], str):
        raise SchemaRefused("the casebook has exactly one setting", where=("path",))
    return Casebook(Path(settings["path"]))
