"""Withdrawals while the log cannot be written: stop at once, record later.

Promise I-3 does not wait for promise I-7. A withdrawal that cannot be recorded is appended to a
file and flushed to disk, its grant is stopped in this process from that moment, and the hub
submits it to itself as soon as it can record again, before anything else is accepted.
"""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from schemas.errors import StorageUnavailable


@dataclass
class StopFile:
    """One file per hub process, one base64 line per withdrawal, in order of arrival.

    A line that a crash cut off is not base64 of a whole JWS; recovery passes it over, and the
    gateway, which has no answer yet, sends its withdrawal again.
    """

    path: Path
    grants: set[UUID] = field(default_factory=set)
    """Stopped here and not recorded yet; the hand-over asks."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Adding happens in threads, one per withdrawal."""

    def add(self, raw: bytes, grant: UUID) -> None:
        """Stop a grant; on return the withdrawal is on disk.

        Raises:
            StorageUnavailable: The disk cannot be written. The grant is stopped in memory anyway.
        """
        with self._lock:
            self.grants.add(grant)
        # A line feed before it, too: what a crash cut off must not swallow what comes next.
        line = b"\n" + base64.b64encode(raw) + b"\n"
        with self._lock:
            self._append(line)

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
            return []
        found: list[bytes] = []
        for line in lines:
            try:
                raw = base64.b64decode(line, validate=True)
            except ValueError:
                continue
            if raw and raw not in found:
                found.append(raw)
        return found

    def recorded(self, withdrawals: list[bytes]) -> bool:
        """These are recorded; forgets them unless another one came meanwhile."""
        with self._lock:
            if self.pending() != withdrawals:
                return False
            self.path.unlink(missing_ok=True)
            self.grants.clear()
            return True
