"""Keys that were said to be in other hands, as a participant knows them from the hub's feed.

Kept in a file beside the directory's cache, as they were signed: after a restart with the hub away,
and under a directory that somebody holds still, a compromised key stays compromised. Nothing here
is ever forgotten; there are few of them, and each only stops something.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from broker.telemetry import logger
from keys import strict_json
from keys.jws import MAX_STATEMENT_BYTES
from keys.statements.revocation import verify_revocation
from schemas.base import KeyId
from schemas.directory import TrustedDirectory
from schemas.errors import BrokerError, StorageUnavailable
from schemas.revocation import Revocation

FILE = "revocations.jsonl"


class KnownRevocations:
    """What the feed has said so far. Not for several processes on one file."""

    def __init__(self, folder: Path) -> None:
        """Read what is kept in this folder; whether it is true is asked of each directory anew."""
        self._path = folder / FILE
        self._raws: list[bytes] = []
        self.position = 0
        """Where to read on in the feed."""
        if self._path.exists():
            for line in self._path.read_bytes().splitlines():
                if line:
                    self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            value = strict_json.parse_object(line, limit=2 * MAX_STATEMENT_BYTES)
            raw, position = value["revocation"], value["position"]
            if not isinstance(raw, str) or not isinstance(position, int):
                raise ValueError
        except (BrokerError, KeyError, ValueError):
            # A line that a crash cut off: the feed is read again from before it.
            logger().warning("revocations:line-unreadable")
            return
        if raw.encode() not in self._raws:
            self._raws.append(raw.encode())
        self.position = position

    def add(self, found: list[tuple[int, bytes]]) -> None:
        """Keep more of the feed; on disk before it counts as read.

        Raises:
            StorageUnavailable: It cannot be written. It is obeyed all the same, until a restart.
        """
        self._raws += [raw for _, raw in found if raw not in self._raws]
        lines = [_line(position, raw) for position, raw in found]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"".join(b"\n" + line for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageUnavailable(f"revocations: {error.strerror}") from None
        self.position = max([self.position, *(position for position, _ in found)])

    def begin_anew(self) -> list[bytes]:
        """The hub's feed begins at nought again: read on there, and return what was known before.

        Raises:
            StorageUnavailable: It cannot be written; nothing has changed.
        """
        fresh = self._path.with_name(FILE + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(b"".join(b"\n" + _line(0, raw) for raw in self._raws))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StorageUnavailable(f"revocations: {error.strerror}") from None
        self.position = 0
        return list(self._raws)

    def verified(self, directory: TrustedDirectory, now: datetime) -> list[Revocation]:
        """Those that were signed by somebody who may say so, by this directory."""
        found = []
        for raw in self._raws:
            try:
                found.append(verify_revocation(raw, directory, now=now, in_force=False).content)
            except BrokerError as error:
                # Of keys that the directory no longer has, there is nothing to stop.
                logger().info("revocations:not-applied", code=error.code)
        return found

    def applied(self, directory: TrustedDirectory, now: datetime) -> TrustedDirectory:
        """The directory in which what was revoked is compromised."""
        since: dict[KeyId, datetime] = {}
        for one in self.verified(directory, now):
            for kid in one.keys:
                since[kid] = min(one.since, since.get(kid, one.since))
        return directory.revoking(since)


def _line(position: int, raw: bytes) -> bytes:
    return json.dumps({"position": position, "revocation": raw.decode()}).encode()
