"""Secrets come from a file, from standard input, or from a prompt. Never a flag, never a variable.

A flag is in the shell's history and in every process list; an environment variable is in
`/proc` and in crash reports.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

import click

MINIMUM_LENGTH = 12


def read_passphrase(source: str | None, *, confirm: bool = False) -> bytes:
    """Read a passphrase from a file path, a `systemd-credential:NAME`, standard input (`-`), or by
    asking.

    Raises:
        click.UsageError: No source and no terminal to ask at, or an empty passphrase.
    """
    if source == "-":
        passphrase = sys.stdin.readline().rstrip("\r\n").encode()
    elif source:
        path = _file_of(source)
        passphrase = path.read_bytes().rstrip(b"\r\n")
    elif sys.stdin.isatty():
        text = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        passphrase = str(text).encode()
    else:
        raise click.UsageError("no terminal to ask at: give --passphrase-file FILE, or - for stdin")
    if not passphrase:
        raise click.UsageError("the passphrase is empty")
    return passphrase


def _file_of(source: str) -> Path:
    if source.startswith("systemd-credential:"):
        from keys.custody.credentials import credential

        return credential(source)
    warn_if_open(Path(source))
    return Path(source)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read; an existing one is never replaced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def new_passphrase_file(path: Path) -> bytes:
    """Make a random passphrase, keep it in a file of mode 0600, and return it."""
    passphrase = secrets.token_urlsafe(24).encode()
    write_secret(path, passphrase + b"\n")
    return passphrase


def warn_if_open(path: Path) -> None:
    """Say so when others than the owner may read a secret."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        click.echo(f"warning: {path} can be read by others; run chmod 600 {path}", err=True)
