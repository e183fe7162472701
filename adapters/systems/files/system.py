"""The files adapter: a case system that is a folder of HTCDS 2.0 CSV files.

    <root>/out/*.csv                  cases to be referred, many rows in a file; written by others
    <root>/in/<business id>.csv       cases filed here, one file each; written by this adapter
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
    case_file,
    checked,
    file_name,
    filed_case,
    is_same,
    read_file,
)
from adapters.systems.files.dropped import SUFFIXES, DropFolder
from adapters.systems.files.folder import Folder
from adapters.systems.files.news import DecidedFolder, told_file
from adapters.systems.files.rejected import RejectedFile
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused


class FilesSystem:
    """Implements `adapters.base.NationalSystem` over a folder."""

    name = "files"
    memory = Memory.LOOKUP
    skills = frozenset(Skill) - {Skill.CANDIDATES}

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filed = Folder(root / "in", parts=root / "parts")
        self._told = Folder(root / "told", parts=root / "parts")
        self._decided = DecidedFolder(root / "decided")
        self.dropped = DropFolder(root, self._read_file)

    def check(self) -> None:
        """See the port. The folder must exist: making it is the operator's decision."""
        if not (self.root.is_dir() and os.access(self.root, os.R_OK | os.W_OK | os.X_OK)):
            raise CaseSystemUnavailable("the adapter's folder is missing or cannot be written")

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        name = file_name(business_id)
        return Filed(name, already=True) if self._filed.has(name) else None

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
        contents = [case_file(case, business_id) for business_id, case in cases]
        ready = [
            (file_name(business_id), content)
            for (business_id, _), content in zip(cases, contents, strict=True)
            if isinstance(content, bytes)
        ]
        put = iter(self._filed.put_many(ready) if ready else ())
        outcomes: list[Outcome] = []
        for (business_id, case), content in zip(cases, contents, strict=True):
            if isinstance(content, CannotMap):
                outcomes.append(content)
            elif next(put):
                outcomes.append(Filed(file_name(business_id)))
            else:
                outcomes.append(self._again(business_id, case))
        return outcomes

    def _again(self, business_id: UUID, case: CaseRecord) -> Outcome:
        there = self.read(file_name(business_id))
        same = there is not None and is_same(there, case, business_id)
        return Filed(file_name(business_id), already=True) if same else Declined("id-conflict")

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        name = checked(reference)
        content = case_file(case, UUID(name.removesuffix(".csv")))
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
            yield from read_file(source, rejected=None)

    def poll(self, cursor: str | None) -> Polled:
        """See the port. One file of `decided` is one page; it is put aside once it is stored."""
        return self._decided.page(cursor, filed=self.find)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port. One small file for each piece of news; a repetition finds it there."""
        name, content = told_file(case_ref, news)
        put = self._told.put_many([(name, content)])[0]
        return Filed(name, already=not put)

    def _read_file(self, path: Path) -> Iterator[CaseRecord | RejectedRow]:
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise NotFound("no such file") from None
        except OSError as error:
            raise CaseSystemUnavailable(f"cannot open the file: errno {error.errno}") from None
        with stream, RejectedFile(_rejected(self.root, path)) as rejected:
            yield from read_file(stream, rejected=rejected)


def make(settings: Mapping[str, Any], tools: Tools) -> FilesSystem:
    """The adapter from its settings: `root`, a folder. It needs no tools.

    Raises:
        SchemaRefused: `root` is missing, or there is a setting that this adapter does not know.
    """
    root = settings.get("root")
    if set(settings) != {"root"} or not isinstance(root, str | Path):
        raise SchemaRefused("the files adapter has exactly one setting", where=("root",))
    return FilesSystem(Path(root))


def _rejected(root: Path, path: Path) -> Path:
    """Where the rejected rows of a file are kept; a workbook and a CSV of one name have two."""
    name = path.name if path.suffix.casefold() == ".csv" else f"{path.name}.csv"
    return root / "rejected" / name
