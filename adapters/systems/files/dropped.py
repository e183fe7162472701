"""Files that others drop into `out`: taken when they are whole, put aside when they are dealt with.

    out/cases.csv                 dropped by others, perhaps still growing
    taken/<mark>-cases.csv        ours: whole, being read; a killed process leaves it here
    done/<mark>-cases.csv         every row of it was decided
    rejected/<mark>-cases.csv…    what could not become a case, with the reasons beside it

Each step is one rename, so that a process killed between any two leaves the file in one of these
places and whole. What is in `taken` is read again from the start: whoever sends its cases does so
under names that stay the same. Nothing is ever deleted.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from adapters.base import CaseRecord, RejectedRow
from schemas.errors import CaseSystemUnavailable, SchemaRefused

SUFFIXES = frozenset({".csv", ".xlsx"})

QUIET = 5.0
"""Seconds without a change after which a file that looks whole is taken."""
STILL_WRITTEN = 60.0
"""The same for one that does not look whole: it is taken then, and told what it lacks."""


class Taken(Protocol):
    """One taken file, wherever it lies."""

    @property
    def name(self) -> str:
        """As it was dropped."""
        ...

    @property
    def mark(self) -> str:
        """A name that no other has."""
        ...

    @property
    def path(self) -> Path | None:
        """Where it is on this machine, if it is."""
        ...

    def cases(self) -> Iterator[CaseRecord | RejectedRow]:
        """Its rows; rejected ones are kept under `rejected`.

        Raises:
            SchemaRefused: The file as a whole is not what it should be; see `refuse`.
        """
        ...

    def put_aside(self) -> bool:
        """Move it to `done`, durably; False if it grew since it was read: it is read again then."""
        ...

    def refuse(self, refused: SchemaRefused) -> None:
        """Move it to `rejected`, with a text beside it that says why; for the file as a whole."""
        ...


class Drops(Protocol):
    """A folder into which others drop files."""

    def take(self) -> Sequence[Taken]:
        """What a killed process had taken, then every file of `out` that is whole, by name."""
        ...


@runtime_checkable
class HasDrops(Protocol):
    """An adapter with such a folder."""

    @property
    def dropped(self) -> Drops:
        """Its folder."""
        ...


def why(refused: SchemaRefused) -> bytes:
    """The text that lies beside a file that is refused as a whole."""
    return ("\n".join((refused.code, refused.detail, *refused.where)) + "\n").encode()


@dataclass(slots=True)
class Dropped:
    """Implements `Taken` on this machine."""

    path: Path
    _root: Path
    _read: Callable[[Path], Iterator[CaseRecord | RejectedRow]]
    _seen: tuple[int, int] | None = field(default=None)

    @property
    def name(self) -> str:
        """See `Taken`."""
        return self.path.name.partition("-")[2]

    @property
    def mark(self) -> str:
        """See `Taken`."""
        return self.path.name

    def cases(self) -> Iterator[CaseRecord | RejectedRow]:
        """See `Taken`. Rejected rows are kept as they come."""
        self._seen = _state(self.path)
        yield from self._read(self.path)

    def put_aside(self) -> bool:
        """See `Taken`."""
        with _answering("put aside"):
            if self._seen is None or _state(self.path) != self._seen:
                return False
            _move(self.path, self._root / "done" / self.path.name)
        return True

    def refuse(self, refused: SchemaRefused) -> None:
        """See `Taken`."""
        with _answering("put aside"):
            to = self._root / "rejected" / self.path.name
            _make(to.parent)
            with contextlib.suppress(FileExistsError):  # said by a process that was killed after it
                _write_new(to.with_name(f"{to.name}.why.txt"), why(refused))
            _move(self.path, to)


class DropFolder:
    """The folder `out` of a root, and what becomes of its files."""

    def __init__(
        self,
        root: Path,
        read: Callable[[Path], Iterator[CaseRecord | RejectedRow]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._read, self._clock = root, read, clock

    def take(self) -> list[Dropped]:
        """See `Drops`."""
        with _answering("take"):
            for path in sorted((self._root / "out").glob("*")):
                if self._is_whole(path):
                    to = self._root / "taken" / f"{secrets.token_hex(4)}-{path.name}"
                    with contextlib.suppress(FileNotFoundError):  # taken by another process
                        _move(path, to)
            taken = sorted((self._root / "taken").glob("*"), key=lambda each: each.name[9:])
        return [Dropped(path, self._root, self._read) for path in taken]

    def unfinished(self) -> tuple[str, ...]:
        """The names of files in `out` that are not whole yet, for whoever wonders."""
        with _answering("look into"):
            found = sorted((self._root / "out").glob("*"))
            return tuple(each.name for each in found if _is_ours(each) and not self._is_whole(each))

    def _is_whole(self, path: Path) -> bool:
        if not _is_ours(path):
            return False
        try:
            quiet = self._clock() - path.stat().st_mtime
            return quiet >= STILL_WRITTEN or (quiet >= QUIET and _has_its_end(path))
        except FileNotFoundError:
            return False


def _is_ours(path: Path) -> bool:
    """True for a plain file of a kind that is read; links and lock files of editors are not."""
    if path.suffix.casefold() not in SUFFIXES or path.name.startswith((".", "~")):
        return False
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _has_its_end(path: Path) -> bool:
    if path.suffix.casefold() == ".xlsx":
        return zipfile.is_zipfile(path)
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)


def _move(path: Path, to: Path) -> None:
    """One rename; the new name first on disk, then the old one gone."""
    _make(to.parent)
    os.rename(path, to)
    _sync(to.parent)
    _sync(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def _answering(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CaseSystemUnavailable(f"cannot {verb} files: errno {error.errno}") from None
