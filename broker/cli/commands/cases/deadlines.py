"""`referral deadlines`: which answers are owed, by whom, until when."""

from __future__ import annotations

import click

from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current

COLUMNS = ("id", "type", "owed", "partner", "case_ref", "due_at", "state", "role")


@click.command(cls=ReferralCommand)
@with_gateway
@click.option("--ours", "owed", flag_value="ours", help="Only those that we owe.")
@click.option("--theirs", "owed", flag_value="theirs", help="Only those that are owed to us.")
@click.option(
    "--draft",
    type=ID,
    metavar="MESSAGE",
    help="Begin the alert that a person is missing, from travel that nobody confirmed.",
)
def deadlines(api: LocalApi, owed: str | None, draft: str | None) -> None:
    """Answers that are owed: overdue first, then those of which four fifths of the time are gone.

    An open question stops the clock: then the state is `paused` and the deadline moves along.
    """
    if draft is not None:
        current().result(api.get(f"/v1/deadlines/{draft}/draft"))
    else:
        current().rows(api.items("/v1/deadlines", "deadlines", owed=owed), COLUMNS)
