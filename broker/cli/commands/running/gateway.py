"""`referral gateway`: one participant's own machine. The only place where a case can be read."""

from __future__ import annotations

import json
from pathlib import Path

import click

from broker.cli.homes.identity import chosen_custody, custody_options, home_option
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current
from schemas.directory import Compartment


@click.group(cls=ReferralGroup)
def gateway() -> None:
    """Set up, run and check a participant's gateway. HOME is the folder that holds all of it."""


@gateway.command()
@click.argument("home", type=click.Path(path_type=Path))
@click.option("--participant", required=True, metavar="CC.NAME", help="For example it.nrm.")
@click.option("--hub", "hub_url", required=True, metavar="URL")
@click.option("--hub-id", default="hub.main", show_default=True)
@click.option("--directory", "directory_url", required=True, metavar="URL|FOLDER")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The directory's trusted root, handed over in person.",
)
@click.option(
    "--compartment",
    "compartments",
    multiple=True,
    type=click.Choice([compartment.value for compartment in Compartment]),
    default=("casework",),
    show_default=True,
)
@click.option("--suite", "suites", multiple=True, type=click.IntRange(1, 2), default=(1,))
@click.option("--port", type=click.IntRange(1, 65535), default=8420, show_default=True)
@click.option("--metrics-port", type=click.IntRange(1, 65535))
@click.option("--country", metavar="CC", help="Country profile of the case system's adapter.")
@click.option("--database", metavar="URL", help="SQLAlchemy URL; SQLite in HOME otherwise.")
@click.option(
    "--channel", type=click.Choice(["mailbox", "rabbitmq"]), default="mailbox", show_default=True
)
@custody_options
def init(
    home: Path,
    participant: str,
    hub_url: str,
    hub_id: str,
    directory_url: str,
    root: Path,
    compartments: tuple[str, ...],
    suites: tuple[int, ...],
    port: int,
    metrics_port: int | None,
    country: str | None,
    database: str | None,
    channel: str,
    custody: str | None,
    pin_file: Path | None,
) -> None:
    """Make HOME with new keys; print what the country publishes in the directory."""
    from broker.gateway.home import init_home

    made = init_home(
        home,
        participant=participant,
        hub_url=hub_url,
        hub_id=hub_id,
        directory_url=directory_url,
        trusted_root=root.read_bytes(),
        compartments=[Compartment(name) for name in compartments],
        suites=suites,
        port=port,
        metrics_port=metrics_port,
        country=country,
        database=database,
        channel=channel,
        custody=chosen_custody(custody, pin_file),
    )
    public = {
        "id": made.participant,
        "compartments": list(compartments),
        "suites": list(suites),
        "log_vkey": made.log_vkey,
        "keys": [key.to_dict() for key in made.keys],
    }
    (home / "public.json").write_text(json.dumps(public, indent=1) + "\n", encoding="utf-8")
    current().say(f"hand {home / 'public.json'} to whoever publishes for your country")
    current().result(public, plain=f"{made.participant}: {len(made.keys)} keys in {home}")


@gateway.command()
@home_option
@click.option(
    "--host",
    "hosted",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The home of a participant that stands in this gateway; may be repeated.",
)
def run(home: Path, hosted: tuple[Path, ...]) -> None:
    """Run the gateway until it is told to end.

    A participant without a machine of its own may stand in another's gateway: it keeps its own
    home, keys, database and workers, and the directory says who hosts it.
    """
    from broker.gateway.app import run as run_gateway
    from broker.gateway.settings import load_settings

    run_gateway(load_settings(home), *map(load_settings, hosted))


@gateway.command()
@home_option
def check(home: Path) -> None:
    """Check settings, keys, directory and hub, without starting anything."""
    from broker.cli.commands.running.doctor import examine_home, report

    report(examine_home(home, runs=False))


@gateway.command()
@home_option
def restored(home: Path) -> None:
    """After the database came back from a backup, before the first start.

    Partners and hub then see that numbers go on in another database, instead of refusing numbers
    that were used before.
    """
    from broker.gateway.home import rename_database

    current().result({"incarnation": rename_database(home)})


@gateway.command()
@with_gateway
@click.argument("message", type=ID)
def replay(api: LocalApi, message: str) -> None:
    """Send a message that failed once more, with its original bytes."""
    current().result(api.post(f"/v1/messages/{message}/replay"))


@gateway.group()
def worker() -> None:
    """Who may use this gateway. Two different workers are needed for an exception."""


@worker.command()
@click.argument("name")
@home_option
@click.option(
    "--may-know", is_flag=True, help="She may know what protects a person (referral safeguards)."
)
def add(name: str, home: Path, may_know: bool) -> None:
    """Give NAME a new token; an earlier one of the same name stops working."""
    from broker.gateway.home import add_worker

    path = add_worker(home, name, may_know=may_know)
    current().result({"worker": name, "token_file": str(path)}, plain=str(path))


@worker.command()
@click.argument("name")
@home_option
def remove(name: str, home: Path) -> None:
    """End NAME's access at once."""
    from broker.gateway.home import remove_worker

    remove_worker(home, name)
    current().result({"worker": name, "removed": True})
