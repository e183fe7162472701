"""A hub's log after an older copy of its database was put back: how far it goes, and how it goes on."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from broker.audit.log.checkpoint import make_log_key
from broker.audit.log.note import NoteSigner
from broker.cli.homes.hub import hub_database, open_hub
from broker.cli.homes.passphrase import write_secret
from broker.clock import SystemClock
from broker.hub.log.continuing import Standing, begin_another, standing
from broker.hub.log.set_back import HeadFile
from broker.hub.settings import load_settings
from schemas.errors import Refused


@dataclass(frozen=True, slots=True)
class AnotherLog:
    """What an operator is told after the log was ended and another begun."""

    ended: str
    origin: str
    kept: int
    seen: int | None
    """The old log's largest size that anybody has shown."""
    entry: Path
    """For the keepers of the directory, who publish the new key."""


async def log_standing(settings_file: Path) -> Standing:
    """Compare the log in the database with what this machine and others remember.

    Raises:
        NotFound: This hub has never run.
    """
    settings = load_settings(settings_file)
    async with hub_database(settings) as database, database.read() as connection:
        return await standing(connection, HeadFile(settings.state, settings.log.origin))


async def begin_another_log(settings_file: Path, origin: str) -> AnotherLog:
    """End the hub's log and begin another, with a key of its own. The hub must not run.

    May be repeated with the same origin after it was cut off.

    Raises:
        Conflict: The same name, or another process has begun a third.
        Refused: The settings file has no `[log]` table that can be rewritten.
        CustodyLocked, DirectoryRefused, StorageUnavailable: As they say.
    """
    hub, custody, directory = await asyncio.to_thread(open_hub, settings_file)
    settings, now = load_settings(settings_file), SystemClock().now()
    entry = directory.participant(hub)
    if entry is None:
        raise Refused("the directory does not name this hub")
    secret = f"log {origin}"
    if not custody.has_secret(secret):
        custody.put_secret(secret, make_log_key(origin)[0].encode())
    vkey = NoteSigner.from_text(custody.secret(secret).decode()).verifier.to_text()
    rewritten = await asyncio.to_thread(_with_log, settings_file, origin=origin, key=secret)
    async with hub_database(settings) as database:
        database.lock_file()
        async with database.begin() as connection:
            found = await standing(connection, HeadFile(settings.state, settings.log.origin))
            if found.origin != origin:  # else it was done before, and cut off
                await begin_another(
                    connection,
                    found,
                    origin=origin,
                    by=hub,
                    signer=custody.signer_for(settings.suite, now, entry),
                    now=now,
                )
    place = settings_file.parent / "entry.json"
    changed = entry.model_copy(update={"log_vkey": vkey, "entry_issued_at": now})
    await asyncio.to_thread(_replace, place, changed.to_json())
    await asyncio.to_thread(_replace, settings_file, rewritten.encode())
    seen = None if found.later is None else found.later.size
    return AnotherLog(settings.log.origin, origin, found.kept.size, seen, place)


def _with_log(settings_file: Path, *, origin: str, key: str) -> str:
    """The settings with another log. Everything else stays as somebody wrote it."""
    head, table, rest = settings_file.read_text().partition("[log]\n")
    inside, bracket, after = rest.partition("\n[")
    lines = [line for line in inside.split("\n") if not re.match(r"(origin|key)\s*=", line)]
    lines = [f"origin = {json.dumps(origin)}", f"key = {json.dumps(key)}", *lines]
    made = head + table + "\n".join(lines) + bracket + after
    try:
        log = tomllib.loads(made)["log"]
    except (tomllib.TOMLDecodeError, KeyError):
        log = {}
    if not table or (log.get("origin"), log.get("key")) != (origin, key):
        raise Refused("the settings file has no [log] table that can be rewritten")
    return made


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the mode that it had, or for its owner alone."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    write_secret(fresh, data)
    if path.exists():
        fresh.chmod(path.stat().st_mode & 0o777)
    fresh.replace(path)
