"""Backups of a database, made while it is used, and put back over it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from deploy.dev.server import find_program


def back_up(url: str, copy: Path) -> None:
    """SQLite: `VACUUM INTO`. PostgreSQL: `pg_dump`."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(place.database))
        try:
            connection.execute("VACUUM INTO ?", (str(copy),))
        finally:
            connection.close()
        return
    _run(place, "pg_dump", "--format=custom", f"--file={copy}", str(place.database))


def put_back(url: str, copy: Path) -> None:
    """As an operator does: the whole database is what the copy holds. Nobody may use it meanwhile."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        file = Path(str(place.database))
        for left in file.parent.glob(f"{file.name}*"):
            left.unlink()
        file.write_bytes(copy.read_bytes())
        return
    name = str(place.database)
    for statement in (f'DROP DATABASE "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"'):
        _run(place, "psql", "-X", "-q", "-d", "postgres", "-c", statement)
    _run(place, "pg_restore", "--exit-on-error", f"--dbname={name}", str(copy))


def _run(place: URL, program: str, *arguments: str) -> None:
    binary = find_program(program, f"usr/lib/postgresql/*/bin/{program}")
    done = subprocess.run(
        [
            binary,
            "-h",
            str(place.host),
            "-p",
            str(place.port),
            "-U",
            str(place.username),
            *arguments,
        ],
        env={**os.environ, "PGPASSWORD": str(place.password)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
