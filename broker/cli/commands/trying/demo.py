"""`referral demo`: the whole story on one machine, really happening."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.output import current


@click.command(cls=ReferralCommand)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where; a temporary one.")
@click.option("--keep", is_flag=True, help="Leave everything running for a look.")
@click.option("--rabbitmq", is_flag=True, help="Over private PostgreSQL and RabbitMQ with TLS.")
@click.option(
    "--stop",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="End what --keep left running in this folder.",
)
@click.pass_context
def demo(
    ctx: click.Context, folder: Path | None, keep: bool, rabbitmq: bool, stop: Path | None
) -> None:
    """Two countries, a shelter and a hub on this machine, in under a minute.

    The people are invented; the processes, keys, files and faults are real. With --json the only
    thing on standard output is one object of counts. Ends with 1 if anything went otherwise than
    told.
    """
    from broker.cli.demo.run import run_demo, stop_demo

    if stop is not None:
        current().result(stop_demo(stop))
        return
    ctx.exit(run_demo(current(), folder=folder, keep=keep, rabbitmq=rabbitmq))
