"""`referral statistics`: tables in which nobody can be found, and records for research."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.output import current

COLUMNS = ("corridor", "exploitation", "age", "sex", "count")
DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group(cls=ReferralGroup)
def statistics() -> None:
    """Counts of those who agreed to be counted; small ones are held back, and so is whatever would
    give them away, together with all that was published before."""


@statistics.command()
@click.option("--from", "first", type=DAY, required=True, help="First day of a quarter.")
@click.option("--to", "last", type=DAY, required=True, help="Last day of a quarter.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with bars there.")
@with_gateway
def table(api: LocalApi, first: datetime, last: datetime, html: Path | None) -> None:
    """Show the tables of a period, as they were or would be published."""
    found = api.get("/v1/statistics/table", first=f"{first:%Y-%m-%d}", last=f"{last:%Y-%m-%d}")
    if html is not None:
        html.write_text(found["html"], encoding="utf-8")
        current().say(f"written to {html}")
    _show(found["figures"])


@statistics.command()
@click.option("--from", "first", type=DAY, required=True, help="First day of a quarter.")
@click.option("--to", "last", type=DAY, required=True, help="Last day of a quarter.")
@click.option("--tell", metavar="PARTICIPANT", help="Send it to this rapporteur, too.")
@with_gateway
def publish(api: LocalApi, first: datetime, last: datetime, tell: str | None) -> None:
    """Publish a period that is over: what was said cannot be taken back, and is remembered."""
    body = {"first": f"{first:%Y-%m-%d}", "last": f"{last:%Y-%m-%d}", "to": tell}
    found = api.post("/v1/statistics/publications", body)
    for message in found["messages"]:
        current().say(f"sent {message['id']}")
    _show(found["figures"])


@statistics.command()
@click.option("--out", type=click.Path(path_type=Path), help="File; else to standard output.")
@with_gateway
def export(api: LocalApi, out: Path | None) -> None:
    """Records for research (CSV, CTDC variables); every line stands there eleven times or more."""
    text = api.text("/v1/statistics/export")
    lines = text.count("\r\n") - 1
    if out is not None:
        out.write_text(text, encoding="utf-8", newline="")
        current().result({"file": str(out), "lines": lines})
    elif current().as_json:
        current().result({"lines": lines, "csv": text})
    else:
        current().text(text)


def _show(figures: list[dict[str, Any]]) -> None:
    voice = current()
    if voice.as_json:
        voice.rows(figures, COLUMNS)
        return
    seen = [
        {name: figure[name] if figure[name] is not None else "all" for name in COLUMNS}
        for figure in figures
        if figure["count"] is not None
    ]
    voice.rows(seen, COLUMNS)
    voice.say(f"{len(figures) - len(seen)} figures are held back: small, or next to small ones")
