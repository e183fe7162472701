"""The way to one SFTP server: a pinned host key, a key file, and steps that a cut cannot halve.

A connection is made when it is needed, kept, and made anew after any failure. The event loop that
it lives in has a thread of its own, so that threads of the gateway may call at the same time.

A file is put elsewhere, synced where the server can (`fsync@openssh.com`), and renamed into place:
its name is absent, or stands for the whole content. Where the line breaks while it is written, the
same act goes on over a new one, behind the last byte that the server has confirmed. What a dead
process left half written is removed by the next act on that name, before anybody looks: a rename of
it that still comes finds nothing to rename.
"""

from __future__ import annotations

import asyncio
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncssh

from schemas.errors import CaseSystemUnavailable

T = TypeVar("T")
Act = Callable[["Remote"], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose folder on which server. Both files are read when a connection is made."""

    host: str
    port: int
    user: str
    key: Path
    """Our private key (OpenSSH or PKCS#8), for the owner alone."""
    host_key: Path
    """The server's public key, as it was handed over. No other is believed."""
    root: str
    timeout: float
    """Seconds for one act in all."""


CHUNK = 32 * 1024
"""Bytes of one write, which every server takes; confirmed before the next one, so that what is
there is always the beginning of the content."""


@dataclass(slots=True)
class Upload:
    """A content on its way under one name, and how far it has come."""

    path: str
    content: bytes
    confirmed: int = 0
    """Bytes that the server has confirmed, from the beginning."""


class Remote:
    """The steps on an open connection. Paths are relative to the root."""

    def __init__(self, sftp: asyncssh.SFTPClient, root: str) -> None:
        self._sftp = sftp
        self._root = root.rstrip("/")

    async def put_new(self, upload: Upload) -> bool:
        """Put a content under a new name; False if the name was there before."""
        part, path = await self._write_part(upload), upload.path
        try:
            await self._sftp.rename(part, self._at(path))  # never onto what exists (v3, OpenSSH)
        except asyncssh.SFTPError:
            with suppress(asyncssh.SFTPNoSuchFile):
                await self._sftp.remove(part)
            if await self.has(path):
                return False
            raise
        return True

    async def replace(self, upload: Upload) -> None:
        """Put a content in the place of what was under a name."""
        await self._sftp.posix_rename(await self._write_part(upload), self._at(upload.path))

    async def clear(self, path: str) -> None:
        """Remove what a dead process left half written of a name."""
        with suppress(asyncssh.SFTPNoSuchFile):
            await self._sftp.remove(self._part(path))

    async def has(self, path: str) -> bool:
        return bool(await self._sftp.isfile(self._at(path)))

    async def get(self, path: str, limit: int) -> bytes | None:
        """The content, or its first `limit + 1` bytes; None if there is none."""
        try:
            async with self._sftp.open(self._at(path), "rb") as file:
                content = await file.read(limit + 1)
        except asyncssh.SFTPNoSuchFile:
            return None
        return content if isinstance(content, bytes) else b""

    async def remove(self, path: str) -> bool:
        """False if it was not there."""
        try:
            await self._sftp.remove(self._at(path))
        except asyncssh.SFTPNoSuchFile:
            return False
        return True

    async def move(self, path: str, to: str) -> None:
        """Rename; gone before is moved before."""
        with suppress(asyncssh.SFTPNoSuchFile):
            await self._sftp.posix_rename(self._at(path), self._at(to))

    async def names(self, folder: str) -> list[str]:
        """The plain files of a folder, by name; none if there is no such folder."""
        try:
            found = await self._sftp.readdir(self._at(folder))
        except asyncssh.SFTPNoSuchFile:
            return []
        return sorted(
            str(each.filename)
            for each in found
            if stat.S_ISREG(each.attrs.permissions or 0) and not str(each.filename).startswith(".")
        )

    async def state(self, path: str) -> tuple[int, int] | None:
        """Size and stamp, to see whether it has changed; None if it is not there."""
        try:
            found = await self._sftp.stat(self._at(path))
        except asyncssh.SFTPNoSuchFile:
            return None
        return found.size or 0, found.mtime or 0

    async def ends_with(self, path: str, end: bytes) -> bool:
        """True if these are its last bytes."""
        size, _ = await self.state(path) or (0, 0)
        if size < len(end):
            return False
        async with self._sftp.open(self._at(path), "rb") as file:
            tail = await file.read(len(end), size - len(end))
        return isinstance(tail, bytes) and tail == end

    async def age(self, path: str) -> float:
        """Seconds since it changed, by the server's stamp and our clock."""
        return time.time() - ((await self._sftp.stat(self._at(path))).mtime or 0)

    async def make_folders(self, *folders: str) -> None:
        """Make what is missing, for the owner alone; the root itself must be there."""
        for folder in folders:
            if not await self._sftp.isdir(self._at(folder)):
                await self._sftp.mkdir(self._at(folder), asyncssh.SFTPAttrs(permissions=0o700))

    async def is_there(self) -> bool:
        return bool(await self._sftp.isdir(self._root or "/"))

    async def _write_part(self, upload: Upload) -> str:
        part = self._part(upload.path)
        file = await self._broken_off(part, upload) if upload.confirmed else None
        if file is None:
            upload.confirmed = 0
            # A new file, not an old one cut to nothing: who still writes that writes to no name.
            await self.clear(upload.path)
            attrs = asyncssh.SFTPAttrs(permissions=0o600)
            file = await self._sftp.open(part, "xb", attrs=attrs)
        async with file:
            while upload.confirmed < len(upload.content):
                chunk = upload.content[upload.confirmed : upload.confirmed + CHUNK]
                await file.write(chunk, upload.confirmed)
                upload.confirmed += len(chunk)
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
        return part

    async def _broken_off(self, part: str, upload: Upload) -> asyncssh.SFTPClientFile | None:
        """What is there of it, to be written on; None if another has cleared it away meanwhile."""
        try:
            file = await self._sftp.open(part, "r+b")
        except asyncssh.SFTPNoSuchFile:
            return None
        if ((await file.stat()).size or 0) >= upload.confirmed:
            return file
        await file.close()
        return None

    def _part(self, path: str) -> str:
        return self._at(f"parts/{path.replace('/', '.')}")

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


class Line:
    """One server, from any thread."""

    def __init__(self, place: Place, *folders: str) -> None:
        self._place = place
        self._folders = folders
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connecting = asyncio.Lock()
        self._open: tuple[asyncssh.SSHClientConnection, Remote] | None = None

    def run(self, act: Act[T], uploads: Collection[Upload] = ()) -> T:
        """Do something there.

        Args:
            uploads: What the act puts there. Where the line breaks after some of it was confirmed,
                the act is done again over a new one: it may find its own first half done.

        Raises:
            CaseSystemUnavailable: No connection, another host key, cut off, too late, or refused.
        """
        future = asyncio.run_coroutine_threadsafe(self._bounded(act, uploads), self._running())
        return future.result()

    def close(self) -> None:
        """Hang up, and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._hang_up(wait=True), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _bounded(self, act: Act[T], uploads: Collection[Upload]) -> T:
        try:
            async with asyncio.timeout(self._place.timeout):
                return await self._going_on(act, uploads)
        except asyncssh.SFTPError as error:
            if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
                await self._hang_up()
            raise CaseSystemUnavailable(f"the server: sftp {error.code}") from None
        except asyncssh.HostKeyNotVerifiable:
            raise CaseSystemUnavailable("the server's key is not the one that is pinned") from None
        except asyncssh.PermissionDenied:
            raise CaseSystemUnavailable("the server does not accept our key") from None
        except (asyncssh.Error, OSError, TimeoutError) as error:
            await self._hang_up()
            raise CaseSystemUnavailable(f"the server: {type(error).__name__}") from None
        except asyncio.CancelledError:
            await self._hang_up()
            raise

    async def _going_on(self, act: Act[T], uploads: Collection[Upload]) -> T:
        while True:
            before = sum(upload.confirmed for upload in uploads)
            try:
                return await act(await self._remote())
            except (asyncssh.Error, OSError) as error:
                lost = not isinstance(error, asyncssh.SFTPError) or isinstance(
                    error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection
                )
                # Each turn has brought the server some bytes more, so that it ends.
                if not lost or sum(upload.confirmed for upload in uploads) <= before:
                    raise
                await self._hang_up()

    async def _remote(self) -> Remote:
        async with self._connecting:
            if self._open is not None and not self._open[0].is_closed():
                return self._open[1]
            place = self._place
            if place.key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise CaseSystemUnavailable("the key file is open to others; chmod 600")
            try:
                key = asyncssh.read_private_key(place.key)
                pinned = asyncssh.read_public_key(place.host_key)
            except asyncssh.KeyImportError:
                raise CaseSystemUnavailable("a key file that is none") from None
            connection = await asyncssh.connect(
                place.host,
                place.port,
                username=place.user,
                client_keys=[key],
                known_hosts=([pinned], [], []),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                keepalive_interval=15,
                client_version="referral",
            )
            try:
                remote = Remote(await connection.start_sftp_client(), place.root)
                if not await remote.is_there():
                    raise CaseSystemUnavailable("the folder on the server is missing")
                await remote.make_folders(*self._folders)
            except BaseException:
                connection.abort()
                raise
            self._open = (connection, remote)
            return remote

    async def _hang_up(self, *, wait: bool = False) -> None:
        if self._open is not None:
            connection, self._open = self._open[0], None
            connection.abort()
            if wait:
                await connection.wait_closed()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
                self._thread.start()
            return self._loop
