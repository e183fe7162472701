"""The SFTP adapter: a case system that is a folder of HTCDS 2.0 CSV files on another's server.

    <root>/out/*             cases to be referred; written by others. Taken, put aside and answered
                             for as `dropped` says
    <root>/in/<business id>  cases filed here, one file each; written by this adapter
    <root>/parts/            what is being written
    <root>/decided/*         what workers decided about filed cases; written by others
    <root>/told/*            what partners decided about our cases; written by this adapter

Files are those of the files adapter. Where the country seals them, `.jwe` follows `.csv`, and
whoever runs the server sees ids and sizes alone; plain files are read beside sealed ones, so that
a country may change over.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from adapters.base import (
    Ambiguous,
    Candidate,
    CannotMap,
    CaseRecord,
    Declined,
    Erased,
    Erasing,
    Filed,
    Kept,
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
from adapters.systems.files.news import MAX_FILE, STILL_WRITTEN, decisions, told_file
from adapters.systems.files.records import MAX_RECORD
from adapters.systems.files.spelling import PLAIN, Spelling
from adapters.systems.sftp.dropped import (
    KINDS,
    MAX_DROPPED,
    SEALED,
    RemoteDropFolder,
    is_kind,
    sealed_size,
)
from adapters.systems.sftp.line import Line, Place, Remote, Upload
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused, Suspect

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Choices:
    """What the country has chosen."""

    sealed: bool
    writes: Kind = Kind.CSV
    keeps: str | None = None
    """Why the server keeps what was removed; None: it keeps nothing."""
    spelling: Path | None = None

    def names(self, business_id: UUID) -> tuple[str, ...]:
        """Every name under which a case may lie, the one that is written now first."""
        kinds = sorted(Kind, key=lambda kind: kind is not self.writes)
        ends = (SEALED, "") if self.sealed else ("", SEALED)
        return tuple(file_name(business_id, kind) + end for kind in kinds for end in ends)


class SftpSystem:
    """Implements `adapters.base.NationalSystem` over a folder on an SFTP server."""

    name = "sftp"
    memory = Memory.LOOKUP
    skills = frozenset(Skill) - {Skill.CANDIDATES}

    def __init__(self, line: Line, tools: Tools, choices: Choices) -> None:
        self.line = line
        self._tools = tools
        self._choices = choices
        self.dropped = RemoteDropFolder(line, self, self._how)

    def check(self) -> None:
        """See the port. Connects, and finds or makes the folders."""
        self._how()
        self.line.run(lambda remote: remote.names("parts"))

    def find(self, business_id: UUID) -> Filed | None:
        """See the port."""
        names = self._choices.names(business_id)
        return self.line.run(lambda remote: _find(remote, names))

    def read(self, reference: str) -> CaseRecord | None:
        """See the port."""
        name, limit = _checked(reference), sealed_size(MAX_RECORD)
        content = self.line.run(lambda remote: remote.get(f"in/{name}", limit))
        if content is None:
            return None
        return filed_case(self.opened(name, content))

    def candidates(self, case: CaseRecord) -> tuple[Candidate, ...]:
        """See the port: it cannot be searched."""
        return ()

    def file(self, business_id: UUID, case: CaseRecord) -> Outcome:
        """See the port."""
        return self.file_many([(business_id, case)])[0]

    def file_many(self, cases: Sequence[tuple[UUID, CaseRecord]]) -> list[Outcome]:
        """See the port. Several are under way at once."""
        names = [self._choices.names(business_id) for business_id, _ in cases]
        contents = [
            case_file(case, business_id, self._choices.writes) for business_id, case in cases
        ]
        uploads = {
            index: Upload(f"in/{names[index][0]}", self.for_server(names[index][0], content))
            for index, content in enumerate(contents)
            if isinstance(content, bytes)
        }
        there: dict[int, Filed | None] = {}

        async def put(remote: Remote) -> None:
            room = asyncio.Semaphore(_AT_ONCE)

            async def one(index: int, upload: Upload) -> None:
                async with room:
                    # What is half there of our own goes on; of another's, it is removed.
                    found = None if upload.confirmed else await _find(remote, names[index])
                    if found is None and not await remote.put_new(upload):
                        found = Filed(names[index][0], already=True)
                    there[index] = found

            ways = [one(*each) for each in uploads.items() if each[0] not in there]
            for ended in await asyncio.gather(*ways, return_exceptions=True):
                if isinstance(ended, BaseException):
                    raise ended

        if uploads:
            self.line.run(put, uploads.values())
        outcomes: list[Outcome] = []
        for index, ((business_id, case), content) in enumerate(zip(cases, contents, strict=True)):
            if isinstance(content, CannotMap):
                outcomes.append(content)
            elif (found := there[index]) is None:
                outcomes.append(Filed(names[index][0]))
            else:
                outcomes.append(self._again(found, business_id, case))
        return outcomes

    def _again(self, found: Filed, business_id: UUID, case: CaseRecord) -> Outcome:
        there = self.read(found.reference)
        same = there is not None and is_same(there, case, business_id)
        return found if same else Declined("id-conflict")

    def update(self, reference: str, case: CaseRecord) -> Outcome:
        """See the port."""
        name = _checked(reference)
        content = case_file(case, *id_and_kind(name.removesuffix(SEALED)))
        if isinstance(content, CannotMap):
            return content
        upload = Upload(f"in/{name}", self.for_server(name, content))

        async def replace(remote: Remote) -> bool:
            if not await remote.has(f"in/{name}"):
                return False
            await remote.replace(upload)
            return True

        done = self.line.run(replace, [upload])
        return Filed(name, already=True) if done else Declined("not-found")

    def erase(self, reference: str) -> Erasing:
        """See the port. What the server's operator keeps in backups is said, if the settings do."""
        name = _checked(reference)

        async def remove(remote: Remote) -> bool:
            await remote.clear(f"in/{name}")
            return await remote.remove(f"in/{name}")

        existed = self.line.run(remove)
        keeps = self._choices.keeps
        return Erased(existed) if keeps is None else Kept(keeps)

    def poll(self, cursor: str | None) -> Polled:
        """See the port. One file of `decided` is one page; it is put aside once it is stored."""

        async def look(remote: Remote) -> tuple[list[str], bytes, float]:
            if cursor is not None:
                await _put_aside(remote, cursor)
            names = [name for name in await remote.names("decided") if is_kind(name, (".csv",))]
            if not names:
                return [], b"", 0.0
            content = await remote.get(f"decided/{names[0]}", sealed_size(MAX_FILE))
            return names, content or b"", await remote.age(f"decided/{names[0]}")

        names, data, age = self.line.run(look)
        if not names:
            return Polled((), None)
        digest = hashlib.sha256(data).hexdigest()
        page = f"{digest} {names[0]}"
        try:
            content = self.opened(names[0], data)
        except Suspect:
            if age < STILL_WRITTEN:
                return Polled((), None)
            unopened = Ambiguous(digest, "file", "cannot-open")
            return Polled((unopened,), page, more=len(names) > 1)
        if not content.endswith(b"\n") and age < STILL_WRITTEN:
            return Polled((), None)
        return Polled(tuple(decisions(content, self.find)), page, more=len(names) > 1)

    def tell(self, case_ref: str, news: News) -> Outcome:
        """See the port. One small file for each piece of news; a repetition finds it there."""
        name, content = told_file(case_ref, news)
        name += SEALED if self._choices.sealed else ""
        upload = Upload(f"told/{name}", self.for_server(name, content))
        put = self.line.run(lambda remote: remote.put_new(upload), [upload])
        return Filed(name, already=not put)

    def read_cases(self, source: Source | None = None) -> Iterator[CaseRecord | RejectedRow]:
        """See the port. A file of ours on this machine, or all of `out` on the server.

        What lies in `out` is read and left there; `dropped` takes it.
        """
        if isinstance(source, Path):
            with _opened_file(source) as stream:
                yield from read_file(stream, rejected=None, spelling=self._how())
        elif source is not None:
            yield from read_file(source, rejected=None, spelling=self._how())
        else:
            for name in self.line.run(lambda remote: remote.names("out")):
                if is_kind(name, KINDS) and (data := self._lying(name)) is not None:
                    yield from read_file(io.BytesIO(data), rejected=None, spelling=self._how())

    def _lying(self, name: str) -> bytes | None:
        """The content of a file of `out`; None if it was taken away meanwhile."""
        limit = sealed_size(MAX_DROPPED)
        data = self.line.run(lambda remote: remote.get(f"out/{name}", limit))
        if data is not None and len(data) > limit:
            raise SchemaRefused("a file of cases is too large for one piece")
        return None if data is None else self.opened(name, data)

    def _how(self) -> Spelling:
        spelling = self._choices.spelling
        return PLAIN if spelling is None else load_spelling(spelling)

    def for_server(self, name: str, content: bytes) -> bytes:
        """The bytes that lie on the server under this name."""
        if not name.endswith(SEALED):
            return content
        if self._tools.seal_file is None:
            raise CaseSystemUnavailable("no file key here; see referral keys file-key")
        return self._tools.seal_file(content)

    def opened(self, name: str, data: bytes) -> bytes:
        """The content of a file.

        Raises:
            Suspect: It is sealed, and not to this country's key, or cut off.
        """
        if not name.endswith(SEALED):
            return data
        if self._tools.open_file is None:
            raise CaseSystemUnavailable("no file key here; see referral keys file-key")
        return self._tools.open_file(data)


