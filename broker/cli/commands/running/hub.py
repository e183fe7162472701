"""`referral hub`: the neutral middle, which routes and records and cannot read."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Literal

import click

from broker.cli.homes.identity import chosen_custody, custody_options
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.output import current
from schemas.errors import Refused

ORIGIN = re.compile(r"[^\s+]{1,100}")


@click.group(cls=ReferralGroup)
def hub() -> None:
    """Set up, run and check a hub."""


_settings = click.option(
    "--settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="hub.toml",
    show_default=True,
    help="The hub's settings file.",
)


@hub.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--id", "hub_id", default="hub.main", show_default=True)
@click.option("--url", required=True, help="Where gateways find it; names host and port.")
@click.option("--name", required=True, help="Its name in the directory.")
@click.option("--country", required=True, metavar="CC", help="Where it stands.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="The repository that it serves.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The directory's trusted root.",
)
@click.option("--database", metavar="URL", help="SQLAlchemy URL; SQLite in FOLDER otherwise.")
@click.option("--metrics-port", type=click.IntRange(1, 65535))
@click.option("--suite", type=click.IntRange(1, 2), default=1, show_default=True)
@custody_options
def init(
    folder: Path,
    hub_id: str,
    url: str,
    name: str,
    country: str,
    directory: Path,
    root: Path,
    database: str | None,
    metrics_port: int | None,
    suite: int,
    custody: str | None,
    pin_file: Path | None,
) -> None:
    """Make FOLDER with new keys; print the entry that the directory's keepers publish."""
    from broker.cli.homes.hub import init_hub

    made = init_hub(
        folder,
        hub=hub_id,
        url=url,
        directory=directory.resolve(),
        trusted_root=root.read_bytes(),
        database=database,
        metrics_port=metrics_port,
        suite=suite,
        custody=chosen_custody(custody, pin_file),
    )
    entry = made.entry(name, country.upper())
    (folder / "entry.json").write_bytes(entry.to_json())
    current().say(f"publish {folder / 'entry.json'}: referral directory hub --help")
    current().result(
        json.loads(entry.to_json()), plain=f"{made.hub} at {made.url}\n{made.log_vkey}"
    )


@hub.command()
@_settings
@click.option(
    "--role",
    type=click.Choice(["all", "api", "relay"]),
    default="all",
    show_default=True,
    help="api answers requests, relay runs the loops.",
)
def run(settings: Path, role: Literal["all", "api", "relay"]) -> None:
    """Run the hub until it is told to end."""
    from broker.hub.app import run as run_hub
    from broker.hub.settings import SettingsError, load_settings

    try:
        loaded = load_settings(settings)
    except SettingsError as error:
        raise Refused(str(error)) from None
    run_hub(loaded, role=role)


@hub.command()
@_settings
def definitions(settings: Path) -> None:
    """RabbitMQ's definitions for everybody in the directory: queues, users, rights.

    Import them with rabbitmqctl when the hub may not administer RabbitMQ itself. Each participant
    gets its password from the hub, sealed to its own key.
    """
    from broker.cli.homes.hub import amqp_definitions

    current().text(json.dumps(asyncio.run(amqp_definitions(settings)), indent=1))


@hub.command("queue-access")
@_settings
@click.argument("participant")
def queue_access(settings: Path, participant: str) -> None:
    """Give a participant's RabbitMQ user another password.

    The gateway fetches it by itself, sealed to its own key. A compromised key does this too.
    """
    from broker.cli.homes.hub import renew_queue_access

    applied = asyncio.run(renew_queue_access(settings, participant))
    if not applied:
        current().say(
            "This hub may not administer RabbitMQ (no management_url). Until you have deleted the"
            " user and imported `referral hub definitions`, the old password still opens its queues."
        )
    current().result({"participant": participant, "renewed": True, "applied": applied})


@hub.command()
@_settings
@click.option(
    "--new-log",
    metavar="ORIGIN",
    help="End the log, and begin another of this name; what is lost stays lost.",
)
def restored(settings: Path, new_log: str | None) -> None:
    """After a backup of the hub's database was put back: what is missing, and how to go on.

    Says how far the log in the database goes, and how far this machine and the participants have
    seen it. If that is further, the hub accepts nothing. Put back a newer copy, and nothing else is
    needed. If there is none, stop the hub and name another log.
    """
    from broker.cli.log.continuing import begin_another_log, log_standing

    if new_log is None:
        found = asyncio.run(log_standing(settings))
        seen = None if found.later is None else found.later.size
        current().result(
            {
                "origin": found.origin,
                "size": found.kept.size,
                "seen": seen,
                "shown_by": list(found.shown_by),
                "set_back": found.set_back,
            },
            plain=f"{found.origin}: size {found.kept.size}"
            + ("" if seen is None else f", seen at size {seen}")
            + (f", missed by {', '.join(found.shown_by)}" if found.shown_by else "")
            + ("" if found.set_back else ". Nothing is known to be missing."),
        )
        return
    if not ORIGIN.fullmatch(new_log):
        raise click.BadParameter("a name without spaces or +, as hub.example/log/2")
    made = asyncio.run(begin_another_log(settings, new_log))
    current().say(
        f"publish {made.entry} (referral directory hub), then start the hub."
        " Witnesses follow the new log when the directory names its key."
    )
    current().result(
        {
            "ended": made.ended,
            "origin": made.origin,
            "size": made.kept,
            "seen": made.seen,
            "entry": str(made.entry),
        },
        plain=f"{made.ended} ended at size {made.kept}; {made.origin} goes on",
    )


@hub.command()
@_settings
def check(settings: Path) -> None:
    """Check settings, keys and the running process, if there is one."""
    from broker.cli.commands.running.doctor import examine_hub, report

    report(examine_hub(settings))
