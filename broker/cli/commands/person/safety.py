"""`referral safety`: when danger leaves no time for consent. Two people, a code and a reason."""

from __future__ import annotations

import click

from broker.cli.drafting import read_object, with_fields
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current

CODES = (
    "vital_interest_life",
    "child_best_interest",
    "missing_child",
    "legal_obligation",
    "staff_safety",
)


@click.group(cls=ReferralGroup)
def safety() -> None:
    """Use an exception to consent: one worker proposes it, a different one approves it."""


@safety.command()
@with_gateway
@click.option("--to", required=True, metavar="PARTICIPANT")
@click.option("--case", "case_ref", required=True, metavar="REF")
@click.option("--type", "type_name", default="safety.alert", show_default=True)
@click.option("--code", required=True, type=click.Choice(CODES), help="Which exception.")
@click.option("--reason", required=True, metavar="FILE", help="Why, in a file, or - for stdin.")
@click.option(
    "--review-by", required=True, metavar="TIME", help="When it is looked at again (UTC)."
)
@click.option(
    "--tell-by", metavar="TIME", help="When the person is told at the latest; else at the review."
)
@click.option("--sections", metavar="FILE", help="Sections as a JSON file.")
@click.option("--purpose", default="protection", show_default=True, help="What they travel for.")
@click.option("--body", metavar="FILE", help="The typed body as a JSON file.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A body field.")
def propose(
    api: LocalApi,
    to: str,
    case_ref: str,
    type_name: str,
    code: str,
    reason: str,
    review_by: str,
    tell_by: str | None,
    sections: str | None,
    purpose: str,
    body: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Propose to send without consent. Nothing leaves before somebody else approves."""
    with click.open_file(reason, encoding="utf-8") as handle:
        words = handle.read().strip()
    answer = api.post(
        "/v1/exceptions",
        {
            "message": {
                "type": type_name,
                "to": to,
                "case_ref": case_ref,
                "purpose": purpose,
                "sections": read_object(sections),
                "body": with_fields(read_object(body), assignments),
            },
            "code": code,
            "reason": words,
            "review_by": review_by,
            "tell_person_by": tell_by,
        },
    )
    current().result(answer)


@safety.command()
@with_gateway
@click.argument("exception", type=ID)
def approve(api: LocalApi, exception: str) -> None:
    """Approve what another worker proposed; it is sent at once. The proposer is refused."""
    current().result(api.post(f"/v1/exceptions/{exception}/approve"))


@safety.command()
@with_gateway
@click.argument("exception", type=ID)
def told(api: LocalApi, exception: str) -> None:
    """The person was told what was sent without her consent, and why."""
    current().result(api.post(f"/v1/exceptions/{exception}/told"))


@safety.command("list")
@with_gateway
def list_(api: LocalApi) -> None:
    """What was proposed, by whom, and what became of it."""
    current().rows(
        api.items("/v1/exceptions", "exceptions"),
        (
            "id",
            "code",
            "case_ref",
            "requested_by",
            "approved_by",
            "review_by",
            "tell_by",
            "told_at",
        ),
    )