async def _find(remote: Remote, names: Sequence[str]) -> Filed | None:
    async def look(name: str) -> bool:
        await remote.clear(f"in/{name}")
        return await remote.has(f"in/{name}")

    # At once: each name is two journeys to the server.
    for name, there in zip(names, await asyncio.gather(*map(look, names)), strict=True):
        if there:
            return Filed(name, already=True)
    return None


async def _put_aside(remote: Remote, cursor: str) -> None:
    digest, _, name = cursor.partition(" ")
    if "/" in name or not name:
        return
    data = await remote.get(f"decided/{name}", sealed_size(MAX_FILE))
    # Put aside before, or another file has taken its name: that one is read anew.
    if data is not None and hashlib.sha256(data).hexdigest() == digest:
        await remote.make_folders("decided/done")
        await remote.move(f"decided/{name}", f"decided/done/{digest[:16]}-{name}")


def _checked(reference: str) -> str:
    plain = reference.removesuffix(SEALED)
    checked(plain)
    return reference


def _opened_file(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound("no such file") from None
    except OSError as error:
        raise CaseSystemUnavailable(f"cannot open the file: errno {error.errno}") from None


# --- settings ----------------------------------------------------------------------------------

_NEEDED: Final = frozenset({"host", "user", "key_file", "host_key_file", "root"})
_SETTINGS: Final = _NEEDED | {"port", "sealed", "keeps", "timeout", "writes", "spelling"}
_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")


def make(settings: Mapping[str, Any], tools: Tools) -> SftpSystem:
    """The adapter from its settings; `docs/adapters.md` lists them.

    Raises:
        SchemaRefused: Names the setting that is missing, unknown or wrong.
    """
    wrong = (set(settings) - _SETTINGS) | (_NEEDED - set(settings))
    wrong |= {name for name in _NEEDED & set(settings) if not _is_word(settings[name])}
    port, timeout = settings.get("port", 22), settings.get("timeout", 60)
    if not isinstance(port, int) or not 0 < port < 65536:
        wrong.add("port")
    if not isinstance(timeout, int | float) or not 0 < timeout <= 600:
        wrong.add("timeout")
    sealed, keeps = settings.get("sealed"), settings.get("keeps")
    if not isinstance(sealed, bool):
        wrong.add("sealed")  # the country's choice, so it is made
    if keeps is not None and not (isinstance(keeps, str) and _CODE.fullmatch(keeps)):
        wrong.add("keeps")
    writes, spelling = settings.get("writes", "csv"), settings.get("spelling")
    if writes not in {kind.value for kind in Kind}:
        wrong.add("writes")
    if spelling is not None and not (_is_word(spelling) and Path(spelling).is_absolute()):
        wrong.add("spelling")
    if wrong:
        raise SchemaRefused("missing, unknown or wrong settings", where=tuple(sorted(wrong)))
    if sealed and (tools.seal_file is None or tools.open_file is None):
        raise SchemaRefused("no file key here; see referral keys file-key", where=("sealed",))
    place = Place(
        host=settings["host"],
        port=port,
        user=settings["user"],
        key=Path(settings["key_file"]),
        host_key=Path(settings["host_key_file"]),
        root=settings["root"],
        timeout=float(timeout),
    )
    line = Line(place, "in", "parts", "told")
    choices = Choices(
        sealed=bool(sealed),
        writes=Kind(writes),
        keeps=keeps,
        spelling=None if spelling is None else Path(spelling),
    )
    return SftpSystem(line, tools, choices)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()
