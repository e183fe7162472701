"""`referral question`: who is it, and was it filed."""

from __future__ import annotations

import click

from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current

ANSWERS = ("same", "another", "unsure", "filed", "not-filed")


@click.group(cls=ReferralGroup)
def question() -> None:
    """What only a worker can say before a case is filed. Until then nothing is changed."""


@question.command("list")
@with_gateway
def list_(api: LocalApi) -> None:
    """What waits for an answer, oldest first; a line for each record to be looked at."""
    items = api.items("/v1/questions", "questions")
    rows = [
        {
            **item,
            "record": found.get("reference", ""),
            "because": ", ".join((found.get("match", ""), *found.get("fields", ()))).strip(", "),
        }
        for item in items
        for found in item["candidates"] or [{}]
    ]
    columns = ("id", "question", "partner", "case_ref", "record", "because", "said")
    current().rows(rows, columns)


@question.command()
@with_gateway
@click.argument("message", metavar="MESSAGE", type=ID)
@click.argument("says", metavar="ANSWER", type=click.Choice(ANSWERS))
@click.option("--record", help="Of `same` and `filed`: the record's reference in the case system.")
def answer(api: LocalApi, message: str, says: str, record: str | None) -> None:
    """same: she is the person of that record. another: she is none of them. unsure: it waits.

    filed: the case is there, under that reference. not-filed: it is not there; file it.
    """
    given = {"answer": says.replace("-", "_"), "reference": record}
    body = {name: value for name, value in given.items() if value is not None}
    current().result(api.post(f"/v1/questions/{message}", body))
