"""How the demo speaks: one line a step while it happens, a table or one JSON object at the end."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields

import click

from broker.cli.terminal.output import Output


@dataclass(slots=True)
class Counts:
    """What happened, counted where it happened: at the gateways, in their folders, in the log.

    Envelopes of every kind are counted from `sent` to `read`; each of the others counts what its
    name says. `sent` is `delivered`, `quarantined` and `withdrawn_before_delivery` together, or
    something was lost.
    """

    sent: int = 0
    """Envelopes that gateways sealed and put into their outboxes."""
    accepted_by_hub: int = 0
    """Of these, with the hub's signed word that it has them."""
    delivered: int = 0
    """With the recipient's signed word that it opened and stored them."""
    filed: int = 0
    """With the recipient's signed word that its case system gave a reference."""
    read: int = 0
    """With the recipient's signed word that a worker opened them."""
    accepted: int = 0
    declined: int = 0
    questions: int = 0
    onward: int = 0
    """Referrals passed on under a grant derived from another."""
    transferred: int = 0
    """Cases that changed hands with both signatures."""
    refused: int = 0
    """Refused with a code, before anything left."""
    quarantined: int = 0
    withdrawn_before_delivery: int = 0
    erased_after_delivery: int = 0
    """Copies of cases, one for each organisation, that are gone from vault and folder."""
    lost: int = 0
    """Sent, and neither arrived nor accounted for by a signed reason."""
    duplicated: int = 0
    """Things that a case system or an inbox holds more than once."""
    log_size: int = 0
    """Leaves of the hub's log that the auditor verified."""
    proofs_verified: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


MEANING: Mapping[str, str] = {
    "sent": "envelopes sealed and sent by the three gateways",
    "accepted_by_hub": "of these, durably accepted by the hub",
    "delivered": "opened and stored by their recipient",
    "filed": "filed in the recipient's case system",
    "read": "opened by a worker",
    "accepted": "referrals accepted",
    "declined": "referrals declined, with a reason",
    "questions": "questions asked about a referral",
    "onward": "referrals passed on under a consent of their own",
    "transferred": "cases handed over, signed by both sides",
    "refused": "refused, with a code",
    "quarantined": "tampered with, and quarantined",
    "withdrawn_before_delivery": "stopped by a withdrawal before delivery",
    "erased_after_delivery": "copies erased after a withdrawal",
    "lost": "lost",
    "duplicated": "duplicated",
    "log_size": "entries of the log, all verified",
    "proofs_verified": "delivery proofs verified offline",
}


class Narrator:
    """Tells the story on standard error. On a terminal the current step shows how long it takes."""

    def __init__(self, output: Output, *, steps: int) -> None:
        self._output = output
        self._steps = steps
        self._number = 0
        self._told: list[str] = []
        self._began = time.monotonic()
        self._moving = sys.stderr.isatty() and output.coloured

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step of the story: what is being done, then that it is done."""
        self._number += 1
        head = f"[{self._number:>2}/{self._steps}] {title}"
        if self._moving:
            bar = "━" * self._number + "─" * (self._steps - self._number)
            room = shutil.get_terminal_size().columns - len(bar) - 3
            click.echo(f"\x1b[2m{bar}\x1b[0m {head[:room]} …\r", err=True, nl=False)
        began = time.monotonic()
        try:
            yield
        except BaseException:
            if self._moving:
                click.echo("\x1b[2K", err=True, nl=False)
            self._output.say(f"{head}: failed", fg="red")
            raise
        if self._moving:
            click.echo("\x1b[2K", err=True, nl=False)
        self._output.say(f"{head}  ({time.monotonic() - began:.1f} s)", fg="green")
        for line in self._told:
            self._output.say(f"        {line}")
        self._told.clear()

    def tell(self, line: str) -> None:
        """Something worth knowing about the step that is under way; said when it is done."""
        self._told.append(line)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def show(output: Output, counts: Counts, *, seconds: float) -> None:
    """The end: a table for people, exactly one object for scripts."""
    values = counts.as_dict()
    if output.as_json:
        output.result(values)
        return
    output.say("")
    rows = [(field.name, values[field.name], MEANING[field.name]) for field in fields(counts)]
    if sys.stdout.isatty() and output.coloured:
        _rich_table(rows, seconds)
        return
    for name, value, meaning in rows:
        click.echo(f"{name:<26}{value:>6}  {meaning}")


def _rich_table(rows: list[tuple[str, int, str]], seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What happened, in {seconds:.0f} seconds")
    table.add_column("count")
    table.add_column("", justify="right")
    table.add_column("meaning")
    for name, value, meaning in rows:
        bad = name in ("lost", "duplicated") and value
        table.add_row(name, str(value), meaning, style="bold red" if bad else None)
    Console().print(table)
