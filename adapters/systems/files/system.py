"""The files adapter: a case system that is a folder of HTCDS 2.0 files, CSV or workbooks (XLSX).

    <root>/out/*.csv, *.xlsx          cases to be referred, many rows in a file; written by others
    <root>/in/<business id>.csv       cases filed here, one file each; written by this adapter, as
                                      .csv or .xlsx; what is there in the other form is known
    <root>/parts/                     what a killed process left half written; cleared as it goes
    <root>/rejected/<name>.csv        rows of `out` files that cannot become a case, with reasons
    <root>/taken, <root>/done         dropped files while they are read, and afterwards; see `dropped`
    <root>/decided/*.csv              what workers decided about filed cases; written by others
    <root>/told/<referral>.<id>.csv   what partners decided about our cases; written by this adapter

For a country without a case system, for one whose system imports and exports files, and for
demonstrations. All files are for the owner alone (mode 0600, folders 0700).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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
)
from adapters.systems.files.case_file import (
    Kind,
    case_file,
    checked,
    file_name,
    filed_case,
    id_and_kind,
    is_same,
    load_spelling,
    read_file,
)
from adapters.systems.files.dropped import SUFFIXES, DropFolder
from adapters.systems.files.folder import Folder
from adapters.systems.files.news import DecidedFolder, told_file
from adapters.systems.files.rejected import RejectedFile
from adapters.systems.files.spelling import PLAIN, Spelling
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused


class FilesSystem:
    """Implements `adapters.base.NationalSystem` over a folder."""

    name = "files"
    memory = Memory.LOOKUP
    skills = frozenset(Skill) - {Skill.CANDIDATES}

    def __init__(
        self, root: Path, *, writes: Kind = Kind.CSV, spelling: Path | None = None
    ) -> None:
        """Args:
        writes: As what a case is filed.
        spelling: How the country spells its files; see `spelling`. Read anew for each file.
        """
        self.root = root
        self._writes = writes
        self._spelling = spelling
        self._filed = Folder(root / "in", parts=root / "parts")
        self._told = Folder(root / "told", parts=root / "parts")
        self._decided = DecidedFolder(root / "decided")
        self.dropped = DropFolder(root, self._read_file)

    def check(self) -> None:
        """See the port. The folder must exist: making it is the operator's decision."""
        self._how()
        if not (self.root.is_dir() and os.access(self.root, os.R_OK | os.W_OK | os.X_OK)):
            raise CaseSystemUnavailable("the adapter's folder is missing or cannot be written")

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        found = [name for name in _names(business_id) if self._filed.has(name)]
        return Filed(found[0], already=True) if found else None

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        content = self._filed.get(checked(reference))
        if content is None:
            return None
        return filed_case(content)

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port: it cannot be searched."""
        return ()

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port."""
        return self.file_many([(business_id, case)])[0]

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port. One sync of the folder serves the whole batch."""
        contents = [case_file(case, business_id, self._writes) for business_id, case in cases]
        ready: dict[str, bytes] = {}
        for (business_id, _), content in zip(cases, contents, strict=True):
            if isinstance(content, bytes) and not self._in_other_form(business_id):
                ready.setdefault(file_name(business_id, self._writes), content)  # the first of two
        done = self._filed.put_many(list(ready.items())) if ready else []
        put = dict(zip(ready, done, strict=True))
        outcomes: list[Outcome] = []
        for (business_id, case), content in zip(cases, contents, strict=True):
            name = file_name(business_id, self._writes)
            if isinstance(content, CannotMap):
                outcomes.append(content)
            elif put.pop(name, False):
                outcomes.append(Filed(name))
            else:
                outcomes.append(self._again(business_id, case))
        return outcomes

    def _in_other_form(self, business_id: UUID) -> bool:
        """True if it was filed before the country changed over from CSV to workbooks, or back."""
        ours = file_name(business_id, self._writes)
        return any(self._filed.has(name) for name in _names(business_id) if name != ours)

    def _again(self, business_id: UUID, case: CaseRecord) -> Outcome:
        found = self.find(business_id)
        there = None if found is None else self.read(found.reference)
        if found is None or there is None or not is_same(there, case, business_id):
            return Declined("id-conflict")
        return found

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        name = checked(reference)
        content = case_file(case, *id_and_kind(name))
        if isinstance(content, CannotMap):
            return content
        if not self._filed.has(name):
            return Declined("not-found")
        self._filed.replace(name, content)
        return Filed(name, already=True)

    def erase(self, reference: str) -> Erased:
        """See the port."""
        return Erased(existed=self._filed.remove(checked(reference)))

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port. Rows of files under `out` that are rejected are kept under `rejected`."""
        if source is None:
            for path in sorted((self.root / "out").glob("*")):
                if path.suffix.casefold() in SUFFIXES and not path.name.startswith((".", "~")):
                    yield from self._read_file(path)
        elif isinstance(source, Path):
            yield from self._read_file(source)
        else:
            yield from read_file(source, rejected=None, spelling=self._how())

    def poll(self, cursor: str | None) -> Polled:
        """See the port. One file of `decided` is one page; it is put aside once it is stored."""
        return self._decided.page(cursor, filed=self.find)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port. One small file for each piece of news; a repetition finds it there."""
        name, content = told_file(case_ref, news)
        put = self._told.put_many([(name, content)])[0]
        return Filed(name, already=not put)

    def _how(self) -> Spelling:
        return PLAIN if self._spelling is None else load_spelling(self._spelling)

    def _read_file(self, path: Path) -> Iterator[CaseRecord | RejectedRow]:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise NotFound("no such file") from None
        except OSError as error:
            raise CaseSystemUnavailable(f"cannot open the file: errno {error.errno}") from None
        with stream, RejectedFile(_rejected(self.root, path)) as rejected:
            yield from read_file(stream, rejected=rejected, spelling=self._how())


def make(settings: Mapping[str, Any], tools: Tools) -> FilesSystem:
    """The adapter from its settings: `root`, a folder; `writes`; `spelling`. It needs no tools.

    Raises:
        SchemaRefused: `root` is missing, a setting is wrong, or not one of this adapter.
    """
    root, spelling = settings.get("root"), settings.get("spelling")
    wrong = set(settings) - {"root", "writes", "spelling"}
    if not isinstance(root, str | Path):
        wrong.add("root")
    if not isinstance(spelling, str | Path | None):
        wrong.add("spelling")
    if settings.get("writes", "csv") not in {kind.value for kind in Kind}:
        wrong.add("writes")
    if wrong or root is None:
        raise SchemaRefused("missing, unknown or wrong settings", where=tuple(sorted(wrong)))
    return FilesSystem(
        Path(root),
        writes=Kind(settings.get("writes", "csv")),
        spelling=None if spelling is None else Path(root) / spelling,
    )


def _names(business_id: UUID) -> tuple[str, ...]:
    return tuple(file_name(business_id, kind) for kind in Kind)


def _rejected(root: Path, path: Path) -> Path:
    """Where the rejected rows of a file are kept; a workbook and a CSV of one name have two."""
    name = path.name if path.suffix.casefold() == ".csv" else f"{path.name}.csv"
    return root / "rejected" / name
