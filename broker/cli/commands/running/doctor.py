"""`referral doctor`: look at everything a home relies on and say what is wrong, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aio_pika
import click
from aiormq.exceptions import ProbableAuthenticationError

from adapters.registry import open_adapter
from broker.amqp import Cluster
from broker.amqp.link import LOST
from broker.cli.fetch import get
from broker.cli.homes.identity import Identity, home_option
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.failures import NEXT_STEP, Exit, PartlyDone
from broker.cli.terminal.output import current
from keys.ceremony.roles import ending_roles
from keys.rotation import slot_of, warnings
from keys.statements.revocation import verify_revocation
from keys.trust import DirectoryClient
from schemas.directory import KeyStatus, TrustedDirectory
from schemas.errors import BrokerError, DirectoryRefused, QueueUnavailable

SMALLEST_DISK = 200 * 1024 * 1024
WORST_SKEW_SECONDS = 120
NOBODY_HERE = "none, as where nobody works"
SECONDS = 5
"""How long each answer is waited for."""


ELSEWHERE = "referral doctor where the hub runs; its address: hub.url in gateway.toml"
NEXT = {
    "hub-unreachable": ELSEWHERE,
    DirectoryRefused.code: "this machine's clock first; then its keepers sign anew: docs/operations/ceremony.md",
    "custody-locked": "is the passphrase file there, and the right one? docs/operations/custody.md",
    "log-inconsistent": "docs/operations/split-log.md",
    "key-revoked": "new keys: docs/operations/compromise.md",
    "case-system-unavailable": "the folder or address under [adapter] in gateway.toml: docs/adapters.md",
    "queue-unavailable": "is RabbitMQ running? What waits, waits at the hub",
}
"""What to do about an error of the protocol, by its code; whatever a directory is refused for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    well: bool
    detail: str
    next: str = ""
    """What to do about it."""

    def row(self) -> dict[str, str | bool]:
        return {"check": self.what, "ok": self.well, "detail": self.detail, "next": self.next}


@click.command(cls=ReferralCommand)
@home_option
def doctor(home: Path) -> None:
    """Find out what is wrong with a gateway or a hub. HOME may also be a hub's folder."""
    if (home / "hub.toml").is_file():
        report(examine_hub(home / "hub.toml"))
    else:
        report(examine_home(home, runs=True))


def report(findings: Iterator[Finding]) -> None:
    """Print each finding as it is made; end with 7 if some are bad and 1 if all are."""
    seen = list(findings)
    current().rows([finding.row() for finding in seen], ("check", "ok", "detail", "next"))
    bad = [finding for finding in seen if not finding.well]
    if bad and len(bad) < len(seen):
        raise PartlyDone(f"{len(bad)} of {len(seen)} checks found something wrong")
    if bad:
        raise SystemExit(Exit.FAILED)


class Wrong(Exception):
    """Something is not as it must be; the text is ours and safe to show."""

    def __init__(self, text: str, step: str = "") -> None:
        super().__init__(text)
        self.step = step


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except BrokerError as error:
        code = DirectoryRefused.code if isinstance(error, DirectoryRefused) else error.code
        step = NEXT.get(code) or NEXT_STEP.get(code, "")
        return Finding(what, False, error.describe(), step)
    except Wrong as error:
        return Finding(what, False, str(error), error.step)
    except click.ClickException as error:
        return Finding(what, False, error.format_message())
    except (OSError, ValueError) as error:
        return Finding(what, False, type(error).__name__)


def _own_alone(*files: Path) -> str:
    """None of our secrets can be read by others."""
    wide = [file for file in files if file.is_file() and file.stat().st_mode & 0o077]
    if wide:
        names = " ".join(file.name for file in wide)
        raise Wrong(f"others can read {names}", "chmod 600 " + " ".join(map(str, wide)))
    return "for this user alone"


def _lets_us_in(cluster: Cluster, renew: str) -> str:
    """RabbitMQ answers and takes our name and password."""

    async def enter(node: str) -> None:
        url, context = cluster.url(node), cluster.tls()
        async with asyncio.timeout(SECONDS):
            await (await aio_pika.connect(url, ssl_context=context)).close()

    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # we say it ourselves
    for node in cluster.nodes:
        try:
            asyncio.run(enter(node))
        except ProbableAuthenticationError:
            raise Wrong("RabbitMQ does not take our password", renew) from None
        except LOST:
            continue
        return f"RabbitMQ lets us in at {node}"
    raise QueueUnavailable("no answer of RabbitMQ at " + ", ".join(cluster.nodes))


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < SMALLEST_DISK:
        raise Wrong("little space left")
    return f"{free // 1024**2} MiB free"


