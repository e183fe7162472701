"""`referral answer`: what is said in reply; `send` takes every type, the others are shorter ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from broker.cli.cases.standing import show_sent
from broker.cli.drafting import body_options, read_object, reply, words
from broker.cli.local import LocalApi, with_gateway
from broker.cli.terminal.command import ReferralGroup
from broker.cli.terminal.ids import ID


@click.group(cls=ReferralGroup)
def answer() -> None:
    """Answer a message. MESSAGE is the id of what is answered; see `referral inbox`.

    `send` answers with any type of the catalogue; the others are short ways for a referral.

    Notes, questions and answers are free text, so they come from a file or standard input.
    """


def _send(api: LocalApi, message: str, type_name: str, body: dict[str, Any]) -> None:
    show_sent(reply(api, message, type_name, body))


def _role(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--role",
        default="case worker",
        show_default=True,
        help="Who acts: a role and not a name.",
    )(command)


def _note(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--note", metavar="FILE", help="A remark, in a file, or - for stdin.")(
        command
    )


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.argument("type_name", metavar="TYPE")
@click.option("--grant", type=ID, help="The consent under which sections travel.")
@click.option("--purpose", help="Why they travel, for example protection.")
@click.option("--sections", metavar="FILE", help="Sections as a JSON file.")
@body_options
def send(
    api: LocalApi,
    message: str,
    type_name: str,
    grant: str | None,
    purpose: str | None,
    sections: str | None,
    body: dict[str, Any],
) -> None:
    """Answer any message with any type of the catalogue that may follow it in its thread."""
    asked = api.get(f"/v1/messages/{message}")["type"]
    permitted = followers(asked)
    if type_name not in permitted:
        raise click.UsageError(
            f"{type_name!r} does not follow {asked}; what may: {', '.join(permitted) or 'nothing'}"
        )
    more = {"grant": grant, "purpose": purpose, "sections": read_object(sections) or None}
    show_sent(reply(api, message, type_name, body, **more))


def followers(asked: str) -> list[str]:
    """The types that may be said in the thread of a message of this type, its own answers first."""
    from schemas.catalogue import conversation, message_type

    row = message_type(asked)
    found = dict.fromkeys(row.replies, True)
    for machine in row.events():
        found |= dict.fromkeys(conversation(asked, machine), True)
    found.pop(asked, None)
    return list(found)


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@_role
@body_options
def received(api: LocalApi, message: str, role: str, body: dict[str, Any]) -> None:
    """Say that a person, not only a machine, took a referral up."""
    _send(api, message, "referral.received", {"worker_role": role, **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--service", "services", multiple=True, help="Only this one; may be repeated.")
@_role
@_note
@body_options
def accept(
    api: LocalApi,
    message: str,
    services: tuple[str, ...],
    role: str,
    note: str | None,
    body: dict[str, Any],
) -> None:
    """Accept a referral, whole or service by service."""
    content: dict[str, Any] = {"worker_role": role, "services": list(services), **words(note=note)}
    _send(api, message, "referral.accept", {**content, **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option(
    "--reason",
    required=True,
    help="One of no_capacity, out_of_mandate, unsafe, not_found, no_consent, declined_by_person, "
    "language, other.",
)
@_note
@body_options
def decline(
    api: LocalApi, message: str, reason: str, note: str | None, body: dict[str, Any]
) -> None:
    """Decline a referral. It needs no consent; the reason is a code."""
    _send(api, message, "referral.decline", {"reason": reason, **words(note=note), **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--question", required=True, metavar="FILE", help="In a file, or - for stdin.")
@click.option("--about", multiple=True, metavar="SECTION[.FIELD]", help="What it asks for.")
@body_options
def ask(
    api: LocalApi,
    message: str,
    question: str,
    about: tuple[str, ...],
    body: dict[str, Any],
) -> None:
    """Ask about a referral without deciding; its deadline stands still meanwhile."""
    content = {**words(question=question), "fields": list(about)}
    _send(api, message, "referral.clarify.request", {**content, **body})


@answer.command("reply")
@with_gateway
@click.argument("message", type=ID)
@click.option("--answer", "text", required=True, metavar="FILE", help="In a file, or - for stdin.")
@click.option("--withheld", multiple=True, metavar="SECTION[.FIELD]", help="What is not given.")
@body_options
def reply_to(
    api: LocalApi,
    message: str,
    text: str,
    withheld: tuple[str, ...],
    body: dict[str, Any],
) -> None:
    """Reply to a question. MESSAGE is the question."""
    content = {**words(answer=text), "withheld": list(withheld)}
    _send(api, message, "referral.clarify.reply", {**content, **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--progress", required=True, help="A code: started, ongoing or on_hold.")
@_note
@body_options
def interim(
    api: LocalApi, message: str, progress: str, note: str | None, body: dict[str, Any]
) -> None:
    """Report on the way."""
    _send(api, message, "referral.interim", {"progress": progress, **words(note=note), **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--result", required=True, help="A code, for example service_given.")
@_note
@body_options
def outcome(
    api: LocalApi, message: str, result: str, note: str | None, body: dict[str, Any]
) -> None:
    """Close a referral with what came of it."""
    _send(api, message, "referral.outcome", {"result": result, **words(note=note), **body})


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@click.option("--reason", required=True, help="A code, for example no_longer_needed.")
@_note
@body_options
def cancel(
    api: LocalApi, message: str, reason: str, note: str | None, body: dict[str, Any]
) -> None:
    """Ask to cancel a referral of ours; an outcome that crosses it stands."""
    content = {"reason": reason, **words(note=note)}
    _send(api, message, "referral.cancel.request", {**content, **body})


@answer.command("confirm-cancel")
@with_gateway
@click.argument("message", type=ID)
@body_options
def confirm_cancel(api: LocalApi, message: str, body: dict[str, Any]) -> None:
    """Confirm a cancellation. MESSAGE is the request to cancel."""
    _send(api, message, "referral.cancel.confirm", body)


@answer.command()
@with_gateway
@click.argument("message", type=ID)
@_role
@body_options
def alert(api: LocalApi, message: str, role: str, body: dict[str, Any]) -> None:
    """Say that a person took a safety alert over."""
    _send(api, message, "safety.ack", {"taken_over_by": role, **body})
