"""A PostgreSQL that archives its log and is put back to a moment, as docs/operations/restore.md says."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.dev.postgres import PostgreSQL
from deploy.dev.server import LOOPBACK, ServiceFailed, find_program


class ArchivingPostgreSQL(PostgreSQL):
    """A cluster with WAL archiving, its base backup and its archive beside it."""

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._archive, self._base = directory / "archive", directory / "base"
        self._recovery: dict[str, str] = {}
        archiving = {
            "wal_level": "replica",
            "archive_mode": "on",
            "archive_command": f"test ! -f {self._archive}/%f && cp %p {self._archive}/%f",
        }
        super().__init__(directory, settings={**archiving, **(settings or {})})
        self._archive.mkdir(mode=0o700)
        self.own(self._archive)

    def command(self) -> Sequence[str]:
        options = [
            text for key, value in self._recovery.items() for text in ("-c", f"{key}={value}")
        ]
        return [*super().command(), *options]

    def is_ready(self) -> bool:
        try:
            return self.sql("SELECT pg_is_in_recovery()") == "f"
        except (ServiceFailed, subprocess.TimeoutExpired):
            return False

    def base_backup(self) -> None:
        """`pg_basebackup`, while everybody works on."""
        self._base.mkdir(mode=0o700)
        self.own(self._base)
        program = find_program("pg_basebackup", "usr/lib/postgresql/*/bin/pg_basebackup")
        done = subprocess.run(
            [program, "-D", str(self._base), "--checkpoint=fast", "-h", LOOPBACK,
             "-p", str(self.port), "-U", self.user],
            env={**self.environment(), "PGPASSWORD": self.password},
            cwd=self.directory, capture_output=True, check=False, timeout=120,
            **self.as_account(),
        )  # fmt: skip
        if done.returncode:
            raise ServiceFailed(done.stderr.decode(errors="replace"))

    def archive_all(self) -> None:
        """Wait until all that was committed is in the archive."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 30
        while not (self._archive / segment).exists():
            if time.monotonic() > deadline:
                raise ServiceFailed("nothing is archived\n" + self.log_tail())
            time.sleep(0.05)

    def recover(self, *, until: str | None) -> None:
        """Put the base backup back and play the archive: to a moment, or all that there is.

        Args:
            until: As PostgreSQL writes a moment. Without one the history goes on in which the
                backup was made, and not in one that an earlier recovery has begun.
        """
        self.stop()
        shutil.rmtree(self._data)
        shutil.copytree(self._base, self._data, copy_function=self._copy)
        for folder in (self._data, *(path for path in self._data.rglob("*") if path.is_dir())):
            self.own(folder)
        (self._data / "recovery.signal").touch()
        self.own(self._data / "recovery.signal")
        self._recovery = {"restore_command": f"cp {self._archive}/%f %p"}
        if until is None:
            self._recovery["recovery_target_timeline"] = "current"
        else:
            self._recovery["recovery_target_time"] = until
            self._recovery["recovery_target_action"] = "promote"
        self.start()

    def _copy(self, source: str, target: str) -> str:
        shutil.copy2(source, target)
        self.own(Path(target))
        return target