def _hub_answers(url: str, step: str) -> str:
    try:
        date = get(f"{url.rstrip('/')}/readyz", seconds=SECONDS)[1].get("Date")
    except urllib.error.HTTPError as error:
        raise Wrong(f"not ready: {_codes(error)}", step) from None
    except OSError:
        raise Wrong(f"no answer at {url}", step) from None
    if date is None:
        return "ready"
    skew = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    if skew > WORST_SKEW_SECONDS:
        raise Wrong(
            f"clocks differ by {skew:.0f} s", "set both by NTP; one is wrong: compare date -u"
        )
    return f"ready, clocks differ by at most {skew + 1:.0f} s"


def _codes(error: urllib.error.HTTPError) -> str:
    """What a `/readyz` that is not green names."""
    try:
        return ", ".join(map(str, json.loads(error.read())["codes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.code)


def _revoked(identity: Identity, directory: TrustedDirectory) -> list[str]:
    """Which of our keys somebody who may has revoked, the hub says; the directory may not show it yet."""

    async def read() -> list[bytes]:
        found: list[bytes] = []
        after = 0
        async with identity.hub() as hub:
            while page := await hub.revocations(after):
                found += [raw for _, raw in page]
                after = page[-1][0]
        return found

    now, kids = datetime.now(UTC), set[str]()
    for raw in asyncio.run(read()):
        with contextlib.suppress(BrokerError):
            kids |= set(verify_revocation(raw, directory, now=now, in_force=False).content.keys)
    entry = directory.participant(identity.participant)
    if entry is None:
        return []
    marked = {key.kid for key in entry.keys if key.status is KeyStatus.COMPROMISED}
    # What was replaced since may stay revoked; one that should still serve may not.
    bad = kids | marked
    served = {slot_of(key) for key in entry.keys if key.kid not in bad and key.is_current(now)}
    return sorted(
        key.kid
        for key in entry.keys
        if key.kid in bad and key.not_after > now and slot_of(key) not in served
    )


def examine_home(home: Path, *, runs: bool) -> Iterator[Finding]:
    """Settings, secrets, keys, hub, directory, revocations, log, queue, disk, case system, workers,
    the process itself: in order of need.

    Args:
        runs: Its gateway should be running now. One without workers, as an auditor's home, need not.
    """
    from broker.cli.homes.identity import lent_tools, open_identity, trusted_directory
    from broker.gateway.receive.queue import cluster_of
    from broker.gateway.settings import load_settings

    def participant() -> str:
        try:
            return load_settings(home).participant
        except BrokerError as error:
            step = (
                "--home names a folder with gateway.toml or hub.toml; deploy/settings has samples"
            )
            raise Wrong(error.describe(), step) from None

    settings_check = _look("settings", participant)
    yield settings_check
    if not settings_check.well:
        return
    settings = load_settings(home)

    def keys() -> str:
        identity = open_identity(home)
        identity.signer()
        soonest = min(key.not_after for key in identity.custody.keys)
        return f"{len(identity.custody.keys)} keys, the first ends on {soonest.date()}"

    def directory() -> str:
        found = trusted_directory(settings)
        entry = found.participant(settings.participant)
        if entry is None:
            raise Wrong("this participant is not in the directory")
        ending = [
            f"{key.use} key {key.kid} ends within {days} days"
            for key, days in warnings(entry.keys, datetime.now(UTC))
        ]
        if ending:
            raise Wrong("; ".join(ending), f"referral keys rotate --home {home}")
        return f"version {found.version}, {len(found.participants)} participants"

    def not_revoked() -> str:
        gone = _revoked(open_identity(home), trusted_directory(settings))
        if gone:
            raise Wrong("revoked: " + ", ".join(gone), NEXT["key-revoked"])
        return "none of ours"

    def queue() -> str:
        async def ask() -> Cluster:
            identity = open_identity(home)
            async with identity.hub() as hub:
                channel = (await hub.channels("amqp")).rabbitmq
            if channel is None:
                raise Wrong("the hub offers no RabbitMQ", 'kind = "mailbox" under [channel]')
            return cluster_of(channel, settings, identity.custody)

        renew = f"at the hub: referral hub queue-access {settings.participant} --settings hub.toml"
        return _lets_us_in(asyncio.run(ask()), renew)

    def secrets() -> str:
        file = settings.custody_uri.removeprefix("file:")
        return _own_alone(settings.path(settings.keys.passphrase_file), Path(file))

    def log() -> str:
        kept = sorted(home.glob("witness/*/contradiction-*"))
        if kept:
            heads = "the hub signed two heads that cannot both be true"
            raise Wrong(f"{heads}: {kept[-1]}", NEXT["log-inconsistent"])
        return "the hub has shown us one history"

    def case_system() -> str:
        # A folder of ours needs no key.
        tools = None if settings.adapter.is_folder else lent_tools(home)
        open_adapter(settings.adapter.name, settings.adapter_table, tools).check()
        return f"{settings.adapter.name}: can be written"

    names = sorted(path.stem for path in (home / "workers").glob("*.token"))

    def workers() -> str:
        if not names:
            raise Wrong("none", f"referral gateway worker add NAME --home {home}")
        return ", ".join(names)

    def process() -> str:
        address = f"{settings.api.host}:{settings.api.port}"
        try:
            get(f"http://{address}/readyz", seconds=SECONDS)
        except urllib.error.HTTPError as error:
            step = "what each code means: docs/operations/README.md#readiness"
            raise Wrong(f"not ready: {_codes(error)}", step) from None
        except OSError:
            if not names:
                return NOBODY_HERE
            step = f"its journal; to start it by hand: referral gateway run --home {home}"
            raise Wrong(f"no gateway answers at {address}", step) from None
        return "ready"

    yield _look("secrets", secrets)
    yield _look("keys", keys)
    yield _look("hub", lambda: _hub_answers(settings.hub.url, ELSEWHERE))
    yield _look("directory", directory)
    yield _look("revocations", not_revoked)
    yield _look("log", log)
    if settings.channel.kind == "rabbitmq":
        yield _look("queue", queue)
    yield _look("disk", lambda: _disk(settings.home))
    yield _look("case system", case_system)
    if runs:
        found = _look("process", process)
        yield found
        if found.detail == NOBODY_HERE:
            return
    yield _look("workers", workers)


def examine_hub(file: Path) -> Iterator[Finding]:
    """Settings, secrets, keys, directory, RabbitMQ, disk, the process itself."""
    from broker.hub.relay.channels import cluster as hub_cluster
    from broker.hub.settings import SettingsError, load_settings
    from keys.custody import credential, open_custody

    def hub_id() -> str:
        try:
            return load_settings(file).hub
        except SettingsError as error:
            raise Wrong(str(error)) from None

    settings_check = _look("settings", hub_id)
    yield settings_check
    if not settings_check.well:
        return
    settings = load_settings(file)
    amqp = settings.amqp

    def secrets() -> str:
        key_file = Path(settings.custody.removeprefix("file:"))
        own = [settings.passphrase_file, key_file]
        return _own_alone(*own, *([amqp.password_file, amqp.secret_file] if amqp else []))

    def keys() -> str:
        custody = open_custody(
            settings.custody, credential(settings.passphrase_file).read_bytes().strip()
        )
        return f"{len(custody.keys)} to sign with, and the log's"

    def directory() -> str:
        cache = settings.state / "directory"
        root = settings.directory_root.read_bytes()
        found = DirectoryClient(str(settings.directory), cache, root).refresh(datetime.now(UTC))
        now, entry = datetime.now(UTC), found.participant(settings.hub)
        if entry is None:
            raise Wrong("this hub is not in the directory")
        ending = [
            f"our key {key.kid} within {days} days" for key, days in warnings(entry.keys, now)
        ]
        roles = ending_roles(found.role_ends, now)
        ending += [f"role {role} within {days} days" for role, days in roles.items()]
        if ending:
            step = f"referral keys rotate --home {file.parent}; roles: docs/operations/ceremony.md"
            raise Wrong("ends: " + "; ".join(ending), step)
        return f"version {found.version}, {len(found.participants)} participants"

    yield _look("secrets", secrets)
    yield _look("keys", keys)
    yield _look("directory", directory)
    if amqp is not None:
        step = f"the user and password under [amqp] in {file}"
        yield _look("queue", lambda: _lets_us_in(hub_cluster(amqp), step))
    yield _look("disk", lambda: _disk(file.parent))
    url = f"http://{settings.host}:{settings.port}"
    yield _look(
        "process",
        lambda: _hub_answers(url, "its journal; what each code means: docs/operations/README.md"),
    )
