"""`referral find`: whom to call in a country."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.homes.identity import home_option, known_directory
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.failures import advised
from broker.cli.terminal.output import current
from broker.gateway.settings import load_settings
from broker.hub.finding import as_page, as_rows, offices
from schemas.codes.labels import LANGUAGES
from schemas.errors import NotFound


@click.command(cls=ReferralCommand)
@click.argument("country", metavar="[CC]", required=False)
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page to be printed here.",
)
@home_option
def find(country: str | None, language: str, html: Path | None, home: Path) -> None:
    """Whom to call: focal points with telephone, hours and languages, from the signed directory.

    The hub shows the same to anybody at /find, without an account.
    """
    directory = known_directory(load_settings(home))
    wanted = None if country is None else country.upper()
    found = offices(directory, wanted)
    if html is not None:
        html.write_text(as_page(directory, language, wanted), encoding="utf-8")
        current().result({"page": str(html), "offices": len(found)})
        return
    if not found:
        raise advised(
            NotFound("no office there that can be called"),
            "call the one of the country where you are: referral find",
        )
    columns = ("country", "name", "telephone", "hours", "languages")
    current().rows(as_rows(found, language), columns)
