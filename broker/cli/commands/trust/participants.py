"""`referral participants`: who can be reached, how, and what they can take."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.output import current

COLUMNS = ("id", "function", "agreement", "emergency", "hours", "can_take", "until", "stale")


@click.command(cls=ReferralCommand)
@with_gateway
@click.argument("country", metavar="[CC]", required=False)
def participants(api: LocalApi, country: str | None) -> None:
    """Everybody in the directory, with what each announced of itself.

    What is stale should have been said again: call before you rely on it. Say what is true of
    yourself with `referral send --type directory.announce`.
    """
    found = api.items("/v1/participants", "participants")
    if country is not None:
        found = [one for one in found if one["country"] == country.upper()]
    if current().as_json:
        current().rows(found, ())
        return
    current().rows([_row(one) for one in found], COLUMNS)


def _row(one: dict[str, Any]) -> dict[str, Any]:
    said = one["announced"] or {}
    free = [item["service"] for item in said.get("services", ()) if item["capacity"] != "no"]
    return {
        **one,
        "emergency": said.get("emergency_telephone") or one["telephone"],
        "hours": said.get("hours"),
        "can_take": free or None,
        "until": said.get("confirm_again_by"),
        "stale": said.get("stale"),
    }
