"""The folder in which a TUF repository lies: `metadata/` under numbered names, and `targets/`.

Nothing is verified here, and nothing is decided. Each file is written whole or not at all, and one
process at a time changes the folder.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Targets

from keys.ceremony.roles import ROOT, TARGETS
from schemas.directory import Participant
from schemas.errors import NotFound, StorageUnavailable


class Folder:
    """A repository's files."""

    def __init__(self, path: Path) -> None:
        """Name a folder; it need not be there."""
        self.path = path

    @property
    def root(self) -> bytes:
        """The newest root. Give the first one to every participant by a trusted way.

        Raises:
            NotFound: There is no repository.
        """
        return self.newest(ROOT)

    def load(self, role: str) -> Metadata[Any]:
        """A role's newest metadata, read.

        Raises:
            NotFound: It has none.
        """
        return Metadata.from_bytes(self.newest(role))

    def newest(self, role: str) -> bytes:
        """A role's newest metadata, as signed.

        Raises:
            NotFound: It has none.
        """
        folder = self.path / "metadata"
        if role == "timestamp":
            names = ["timestamp.json"] if (folder / "timestamp.json").exists() else []
        else:
            files = folder.glob(f"*.{role}.json")
            names = sorted((f.name for f in files), key=lambda name: int(name.partition(".")[0]))
        if not names:
            raise NotFound(role)
        return (folder / names[-1]).read_bytes()

    def entries(self) -> list[Participant]:
        """Every entry as it stands in the folder; nothing is verified."""
        top: Metadata[Targets] = self.load(TARGETS)
        roles = [top]
        if top.signed.delegations is not None:
            roles += [self.load(name) for name in top.signed.delegations.roles or {}]
        return [
            Participant.from_json(data) for role in roles for data in self.entries_of(role).values()
        ]

    def entries_of(self, metadata: Metadata[Any]) -> dict[str, bytes]:
        """The entries that a role names, by the SHA-256 of their bytes."""
        if not isinstance(metadata.signed, Targets):
            return {}
        found = {}
        for path, info in metadata.signed.targets.items():
            data = self._file_of(path, info.hashes["sha256"]).read_bytes()
            found[info.hashes["sha256"]] = data
        return found

    def write(self, role: str, version: int, data: bytes) -> None:
        """Put a role's metadata where readers look.

        Raises:
            StorageUnavailable: The folder cannot be written.
        """
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        _write(self.path / "metadata" / name, data)

    def write_entries(self, metadata: Metadata[Any], entries: Mapping[str, bytes]) -> None:
        """Put what a role names where readers look, before the role itself names it.

        Raises:
            StorageUnavailable: The folder cannot be written.
        """
        if not isinstance(metadata.signed, Targets):
            return
        for path, info in metadata.signed.targets.items():
            file = self._file_of(path, info.hashes["sha256"])
            if not file.exists():
                _write(file, entries[info.hashes["sha256"]])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One change at a time: two operators at once must not both build on one state."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageUnavailable(f"repository: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _file_of(self, path: str, digest: str) -> Path:
        folder, _, name = path.partition("/")
        return self.path / "targets" / folder / f"{digest}.{name}"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageUnavailable(f"repository: {error.strerror}") from None
