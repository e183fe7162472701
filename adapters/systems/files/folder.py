"""A folder that holds one file for each name, and survives being killed at any line.

`put` writes beside, syncs, links into place, syncs the folder: a name is either absent or stands
for the whole content, also after a power cut. Two processes may put the same name; one of them
wins, and the other is told. What a killed process left behind is removed by the next `put`,
`replace` or `remove` of the same name.

Every `OSError` leaves as `CaseSystemUnavailable`: a full disk, a read-only one, a missing mount.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.errors import CaseSystemUnavailable


class Folder:
    """Names are simple file names, chosen by the caller, without a leading dot."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> bytes | None:
        """The content under a name; None if there is none."""
        with _answering("read"):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """True if the name is there, durably: also if another process has only just put it."""
        with _answering("read"):
            if not (self.path / name).exists():
                return False
            self._sync()
            return True

    def put_many(self, contents: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Put each content under its name; False where the name was there before.

        One sync of the folder makes all of them durable, just before this returns.
        """
        with _answering("write"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            put = [self._link(name, content) for name, content in contents]
            self._sync()
            return put

    def replace(self, name: str, content: bytes) -> None:
        """Put a content under a name, in the place of what was there."""
        with _answering("write"):
            self._clear(name)
            written = self._write_beside(name, content)
            os.replace(written, self.path / name)
            self._sync()

    def remove(self, name: str) -> bool:
        """Unlink a name and all leftovers of it, durably; False if the name was not there.

        What the disk keeps of unlinked blocks is for its encryption to protect, not for this.
        """
        with _answering("erase"):
            if not self.path.is_dir():
                return False
            existed = True
            try:
                os.unlink(self.path / name)
            except FileNotFoundError:
                existed = False
            self._clear(name)
            self._sync()
            return existed

    def _link(self, name: str, content: bytes) -> bool:
        self._clear(name)
        written = self._write_beside(name, content)
        try:
            os.link(written, self.path / name)
        except FileExistsError:
            return False
        finally:
            # A crash before this leaves a second name for the same content, which `remove` knows.
            os.unlink(written)
        return True

    def _write_beside(self, name: str, content: bytes) -> Path:
        beside = self.path / f"{_leftover_prefix(name)}{secrets.token_hex(8)}"
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        finally:
            os.close(file)
        return beside

    def _clear(self, name: str) -> None:
        prefix = _leftover_prefix(name)
        for entry in self.path.glob(f"{prefix}*"):
            with contextlib.suppress(FileNotFoundError):
                entry.unlink()

    def _sync(self) -> None:
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _leftover_prefix(name: str) -> str:
    return f".{name}.part-"


@contextlib.contextmanager
def _answering(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The system's number says enough; its text would repeat the path.
        raise CaseSystemUnavailable(f"cannot {verb} the folder: errno {error.errno}") from None
