"""Withdrawals while the log cannot be written: stop at once, record later.

Promise I-3 does not wait for promise I-7. A withdrawal that cannot be recorded is appended to a
file and flushed to disk, and its grant, or the scopes that it takes back, are stopped from that
moment: skipped at hand-over, for only the recorded withdrawal may close what waits. The hub submits
it to itself as soon as it can record again, before anything else is accepted.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from schemas.errors import StorageUnavailable


@dataclass(frozen=True, slots=True)
class Stop:
    """What one withdrawal takes back."""

    grant: UUID
    scopes: frozenset[str]
    """Empty for the whole grant."""


@dataclass
class StopFile:
    """One file per state folder, one base64 line per withdrawal, in order of arrival.

    Any number of processes on the folder may write it: who changes it holds the lock beside it.

    A line that a crash cut off is not base64 of a whole JWS; recovery passes it over, and the
    gateway, which has no answer yet, sends its withdrawal again.
    """

    path: Path
    _stopped: dict[bytes, Stop] = field(default_factory=dict)
    """By withdrawal. Not recorded yet; replaced as a whole, since others read it meanwhile."""
    _unwritten: set[bytes] = field(default_factory=set)
    """Obeyed, and the disk could not be written."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Adding happens in threads, one per withdrawal."""

    def __bool__(self) -> bool:
        return bool(self._stopped)

    def stops(self, grant: UUID | None, scopes: frozenset[str]) -> bool:
        """True if what needs these scopes of a grant may not travel."""
        return any(
            one.grant == grant and (not one.scopes or one.scopes & scopes)
            for one in self._stopped.values()
        )

    def wholly(self, grant: UUID) -> bool:
        """True if all of a grant is stopped."""
        return any(one.grant == grant and not one.scopes for one in self._stopped.values())

    def removed(self, grant: UUID) -> frozenset[str]:
        """The scopes of a grant that are stopped."""
        found = [one.scopes for one in self._stopped.values() if one.grant == grant]
        return frozenset().union(*found)

    def add(self, raw: bytes, grant: UUID, scopes: frozenset[str] = frozenset()) -> None:
        """Stop a grant, or some scopes of it; on return the withdrawal is on disk.

        Raises:
            StorageUnavailable: The disk cannot be written. It is stopped in memory anyway.
        """
        with self._lock:
            self._stopped = {**self._stopped, raw: Stop(grant, scopes)}
            self._unwritten.add(raw)
        # A line feed before it, too: what a crash cut off must not swallow what comes next.
        line = b"\n" + base64.b64encode(raw) + b"\n"
        with self._lock:
            with self._alone():
                self._append(line)
            self._unwritten.discard(raw)

    def follow(self, stop_of: Callable[[bytes], Stop | None]) -> None:
        """Obey what the file says now, whichever process wrote it; forget what is not in it."""
        with self._lock:
            found: dict[bytes, Stop] = {}
            for raw in self.pending():
                stop = self._stopped.get(raw) or stop_of(raw)
                if stop is not None:
                    found[raw] = stop
            self._stopped = found

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the file against other processes; the lock ends with its holder."""
        try:
            descriptor = os.open(
                self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StorageUnavailable("stop flag") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _append(self, line: bytes) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageUnavailable("stop flag") from error

    def pending(self) -> list[bytes]:
        """The withdrawals that are not recorded yet, as they came."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        found: list[bytes] = []
        for line in lines:
            try:
                raw = base64.b64decode(line, validate=True)
            except ValueError:
                continue
            if raw and raw not in found:
                found.append(raw)
        return found + [raw for raw in tuple(self._unwritten) if raw not in found]

    def settled(self, withdrawals: list[bytes]) -> None:
        """These are decided on: forgets them, and keeps any others.

        Raises:
            StorageUnavailable: The disk cannot be written; they stay, and may be settled again.
        """
        with self._lock:
            with self._alone():
                # Read under the lock: what another process added since is kept.
                self._replace([raw for raw in self.pending() if raw not in withdrawals])
            self._unwritten -= set(withdrawals)
            self._stopped = {
                raw: stop for raw, stop in self._stopped.items() if raw not in withdrawals
            }

    def _replace(self, withdrawals: list[bytes]) -> None:
        try:
            if not withdrawals:
                self.path.unlink(missing_ok=True)
                return
            new = self.path.with_suffix(".new")
            with os.fdopen(
                os.open(new, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600), "wb"
            ) as file:
                file.writelines(base64.b64encode(raw) + b"\n" for raw in withdrawals)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            raise StorageUnavailable("stop flag") from error
