"""A private PostgreSQL cluster: durability as in production, everything else its own."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy.dev.server import (
    LOOPBACK,
    Account,
    Server,
    ServiceFailed,
    find_program,
    free_port,
    temporary,
)


class PostgreSQL(Server):
    """A cluster of its own: TCP on loopback with a password, no unix socket, fsync on."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": end the sessions, then a checkpoint

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(directory, Account.choose("postgres"))
        self._binaries = {
            name: find_program(name, f"usr/lib/postgresql/*/bin/{name}", f"usr/pgsql-*/bin/{name}")
            for name in ("initdb", "postgres", "psql")
        }
        self.port = free_port()
        self.user = "referral"
        self.password = secrets.token_urlsafe(18)
        self._settings = {"max_connections": "60", **(settings or {})}
        self._data = directory / "data"

    @classmethod
    def temporary(cls, *, settings: Mapping[str, str] | None = None) -> Self:
        """One in a temporary directory that `close` removes."""
        owned = temporary("postgres")
        return cls(Path(owned.name), settings=settings).take_temporary(owned)

    def url(self, database: str = "postgres", *, driver: str = "postgresql+asyncpg") -> str:
        """For SQLAlchemy; with `driver="postgresql"` for asyncpg itself and psql."""
        return f"{driver}://{self.user}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def start(self, *, patience: float = 90) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        super().start(patience=patience)

    def create_database(self, name: str | None = None) -> str:
        """A new empty database; its URL for SQLAlchemy."""
        name = name or f"test_{secrets.token_hex(6)}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop it, ending whatever sessions are still in it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement as the owner; the rows as tab-separated text."""
        done = subprocess.run(
            [
                *(self._binaries["psql"], "-X", "-q", "-A", "-t", "-F", "\t"),
                *("-v", "ON_ERROR_STOP=1", "-h", LOOPBACK, "-p", str(self.port)),
                *("-U", self.user, "-d", database, "-c", statement),
            ],
            env={**self.environment(), "PGPASSWORD": self.password},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise ServiceFailed(f"psql: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def command(self) -> Sequence[str]:
        settings = {"listen_addresses": LOOPBACK, "port": str(self.port)}
        settings |= {"unix_socket_directories": "", **self._settings}
        options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        return [self._binaries["postgres"], "-D", str(self._data), *options]

    def is_ready(self) -> bool:
        with contextlib.suppress(ServiceFailed, subprocess.TimeoutExpired):
            return self.sql("SELECT 1") == "1"
        return False

    def _may_try_again(self) -> bool:
        # After a kill the old backends may hold the shared memory for a moment longer.
        return "shared memory" in self.log_tail(5) or "lock file" in self.log_tail(5)

    def _initialise(self) -> None:
        self._data.mkdir(exist_ok=True)
        self.own(self._data)
        self._data.chmod(0o700)
        password = self.directory / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        self.own(password)
        done = subprocess.run(
            [
                *(self._binaries["initdb"], "-D", str(self._data), "-U", self.user, "-E", "UTF8"),
                *("--no-locale", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password}"),
            ],
            env=dict(self.environment()),
            cwd=self.directory,
            capture_output=True,
            check=False,
            **self.as_account(),
        )
        password.unlink()
        if done.returncode:
            raise ServiceFailed(f"initdb: {done.stderr.decode(errors='replace').strip()}")
