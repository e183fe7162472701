"""`referral catalogue`: the language of the mechanism, as the programs know it."""

from __future__ import annotations

import click

from broker.cli.output import current
from broker.cli.root import ReferralCommand
from schemas.catalogue import catalogue as types
from schemas.errors import UnknownType


@click.command(cls=ReferralCommand)
@click.argument("type_name", metavar="[TYPE]", required=False)
def catalogue(type_name: str | None) -> None:
    """List the message types, or say everything about one."""
    if type_name is not None and type_name not in types:
        raise UnknownType(type_name)
    rows = [
        {
            "type": entry.name,
            "kind": entry.kind.value,
            "needs_consent": entry.needs_consent,
            "lane": entry.lane.value,
            "required_sections": sorted(entry.required_sections),
            "permitted_sections": sorted(entry.permitted_sections),
            "replies": list(entry.replies),
            "needs_exception": entry.needs_exception,
            "body": sorted(entry.body.model_fields),
        }
        for entry in types.values()
    ]
    if type_name is None:
        current().rows(rows, ("type", "kind", "needs_consent", "lane", "replies"))
    else:
        current().result(next(row for row in rows if row["type"] == type_name))
