"""`referral case`: finding a received case, and a sheet of it on paper."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.drafting import read_line
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.failures import advised
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current
from schemas.codes.labels import LANGUAGES
from schemas.errors import NotFound

COLUMNS = ("id", "at", "partner", "case_ref", "type", "state", "reference", "same_as")


@click.group(cls=ReferralGroup)
def case() -> None:
    """Find a case that came, and print it. Content is shown by `referral show --open` and the sheet."""


@case.command()
@with_gateway
@click.option("--id", "business_id", type=ID, help="The referral's business id.")
@click.option("--case", "number_of_case", metavar="REF", help="Its number there, here, or filed.")
@click.option("--name", metavar="FILE", help="Words of her name, in a file; - is standard input.")
@click.option("--number", metavar="FILE", help="Of a paper of hers, likewise.")
@click.option(
    "--born", metavar="FILE", help="Birth date as far as known (1990, 1990-05), likewise."
)
@click.option("--partner", metavar="PARTICIPANT", help="Who sent it.")
@click.option("--from", "first", metavar="DAY", help="Arrived on this day or later.")
@click.option("--to", "last", metavar="DAY", help="Arrived on this day or earlier.")
def find(
    api: LocalApi,
    business_id: str | None,
    number_of_case: str | None,
    name: str | None,
    number: str | None,
    born: str | None,
    partner: str | None,
    first: str | None,
    last: str | None,
) -> None:
    """Find received cases that you may open: each once, in its newest version, by anything that any
    version of it says. What speaks of a person comes from a file or from
    standard input, and so stands in no history and no list of processes."""
    if [name, number, born].count("-") > 1:
        raise click.UsageError("only one of them can be read from standard input")
    wanted = {
        "business_id": business_id,
        "case": number_of_case,
        "name": read_line(name, "Name"),
        "number": read_line(number, "Number"),
        "born": read_line(born, "Born"),
        "partner": partner,
        "first": first,
        "last": last,
    }
    asked = {key: value for key, value in wanted.items() if value is not None}
    answer = api.post("/v1/cases/search", asked)
    if not answer["cases"]:
        raise advised(
            NotFound("no case that you may open fits"),
            "say less of it, or spell it as it was sent; what was withdrawn is not found",
        )
    current().rows(answer["cases"], COLUMNS)
    for one in answer["cases"]:
        before = ", ".join(version["id"] for version in one["before"])
        if before:
            current().say(f"{one['id']} is its newest version. Before, newest first: {before}")
    if answer["more"]:
        current().say("There are more: say more of it.")


@case.command("print")
@with_gateway
@click.argument("message", type=ID)
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Write the sheet here, mode 0600: a page to print, or plain text if it ends in .txt.",
)
def print_(api: LocalApi, message: str, language: str, out: Path) -> None:
    """Write a sheet of the case, marked confidential. The sender is told that it was read."""
    sheet = api.post("/v1/cases/sheet", {"message": message, "language": language})
    out.touch(mode=0o600)
    out.chmod(0o600)
    out.write_text(sheet["text" if out.suffix == ".txt" else "html"], encoding="utf-8")
    current().result({"sheet": str(out), "language": language})
