"""Files that others drop into `out` on the server; the same story as on a disk of our own.

    out/cases.csv                 dropped by others, perhaps still growing
    taken/<mark>-cases.csv        ours: whole, being read; a killed process leaves it here
    done/<mark>-cases.csv         every row of it was decided
    rejected/<mark>-cases.csv     the rows that could not become a case, with the reasons beside them

What is written back is sealed where the country seals. Nothing is ever deleted.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from adapters.base import CaseRecord, RejectedRow
from adapters.systems.files.case_file import read_file
from adapters.systems.files.dropped import QUIET, STILL_WRITTEN, why
from adapters.systems.files.rejected import RejectedRows
from adapters.systems.files.spelling import Spelling
from adapters.systems.sftp.line import Line, Remote, Upload
from schemas.errors import SchemaRefused, Suspect

SEALED: Final = ".jwe"
MAX_DROPPED: Final = 64 << 20
"""Bytes of one file of cases: it is held whole, since a sealed one can be opened only so."""
KINDS: Final = (".csv", ".xlsx")


class Seals(Protocol):
    """What the adapter lends: the country's choice to seal, and how."""

    def for_server(self, name: str, content: bytes) -> bytes: ...
    def opened(self, name: str, data: bytes) -> bytes: ...


def sealed_size(limit: int) -> int:
    """Bytes of a sealed file of at most so many."""
    return limit * 4 // 3 + 1024


def is_kind(name: str, kinds: tuple[str, ...]) -> bool:
    """True for a file that is read; lock files of editors are not."""
    return not name.startswith("~") and name.removesuffix(SEALED).casefold().endswith(kinds)


@dataclass(slots=True)
class RemoteDropped:
    """Implements `adapters.systems.files.dropped.Taken` on the server."""

    mark: str
    _line: Line
    _seals: Seals
    _spelling: Callable[[], Spelling]
    _rejected: RejectedRows = field(default_factory=RejectedRows)
    _seen: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """See `Taken`."""
        return self.mark.partition("-")[2]

    @property
    def path(self) -> None:
        """See `Taken`: it is not here."""
        return None

    def cases(self) -> Iterator[CaseRecord | RejectedRow]:
        """See `Taken`. Rejected rows are held, and written back when the file is put aside."""
        limit = sealed_size(MAX_DROPPED)

        async def look(remote: Remote) -> tuple[tuple[int, int] | None, bytes]:
            state = await remote.state(f"taken/{self.mark}")
            return state, await remote.get(f"taken/{self.mark}", limit) or b""

        self._seen, data = self._line.run(look)
        self._rejected = RejectedRows()
        if len(data) > limit:
            raise SchemaRefused("a file of cases is too large for one piece")
        try:
            content = self._seals.opened(self.mark, data)
        except Suspect:
            raise SchemaRefused("sealed, and not to this country's key, or cut off") from None
        yield from read_file(
            io.BytesIO(content), rejected=self._rejected, spelling=self._spelling()
        )

    def put_aside(self) -> bool:
        """See `Taken`. The rejected rows first: a cut in between writes them again."""
        back = [self._back("", self._rejected.content())] if self._rejected.count else []

        async def put(remote: Remote) -> bool:
            if self._seen is None or await remote.state(f"taken/{self.mark}") != self._seen:
                return False
            await remote.make_folders("rejected", "done")
            for upload in back:
                await remote.replace(upload)
            await remote.move(f"taken/{self.mark}", f"done/{self.mark}")
            return True

        return self._line.run(put, back)

    def refuse(self, refused: SchemaRefused) -> None:
        """See `Taken`."""
        text = self._back(".why.txt", why(refused))

        async def put(remote: Remote) -> None:
            await remote.make_folders("rejected")
            await remote.replace(text)
            await remote.move(f"taken/{self.mark}", f"rejected/{self.mark}")

        self._line.run(put, [text])

    def _back(self, more: str, content: bytes) -> Upload:
        """A file beside the one that was taken, sealed if that one was."""
        plain = self.mark.removesuffix(SEALED)
        end = more or ("" if plain.casefold().endswith(".csv") else ".csv")
        name = f"{plain}{end}{SEALED if self.mark.endswith(SEALED) else ''}"
        return Upload(f"rejected/{name}", self._seals.for_server(name, content))


class RemoteDropFolder:
    """Implements `adapters.systems.files.dropped.Drops` on the server."""

    def __init__(self, line: Line, seals: Seals, spelling: Callable[[], Spelling]) -> None:
        self._line, self._seals, self._spelling = line, seals, spelling

    def take(self) -> list[RemoteDropped]:
        """See `Drops`."""

        async def take(remote: Remote) -> list[str]:
            for name in await remote.names("out"):
                if is_kind(name, KINDS) and await self._is_whole(remote, f"out/{name}"):
                    await remote.make_folders("taken")
                    await remote.move(f"out/{name}", f"taken/{secrets.token_hex(4)}-{name}")
            return await remote.names("taken")

        marks = sorted(self._line.run(take), key=lambda mark: mark[9:])
        return [RemoteDropped(mark, self._line, self._seals, self._spelling) for mark in marks]

    async def _is_whole(self, remote: Remote, path: str) -> bool:
        quiet = await remote.age(path)
        if quiet < QUIET:
            return False
        if quiet >= STILL_WRITTEN or not path.casefold().endswith(".csv"):
            return quiet >= STILL_WRITTEN
        return await remote.ends_with(path, b"\n")
