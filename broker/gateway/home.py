"""A gateway's home: the folder that holds all of one gateway, made once, by hand.

gateway.toml  keys.json (encrypted)  passphrase (0600)  root.json  gateway.sqlite3
directory/    workers/<name>.token (0600)   htcds/{out,in,rejected}
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from broker.audit.log.checkpoint import make_log_key
from broker.clock import Clock, SystemClock
from broker.database import Database
from broker.gateway.settings import FILE, Settings, load_settings
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import identity, stream, worker
from broker.migrating import upgrade
from keys.binding import new_incarnation
from keys.custody import STRONG, KdfCost, NewCustody, credential, new_custody
from schemas.base import ParticipantId, b64u
from schemas.directory import Compartment, PublishedKey
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import Conflict, NotFound, SchemaRefused

LOG_SECRET = "log"  # noqa: S105 (the name under which custody keeps it)
MIGRATIONS = Path(__file__).parent / "store" / "migrations"
TOKEN_BYTES = 32
FOLDERS = ("directory", "workers", "htcds", "htcds/out", "htcds/in", "htcds/rejected")
_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


@dataclass(frozen=True, slots=True)
class NewHome:
    """What a new gateway hands to its country, which publishes it in the directory."""

    home: Path
    participant: ParticipantId
    keys: tuple[PublishedKey, ...]
    log_vkey: str
    """Verifier key of the gateway's own log."""


def init_home(
    home: Path,
    *,
    participant: ParticipantId,
    hub_url: str,
    directory_url: str,
    trusted_root: bytes,
    hub_id: ParticipantId = "hub.main",
    compartments: Sequence[Compartment] = (Compartment.CASEWORK,),
    suites: Sequence[int] = (1,),
    port: int = 8420,
    metrics_port: int | None = None,
    country: str | None = None,
    database: str | None = None,
    channel: str = "mailbox",
    custody: NewCustody | None = None,
    cost: KdfCost = STRONG,
    clock: Clock | None = None,
) -> NewHome:
    """Make a gateway's home with new keys. Blocking: call it from a command, or in a thread.

    Args:
        trusted_root: The directory's root metadata, as it was handed over in person.
        country: Country profile of the files adapter, as `it`.
        database: SQLAlchemy URL; default: SQLite in the home.
        custody: Where the keys are made; default: an encrypted file in the home.

    Raises:
        Conflict: There is a gateway in this folder, or keys in that custody. Nothing was changed.
        NotPermitted, CustodyLocked: See `keys.custody.new_custody`. Nothing was changed.
    """
    if (home / FILE).exists():
        raise Conflict("there is a gateway in this folder")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in FOLDERS:
        (home / folder).mkdir(exist_ok=True, mode=0o700)
    now = (clock or SystemClock()).now()
    # Valid from a little earlier, so that a partner whose clock is behind believes them too.
    start = now - timedelta(seconds=MAX_SKEW_SECONDS)
    log_key, log_vkey = make_log_key(f"{participant}/gateway-log")
    if custody is None:
        passphrase = secrets.token_urlsafe(32).encode()
        _write_secret(home / "passphrase", passphrase.decode())
    else:
        passphrase = custody.pin_file.read_bytes()
    published = new_custody(
        f"file:{home / 'keys.json'}" if custody is None else custody.uri,
        passphrase,
        compartments=compartments,
        suites=suites,
        secrets={LOG_SECRET: log_key.encode()},
        now=start,
        cost=cost,
    )
    (home / "root.json").write_bytes(trusted_root)
    _write_secret(
        home / FILE,
        _settings_text(
            participant=participant,
            suite=suites[0],
            hub_url=hub_url,
            hub_id=hub_id,
            directory_url=directory_url,
            port=port,
            metrics_port=metrics_port,
            country=country,
            database=database,
            channel=channel,
            custody=custody,
        ),
    )
    settings = load_settings(home)
    upgrade(settings.database_url, MIGRATIONS)
    return NewHome(home, participant, published, log_vkey)


