"""Make a hub's folder: settings, encrypted keys, the secret of its queue names.

hub.toml  keys.json (encrypted)  passphrase (0600)  secret (0600)  root.json  state/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from broker.audit.log.checkpoint import make_log_key
from broker.cli.homes.passphrase import new_passphrase_file, write_secret
from broker.clock import SystemClock
from broker.database import Database
from broker.hub.app import MIGRATIONS
from broker.hub.relay.channels import definitions_for
from broker.hub.settings import HubSettings, load_settings
from broker.hub.store import participants
from broker.migrating import upgrade
from keys.custody import (
    STRONG,
    Custody,
    KdfCost,
    NewCustody,
    credential,
    new_custody,
    open_custody,
)
from keys.trust import DirectoryClient
from schemas.directory import (
    Function,
    OrganisationKind,
    Participant,
    PublishedKey,
    TrustedDirectory,
)
from schemas.errors import Conflict, Refused

FILE = "hub.toml"
LOG_SECRET = "log"  # noqa: S105 (the name under which custody keeps it)


@dataclass(frozen=True, slots=True)
class AmqpPlace:
    """Where RabbitMQ is, for the hub; participants get users of their own."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str = "/"
    ca: Path | None = None
    management_url: str | None = None


@dataclass(frozen=True, slots=True)
class NewHub:
    """What a new hub hands to the keepers of the directory, who publish it."""

    folder: Path
    hub: str
    url: str
    suite: int
    keys: tuple[PublishedKey, ...]
    log_vkey: str

    @property
    def settings_file(self) -> Path:
        return self.folder / FILE

    def entry(self, name: str, country: str) -> Participant:
        """The hub's entry for the directory."""
        return Participant(
            id=self.hub,
            name=name,
            country=country,
            kind=OrganisationKind.HUB,
            function=Function.HUB,
            suites=(1,) if self.suite == 1 else (2,),
            compartments=(),
            log_vkey=self.log_vkey,
            url=self.url,
            keys=self.keys,
            entry_issued_at=SystemClock().now(),
        )


def init_hub(
    folder: Path,
    *,
    hub: str,
    url: str,
    directory: Path,
    trusted_root: bytes,
    database: str | None = None,
    amqp: AmqpPlace | None = None,
    metrics_port: int | None = None,
    suite: int = 1,
    custody: NewCustody | None = None,
    cost: KdfCost = STRONG,
    extra: Sequence[str] = (),
) -> NewHub:
    """Make a hub's folder with new keys, and bring its database to the newest schema.

    Args:
        url: Where gateways find it; the port is the one that it listens on.
        directory: The TUF repository that it serves.
        trusted_root: The directory's root, as it was handed over in person.
        database: SQLAlchemy URL; default: SQLite in the folder.
        custody: Where the keys are made; default: an encrypted file in the folder.
        extra: Further lines of settings, as `[limits]` and what stands in it.

    Raises:
        Conflict: There is a hub in this folder. Nothing was changed.
    """
    if (folder / FILE).exists():
        raise Conflict("there is a hub in this folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = urlsplit(url)
    origin = f"{place.hostname}/{hub}"
    log_key, log_vkey = make_log_key(origin)
    published = new_custody(
        f"file:{folder / 'keys.json'}" if custody is None else custody.uri,
        new_passphrase_file(folder / "passphrase")
        if custody is None
        else custody.pin_file.read_bytes(),
        compartments=(),
        suites=(suite,),
        secrets={LOG_SECRET: log_key.encode()},
        now=SystemClock().now(),
        cost=cost,
    )
    write_secret(folder / "secret", secrets.token_bytes(48))
    (folder / "root.json").write_bytes(trusted_root)
    pin = "passphrase" if custody is None else str(custody.pin_file.resolve())
    lines = [
        f'hub = "{hub}"',
        f'database = "{database or "sqlite+aiosqlite:///hub.sqlite3"}"',
        f'host = "{place.hostname}"',
        f"port = {place.port or 80}",
        f"suite = {suite}",
        f"custody = {json.dumps('file:keys.json' if custody is None else custody.uri)}",
        f"passphrase_file = {json.dumps(pin)}",
        f'directory = "{directory}"',
        'directory_root = "root.json"',
        'state = "state"',
    ]
    if metrics_port is not None:
        lines.append(f"metrics_port = {metrics_port}")
    lines += ["", "[log]", f'origin = "{origin}"', f'key = "{LOG_SECRET}"']
    if amqp is not None:
        lines += ["", *_amqp_lines(folder, amqp)]
    lines += ["", *extra] if extra else []
    write_secret(folder / FILE, ("\n".join(lines) + "\n").encode())
    return NewHub(folder, hub, url, suite, published, log_vkey)


def _amqp_lines(folder: Path, amqp: AmqpPlace) -> list[str]:
    write_secret(folder / "amqp-password", amqp.password.encode())
    lines = [
        "[amqp]",
        f'nodes = [{{ host = "{amqp.host}", port = {amqp.port} }}]',
        f'vhost = "{amqp.vhost}"',
        f'user = "{amqp.user}"',
        'password_file = "amqp-password"',
        'secret_file = "secret"',
    ]
    if amqp.ca is not None:
        lines.append(f'ca_file = "{amqp.ca}"')
    if amqp.management_url is not None:
        lines.append(f'management_url = "{amqp.management_url}"')
    return lines


def open_hub(settings_file: Path) -> tuple[str, Custody, TrustedDirectory]:
    """A hub's id, its custody, and the directory as it serves it now.

    Raises:
        CustodyLocked, DirectoryRefused: They do not open, or do not verify.
    """
    settings = load_settings(settings_file)
    passphrase = credential(settings.passphrase_file).read_bytes()
    client = DirectoryClient(
        str(settings.directory), settings.state / "directory", settings.directory_root.read_bytes()
    )
    directory = client.refresh(SystemClock().now())
    return settings.hub, open_custody(settings.custody, passphrase), directory


@contextlib.asynccontextmanager
async def hub_database(settings: HubSettings) -> AsyncIterator[Database]:
    """The hub's database in the newest schema, while no hub needs to run."""
    # Definitions are wanted before the hub's first start, which makes the tables otherwise.
    await asyncio.to_thread(upgrade, settings.database_url(), MIGRATIONS)
    database = Database(settings.database_url())
    try:
        yield database
    finally:
        await database.close()


async def amqp_definitions(settings_file: Path) -> dict[str, object]:
    """RabbitMQ's definitions document for all participants, each with its present password.

    Raises:
        Refused: The hub's settings name no RabbitMQ.
        DirectoryRefused: The directory does not verify.
    """
    settings = load_settings(settings_file)
    if settings.amqp is None:
        raise Refused("the settings have no [amqp] table")
    client = DirectoryClient(
        str(settings.directory), settings.state / "directory", settings.directory_root.read_bytes()
    )
    everyone = client.refresh(SystemClock().now()).participants.values()
    async with hub_database(settings) as database, database.read() as connection:
        generations = await participants.access_generations(connection)
    return definitions_for(settings.amqp, everyone, generations)


async def renew_queue_access(settings_file: Path, participant: str) -> bool:
    """Give a participant's RabbitMQ user another password; True if the hub sees to it by itself.

    Raises:
        Refused: The hub's settings name no RabbitMQ.
    """
    settings = load_settings(settings_file)
    if settings.amqp is None:
        raise Refused("the settings have no [amqp] table")
    async with hub_database(settings) as database, database.begin() as connection:
        await participants.renew_access(connection, participant, SystemClock().now())
    return settings.amqp.management_url is not None
