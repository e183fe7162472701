"""`referral transfer`: a case changes hands, and both sides sign for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from broker.cli.cases.standing import show_sent
from broker.cli.drafting import body_options, casefile_body, read_object, reply, submit, words
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID


@click.group(cls=ReferralGroup)
def transfer() -> None:
    """Hand a case over: offer, accept, casefile, ack, then complete by both sides.

    Responsibility stays with the sender until both have signed `complete`.
    """


@transfer.command()
@with_gateway
@click.option("--to", required=True, metavar="PARTICIPANT")
@click.option("--case", "case_ref", required=True, metavar="REF")
@click.option("--grant", required=True, metavar="ID", help="Consent with purpose case_transfer.")
@click.option("--date", "effective", required=True, metavar="YYYY-MM-DD", help="From when.")
@click.option("--known/--not-known", default=False, help="The person knows the new worker.")
@click.option("--risk-until", metavar="YYYY-MM-DD", help="Until when the risk assessment holds.")
@click.option("--purpose", default="case_transfer", show_default=True)
@click.option("--sections", metavar="FILE", help="Sections as a JSON file.")
@body_options
def offer(
    api: LocalApi,
    to: str,
    case_ref: str,
    grant: str,
    effective: str,
    known: bool,
    risk_until: str | None,
    purpose: str,
    sections: str | None,
    body: dict[str, Any],
) -> None:
    """Offer a case to another organisation.

    It needs a risk assessment that still holds: its last day in --risk-until, or in the section
    risk_security of --sections.
    """
    assessed = {} if risk_until is None else {"risk_valid_until": risk_until}
    answer = submit(
        api,
        {
            "type": "transfer.offer",
            "to": to,
            "case_ref": case_ref,
            "grant": grant,
            "purpose": purpose,
            "sections": read_object(sections),
            "body": {"effective_date": effective, "new_worker_known": known, **assessed, **body},
        },
    )
    show_sent(answer)


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--role", default="case worker", show_default=True)
@body_options
def accept(api: LocalApi, message: str, role: str, body: dict[str, Any]) -> None:
    """Accept an offer. MESSAGE is the offer. The case is not yet yours."""
    show_sent(reply(api, message, "transfer.accept", {"worker_role": role, **body}))


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--reason", required=True, help="A code, for example no_capacity.")
@click.option("--note", metavar="FILE", help="In a file, or - for stdin.")
@body_options
def decline(
    api: LocalApi, message: str, reason: str, note: str | None, body: dict[str, Any]
) -> None:
    """Decline an offer. MESSAGE is the offer."""
    content = {"reason": reason, **words(note=note), **body}
    show_sent(reply(api, message, "transfer.decline", content))


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--grant", required=True, metavar="ID")
@click.option("--purpose", default="case_transfer", show_default=True)
@click.option("--sections", metavar="FILE", help="Sections as a JSON file.")
@click.option(
    "--from-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take the case from an HTCDS file instead.",
)
@click.option("--case", "case_ref", metavar="REF", help="Which case of --from-file.")
@body_options
def casefile(
    api: LocalApi,
    message: str,
    grant: str,
    purpose: str,
    sections: str | None,
    from_file: Path | None,
    case_ref: str | None,
    body: dict[str, Any],
) -> None:
    """Send the whole file with its manifest. MESSAGE is the acceptance."""
    if from_file is not None:
        from broker.cli.cases.reading import contents, one_case

        found = contents(one_case(api.home, from_file, case_ref))
    else:
        found = read_object(sections)
    content = {**casefile_body(found), **body}
    more = {"grant": grant, "purpose": purpose, "sections": found}
    show_sent(reply(api, message, "transfer.casefile", content, **more))


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--missing", multiple=True, metavar="NAME", help="What the manifest names in vain.")
@body_options
def ack(api: LocalApi, message: str, missing: tuple[str, ...], body: dict[str, Any]) -> None:
    """Say whether the file is complete. MESSAGE is the file."""
    content = {"outcome": "missing" if missing else "complete", "missing": list(missing), **body}
    show_sent(reply(api, message, "transfer.casefile.ack", content))


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--met-on", required=True, metavar="YYYY-MM-DD", help="When worker and person met.")
@click.option("--role", default="case worker", show_default=True)
@click.option("--countersign", is_flag=True, help="MESSAGE is the other side's complete.")
@body_options
def complete(
    api: LocalApi, message: str, met_on: str, role: str, countersign: bool, body: dict[str, Any]
) -> None:
    """Sign the handover. The sender answers the ack; the recipient countersigns after it."""
    content: dict[str, Any] = {"met_person": True, "met_on": met_on, "worker_role": role, **body}
    if countersign:
        content["countersigns"] = api.get(f"/v1/messages/{message}")["business_id"]
    show_sent(reply(api, message, "transfer.complete", content))


@transfer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--reason", required=True, help="A code, for example person_asked.")
@click.option("--note", metavar="FILE", help="In a file, or - for stdin.")
@body_options
def revoke(
    api: LocalApi, message: str, reason: str, note: str | None, body: dict[str, Any]
) -> None:
    """Take an offer back, until you have signed `complete`. MESSAGE is the offer."""
    content = {"reason": reason, **words(note=note), **body}
    show_sent(reply(api, message, "transfer.revoke", content))
