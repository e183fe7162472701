"""Make a hub's folder: settings, encrypted keys, the secret of its queue names.

hub.toml  keys.json (encrypted)  passphrase (0600)  secret (0600)  root.json  state/
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from broker.audit.checkpoint import make_log_key
from broker.cli.passphrase import new_passphrase_file, write_secret
from broker.clock import SystemClock
from broker.hub.relay.channels import Names, definitions_for
from broker.hub.settings import load_settings
from keys.custody import STRONG, KdfCost, create_custody
from keys.lifecycle import new_keys
from keys.trust import DirectoryClient
from schemas.directory import Function, OrganisationKind, Participant, PublishedKey
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
            suites=(1,),
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
    cost: KdfCost = STRONG,
    extra: Sequence[str] = (),
) -> NewHub:
    """Make a hub's folder with new keys, and bring its database to the newest schema.

    Args:
        url: Where gateways find it; the port is the one that it listens on.
        directory: The TUF repository that it serves.
        trusted_root: The directory's root, as it was handed over in person.
        database: SQLAlchemy URL; default: SQLite in the folder.
        extra: Further lines of settings, as `[limits]` and what stands in it.

    Raises:
        Conflict: There is a hub in this folder. Nothing was changed.
    """
    if (folder / FILE).exists():
        raise Conflict("there is a hub in this folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = urlsplit(url)
    origin = f"{place.hostname}/{hub}"
    passphrase = new_passphrase_file(folder / "passphrase")
    write_secret(folder / "secret", secrets.token_bytes(48))
    private, published = new_keys(compartments=(), suites=(1,), now=SystemClock().now())
    log_key, log_vkey = make_log_key(origin)
    create_custody(
        f"file:{folder / 'keys.json'}",
        private.with_secret(LOG_SECRET, log_key.encode()),
        passphrase,
        cost=cost,
    )
    (folder / "root.json").write_bytes(trusted_root)
    lines = [
        f'hub = "{hub}"',
        f'database = "{database or "sqlite+aiosqlite:///hub.sqlite3"}"',
        f'host = "{place.hostname}"',
        f"port = {place.port or 80}",
        'custody = "file:keys.json"',
        'passphrase_file = "passphrase"',
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
    return NewHub(folder, hub, url, published, log_vkey)


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


def amqp_definitions(settings_file: Path, passwords: Path | None) -> tuple[dict[str, object], int]:
    """RabbitMQ's definitions document for all participants, and how many passwords were written.

    Args:
        passwords: A folder for one file of mode 0600 for each participant; None writes none.

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
    written = 0
    if passwords is not None:
        passwords.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = Names.of(settings.amqp)
        for one in everyone:
            if one.kind is not OrganisationKind.HUB and not one.suspended:
                write_secret(
                    passwords / f"{one.id}.password", names.reader(one.id).password.encode()
                )
                written += 1
    return definitions_for(settings.amqp, everyone), written
