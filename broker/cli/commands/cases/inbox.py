"""`referral inbox` and `referral show`: what came and went, and one message."""

from __future__ import annotations

import click

from broker.cli.cases.standing import of_message, of_thread
from broker.cli.drafting import words_option
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.alarms import explained
from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.ids import ID
from broker.cli.terminal.output import current, fields
from broker.cli.terminal.worded import in_language, rows_in_language

COLUMNS = ("id", "type", "partner", "state", "case_ref", "at")


@click.command(cls=ReferralCommand)
@with_gateway
@click.option("--sent", is_flag=True, help="What went out, instead of what came in.")
@click.option("--state", help="Only messages in this state.")
@click.option("--quarantine", is_flag=True, help="What was held back as suspect.")
@click.option("--alarms", is_flag=True, help="What did not happen in time.")
@words_option
def inbox(
    api: LocalApi,
    sent: bool,
    state: str | None,
    quarantine: bool,
    alarms: bool,
    language: str | None,
) -> None:
    """List messages: ids, types and states. Content is shown by `referral show --open` only."""
    if quarantine:
        current().rows(api.items("/v1/quarantine", "items"), ("id", "partner", "code", "at"))
    elif alarms:
        raised = [explained(row) for row in api.items("/v1/alarms", "items")]
        current().rows(raised, ("code", "id", "at", "happened", "do"))
    else:
        box = "outbox" if sent else "inbox"
        found = api.pages("/v1/messages", "messages", box=box, state=state)
        rows = [row for page in found for row in page]
        voice = current()
        voice.rows(rows if voice.as_json else rows_in_language(rows, language), COLUMNS)


@click.command(cls=ReferralCommand)
@with_gateway
@click.argument("message", type=ID)
@click.option(
    "--open", "opened", is_flag=True, help="Read it: the sender is told that it was read."
)
@click.option("--thread", is_flag=True, help="MESSAGE is a thread: its states and its owner.")
@words_option
def show(api: LocalApi, message: str, opened: bool, thread: bool, language: str | None) -> None:
    """Show one message: its header and the facts known of it; with --open its content."""
    if opened:
        answer = api.post(f"/v1/messages/{message}/open")
    else:
        answer = api.get(f"/v1/{'threads' if thread else 'messages'}/{message}")
    voice = current()
    voice.result(answer, plain=fields(in_language(answer, language)))
    if voice.as_json or opened:
        return
    said = (
        of_thread(answer) if thread else [of_message(answer)] if answer["box"] == "outbox" else []
    )
    for line in filter(None, said):
        voice.say(line)
