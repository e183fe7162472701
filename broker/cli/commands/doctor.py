"""`referral doctor`: look at everything a home relies on and say what is wrong, in order."""

from __future__ import annotations

import shutil
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import click

from broker.cli.failures import Exit, PartlyDone
from broker.cli.fetch import get
from broker.cli.identity import home_option
from broker.cli.output import current
from broker.cli.root import ReferralCommand
from keys.ceremony.roles import ending_roles
from keys.rotation import warnings
from keys.trust import DirectoryClient
from schemas.errors import BrokerError

SMALLEST_DISK = 200 * 1024 * 1024
WORST_SKEW_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    well: bool
    detail: str

    def row(self) -> dict[str, str | bool]:
        return {"check": self.what, "ok": self.well, "detail": self.detail}


@click.command(cls=ReferralCommand)
@home_option
def doctor(home: Path) -> None:
    """Find out what is wrong with a gateway or a hub. HOME may also be a hub's folder."""
    if (home / "hub.toml").is_file():
        report(examine_hub(home / "hub.toml"))
    else:
        report(examine_home(home))


def report(findings: Iterator[Finding]) -> None:
    """Print each finding as it is made; end with 7 if some are bad and 1 if all are."""
    seen = list(findings)
    current().rows([finding.row() for finding in seen], ("check", "ok", "detail"))
    bad = [finding for finding in seen if not finding.well]
    if bad and len(bad) < len(seen):
        raise PartlyDone(f"{len(bad)} of {len(seen)} checks found something wrong")
    if bad:
        raise SystemExit(Exit.FAILED)


class Wrong(Exception):
    """Something is not as it must be; the text is ours and safe to show."""


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except BrokerError as error:
        return Finding(what, False, error.describe())
    except Wrong as error:
        return Finding(what, False, str(error))
    except (OSError, ValueError) as error:
        return Finding(what, False, type(error).__name__)


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < SMALLEST_DISK:
        raise Wrong("little space left")
    return f"{free // 1024**2} MiB free"


def _hub_answers(url: str) -> str:
    try:
        date = get(f"{url.rstrip('/')}/readyz", seconds=5)[1].get("Date")
    except urllib.error.HTTPError as error:
        raise Wrong(f"answers {error.code}") from None
    if date is None:
        return "ready"
    skew = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    if skew > WORST_SKEW_SECONDS:
        raise Wrong(f"clocks differ by {skew:.0f} s")
    return f"ready, clocks differ by at most {skew + 1:.0f} s"


def examine_home(home: Path) -> Iterator[Finding]:
    """Settings, passphrase, keys, directory, hub, database, disk, workers: in order of need."""
    from broker.cli.identity import open_identity, trusted_directory
    from broker.gateway.settings import load_settings

    settings_check = _look("settings", lambda: load_settings(home).participant)
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
            raise Wrong("; ".join(ending) + ": referral keys rotate")
        return f"version {found.version}, {len(found.participants)} participants"

    def workers() -> str:
        names = sorted(path.stem for path in (home / "workers").glob("*.token"))
        if not names:
            raise Wrong("none")
        return ", ".join(names)

    yield _look("keys", keys)
    yield _look("directory", directory)
    yield _look("hub", lambda: _hub_answers(settings.hub.url))
    yield _look("disk", lambda: _disk(settings.home))
    yield _look("workers", workers)


def examine_hub(file: Path) -> Iterator[Finding]:
    """Settings, keys, directory, the process itself, disk."""
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
            raise Wrong("ends, and must be signed anew: " + "; ".join(ending))
        return f"version {found.version}, {len(found.participants)} participants"

    yield _look("keys", keys)
    yield _look("directory", directory)
    yield _look("disk", lambda: _disk(file.parent))
    yield _look("process", lambda: _hub_answers(f"http://{settings.host}:{settings.port}"))
