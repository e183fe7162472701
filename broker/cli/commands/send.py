"""`referral send`: one message to one participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from broker.cli.drafting import case_from_file, preview, read_object, with_fields
from broker.cli.local import LocalApi, with_gateway
from broker.cli.output import current
from broker.cli.root import ReferralCommand


@click.command(cls=ReferralCommand)
@with_gateway
@click.option("--to", required=True, metavar="PARTICIPANT", help="For example al.nrm.")
@click.option("--type", "type_name", required=True, metavar="TYPE", help="See referral catalogue.")
@click.option("--case", "case_ref", metavar="REF", help="The case number in your own system.")
@click.option(
    "--from-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the case from an HTCDS file, through the gateway's adapter.",
)
@click.option("--purpose", help="Why the data travels, for example protection.")
@click.option("--grant", metavar="ID", help="The consent under which it travels.")
@click.option("--section", "chosen", multiple=True, help="Only this section; may be repeated.")
@click.option("--body", metavar="FILE", help="The typed body as a JSON file, or - for stdin.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A body field.")
@click.option("--thread", metavar="ID", help="Continue this thread.")
@click.option("--in-reply-to", metavar="ID", help="The message that this one answers.")
@click.option("--derived-from", metavar="ID", help="The referral that this one passes on.")
@click.option(
    "--urgency",
    type=click.Choice(["emergency", "urgent", "normal"]),
    help="How soon an answer is needed.",
)
@click.option("--dry-run", is_flag=True, help="Show what would travel; send nothing.")
def send(
    api: LocalApi,
    to: str,
    type_name: str,
    case_ref: str | None,
    from_file: Path | None,
    purpose: str | None,
    grant: str | None,
    chosen: tuple[str, ...],
    body: str | None,
    assignments: tuple[str, ...],
    thread: str | None,
    in_reply_to: str | None,
    derived_from: str | None,
    urgency: str | None,
    dry_run: bool,
) -> None:
    """Send a message. It is on this machine's disk before this command says so.

    With --dry-run it shows which words travel in the clear and which are sealed.
    """
    sections: dict[str, Any] = {}
    if from_file is not None:
        case = case_from_file(api, from_file, case_ref)
        case_ref = str(case["case_ref"])
        sections = dict(case["sections"])
    if chosen:
        missing = [name for name in chosen if from_file is not None and name not in sections]
        if missing:
            raise click.UsageError(f"the case has no section {', '.join(missing)}")
        sections = {name: sections[name] for name in chosen if name in sections}
    if case_ref is None:
        raise click.UsageError("say which case with --case REF")
    draft = {
        "type": type_name,
        "to": to,
        "case_ref": case_ref,
        "purpose": purpose,
        "grant": grant,
        "sections": sections,
        "body": with_fields(read_object(body), assignments),
        "thread": thread,
        "in_reply_to": in_reply_to,
        "derived_from": derived_from,
        "urgency": urgency,
        "dry_run": dry_run or None,
    }
    answer = api.post(
        "/v1/messages", {name: value for name, value in draft.items() if value is not None}
    )
    if dry_run:
        current().result(answer, plain=preview(answer))
    else:
        current().result(answer)