def add_worker(
    home: Path, name: str, *, may_know: bool = False, clock: Clock | None = None
) -> Path:
    """Give a worker a new token; one that the worker had before stops working.

    Args:
        may_know: She may see and write down what protects a person, and which rule it makes refuse.

    Returns:
        The token file, readable by its owner alone. The database keeps the token's hash.

    Raises:
        SchemaRefused: Not a name for a file: lower-case letters, digits, `.`, `_`, `-`.
    """
    if not _NAME.match(name):
        raise SchemaRefused("a worker's name has lower-case letters, digits, dots and dashes")
    settings = load_settings(home)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    moment = (clock or SystemClock()).now()

    async def store() -> None:
        database = Database(settings.database_url)
        try:
            async with database.begin() as connection:
                await upsert(
                    connection,
                    worker,
                    {
                        "name": name,
                        "token_hash": token_hash(token),
                        "may_know": may_know,
                        "created_at": moment,
                        "removed_at": None,
                    },
                    key=("name",),
                )
        finally:
            await database.close()

    asyncio.run(store())
    path = settings.home / "workers" / f"{name}.token"
    _write_secret(path, token + "\n")
    return path


def remove_worker(home: Path, name: str, *, clock: Clock | None = None) -> None:
    """End a worker's access at once.

    Raises:
        NotFound: No such worker.
    """
    settings = load_settings(home)
    moment = (clock or SystemClock()).now()

    async def store() -> bool:
        database = Database(settings.database_url)
        try:
            async with database.begin() as connection:
                result = await connection.execute(
                    update(worker)
                    .where(worker.c.name == name, worker.c.removed_at.is_(None))
                    .values(removed_at=moment)
                )
                return result.rowcount == 1
        finally:
            await database.close()

    if not asyncio.run(store()):
        raise NotFound("no such worker")
    (settings.home / "workers" / f"{name}.token").unlink(missing_ok=True)


def rename_database(home: Path) -> str:
    """After a backup was restored: give the database a new incarnation, and return it.

    Under the old one, numbers that the lost database used would be used again and refused. The
    gateway must not run.

    Raises:
        NotFound: This gateway has never run.
        StorageUnavailable: The database cannot be written.
    """
    settings = load_settings(home)
    fresh = new_incarnation()

    async def store() -> bool:
        database = Database(settings.database_url)
        try:
            async with database.begin() as connection:
                result = await connection.execute(update(identity).values(incarnation=fresh))
                await connection.execute(update(stream).values(base=stream.c.last_number))
                return result.rowcount == 1
        finally:
            await database.close()

    if not asyncio.run(store()):
        raise NotFound("this gateway has never run")
    return fresh


def token_hash(token: str) -> str:
    """What the database knows of a token. 256 random bits need no slow hash."""
    return b64u(hashlib.sha256(token.encode()).digest())


def read_passphrase(settings: Settings) -> bytes:
    """The passphrase of the key file."""
    return credential(settings.path(settings.keys.passphrase_file)).read_bytes().strip()


def _settings_text(
    *,
    participant: str,
    suite: int,
    hub_url: str,
    hub_id: str,
    directory_url: str,
    port: int,
    metrics_port: int | None,
    country: str | None,
    database: str | None,
    channel: str,
    custody: NewCustody | None,
) -> str:
    lines = [f'participant = "{participant}"', f"suite = {suite}"]
    if database is not None:
        lines.append(f'database = "{database}"')
    if metrics_port is not None:
        lines.append(f"metrics_port = {metrics_port}")
    lines += ["", "[hub]", f'url = "{hub_url}"', f'id = "{hub_id}"']
    lines += ["", "[directory]", f'url = "{directory_url}"']
    if custody is not None:
        lines += ["", "[keys]", f"custody = {json.dumps(custody.uri)}"]
        lines.append(f"passphrase_file = {json.dumps(str(custody.pin_file.resolve()))}")
    lines += ["", "[api]", f"port = {port}"]
    lines += ["", "[channel]", f'kind = "{channel}"']
    lines += ["", "[adapter]", 'name = "files"', 'folder = "htcds"']
    if country is not None:
        lines.append(f'country = "{country}"')
    return "\n".join(lines) + "\n"


def _write_secret(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
