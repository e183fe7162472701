"""A folder that holds one file for each name, and survives being killed at any line.

`put_many` writes elsewhere, syncs, links into place, syncs the folder: a name is either absent or
stands for the whole content, also after a power cut. Two processes may put the same name; one of
them wins, and the other is told. What a killed process left behind lies in a second folder, which
stays small however many names the first one holds, and is removed by the next act on that name.

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
    """Names are simple file names, chosen by the caller.

    Both folders must be on one file system, one that has hard links. They are made when first
    needed; what they lie in is not.
    """

    def __init__(self, path: Path, *, parts: Path) -> None:
        self.path = path
        self._parts = parts

    def get(self, name: str) -> bytes | None:
        """The content under a name; None if there is none."""
        with _answering("read"):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """True if the name is there, durably: also if another process has only just put it.

        False means that nothing of it is here: what a killed process left of it is removed.
        """
        with _answering("read"):
            if (self.path / name).exists():
                _sync(self.path)
                return True
            if self._clear(name):
                _sync(self._parts)
            return False

    def put_many(self, contents: Sequence[tuple[str, bytes]]) -> list[bool]:
        """Put each content under its name; False where the name was there before.

        One sync of the folder makes all of them durable, just before this returns.
        """
        with _answering("write"):
            self._make_folders()
            written: list[Path] = []
            try:
                for name, content in contents:
                    self._clear(name)
                    written.append(self._write_part(name, content))
                # All are written before the first is waited for: the disk takes them together.
                for part in written:
                    _sync(part)
                put = [
                    self._link(part, name)
                    for part, (name, _) in zip(written, contents, strict=True)
                ]
            finally:
                # A crash before this leaves a second name for the same content, which `_clear`
                # removes.
                for part in written:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(part)
            _sync(self.path)
            return put

    def replace(self, name: str, content: bytes) -> None:
        """Put a content under a name, in the place of what was there."""
        with _answering("write"):
            self._make_folders()
            self._clear(name)
            written = self._write_part(name, content)
            _sync(written)
            os.replace(written, self.path / name)
            _sync(self.path)

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
            _sync(self.path)
            if self._clear(name):
                _sync(self._parts)
            return existed

    def _link(self, part: Path, name: str) -> bool:
        try:
            os.link(part, self.path / name)
        except FileExistsError:
            return False
        return True

    def _make_folders(self) -> None:
        for folder in (self.path, self._parts):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync(folder.parent)

    def _write_part(self, name: str, content: bytes) -> Path:
        part = self._parts / f"{name}.{secrets.token_hex(8)}"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        finally:
            os.close(file)
        return part

    def _clear(self, name: str) -> bool:
        """Remove what is left of earlier attempts; True if there was anything.

        The part of a live process goes too, if it writes the same name at this moment. It then
        fails to link, says that it is unavailable, and is asked again.
        """
        if not self._parts.is_dir():
            return False
        with os.scandir(self._parts) as entries:
            left = [entry.path for entry in entries if entry.name.startswith(f"{name}.")]
        for path in left:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return bool(left)


def _sync(path: Path) -> None:
    """Make a file or a folder durable."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def _answering(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The system's number says enough; its text would repeat the path.
        raise CaseSystemUnavailable(f"cannot {verb} the folder: errno {error.errno}") from None
