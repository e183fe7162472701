"""`referral sandbox`: a partner country that answers by script, for who builds an adapter alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from broker.cli.sandbox.script import DEFAULT
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.output import current


@click.command(cls=ReferralCommand)
@click.argument("country", metavar="CC")
@click.option("--as", "ours", default="it", show_default=True, metavar="CC", help="Your country.")
@click.option(
    "--script",
    "words",
    default=DEFAULT,
    show_default=True,
    help="What it does with each referral in turn.",
)
@click.option("--send", default=0, show_default=True, help="Invented people it refers to you.")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML with the table [adapter] for your gateway; the files adapter otherwise.",
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where; a temporary one.")
@click.option("--seconds", type=float, help="End after this; otherwise with Ctrl-C.")
def sandbox(
    country: str,
    ours: str,
    words: str,
    send: int,
    adapter: Path | None,
    folder: Path | None,
    seconds: float | None,
) -> None:
    """Run a partner country CC that answers by script, a hub, and a gateway for you.

    Everything is real but the people and the patience: processes, keys, seals, agreements. Your
    gateway uses your adapter, so that what you build meets what a partner may do: accept, decline,
    ask, withdraw, go silent, and send what nobody can read.
    """
    from broker.cli.sandbox.run import Wanted, run_sandbox

    place = Path(tempfile.mkdtemp(prefix="referral-sandbox-")) if folder is None else folder
    run_sandbox(
        current(),
        Wanted(
            partner=country.lower(),
            ours=ours.lower(),
            words=words,
            folder=place.resolve(),
            send=send,
            seconds=seconds,
            adapter=adapter,
        ),
    )
