"""From options to a message draft, as the gateway's API takes it."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import click

from broker.cli.local import LocalApi
from broker.cli.terminal.failures import advised
from broker.cli.terminal.output import current, fields
from schemas.codes.labels import LANGUAGES
from schemas.errors import NotFound

NO_SUCH_FILE: Final = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
FROM_A_FILE: Final = "write it into a file and name that, or give - and type it"


def read_object(source: str | None) -> dict[str, Any]:
    """Read a JSON object from a file, or from standard input (`-`); nothing is an empty one.

    Raises:
        click.UsageError: It is not a JSON object.
    """
    if source is None:
        return {}
    text = _text_of(source)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        # Where, and not what: it may be about a person.
        raise click.UsageError(f"not JSON: line {error.lineno}, column {error.colno}") from None
    if not isinstance(value, dict):
        raise click.UsageError("JSON, but no object: {…} is wanted")
    return value


def _text_of(source: str) -> str:
    """What a file holds, or standard input (`-`). Where a file is wanted, people type the text
    itself; so nothing of what was given is repeated.

    Raises:
        NotFound: No such file.
        click.UsageError: It cannot be read as text.
    """
    try:
        with click.open_file(source, encoding="utf-8") as handle:
            text: str = handle.read()
            return text
    except UnicodeDecodeError:
        raise click.UsageError("not text: a file in UTF-8 is wanted") from None
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            raise advised(NotFound("no such file"), FROM_A_FILE) from None
        raise click.UsageError(f"the file cannot be read: {error.strerror}") from None


def read_line(source: str | None, prompt: str) -> str | None:
    """One line about a person from a file, or from standard input (`-`), where a person is asked.

    Raises:
        click.UsageError: There is nothing in it.
    """
    if source is None:
        return None
    if source == "-" and sys.stdin.isatty():
        text: str = click.prompt(prompt, err=True)
    else:
        text = sys.stdin.readline() if source == "-" else _text_of(source)
    if not text.strip():
        raise click.UsageError(f"{prompt.lower()}: nothing was given")
    return text.strip()


def with_fields(body: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Add `name=value` pairs to a body; a value that is JSON is taken as JSON, else as text.

    Raises:
        click.UsageError: No `=`.
    """
    merged = dict(body)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise click.UsageError("--set wants NAME=VALUE")
        try:
            merged[name] = json.loads(text)
        except ValueError:
            merged[name] = text
    return merged


def body_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--body FILE` and `--set NAME=VALUE`; the command gets them joined, as `body`."""

    def joined(*args: Any, body: str | None, assignments: tuple[str, ...], **kwargs: Any) -> Any:
        return command(*args, body=with_fields(read_object(body), assignments), **kwargs)

    joined.__name__ = command.__name__
    joined.__doc__ = command.__doc__
    joined.__dict__.update(command.__dict__)
    joined = click.option("--body", metavar="FILE", help="Body fields as a JSON file, or -.")(
        joined
    )
    return click.option(
        "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A body field."
    )(joined)


def ours_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--ours`, for where a case number of ours is meant."""
    return click.option(
        "--ours", is_flag=True, help="It is our case number, though a partner has used the same."
    )(command)


def words(**sources: str | None) -> dict[str, str]:
    """Free text from files or standard input (`-`), so that it is in no shell's history."""
    found = {}
    for name, source in sources.items():
        if source is not None:
            found[name] = _text_of(source).strip()
    return found


def casefile_body(sections: Iterable[str]) -> dict[str, Any]:
    """The body of a case file that travels in one message: its manifest."""
    return {
        "part": 1,
        "parts": 1,
        "manifest": [{"kind": "section", "name": name} for name in sections],
    }


def preview(answer: Mapping[str, Any]) -> str:
    """What a dry run found, for a person: the clear part first, then what is sealed to whom."""
    return "\n".join(
        (
            *_expected(answer.get("expected_too", ())),
            *_hosted(answer.get("hosted_by")),
            "Travels in the clear (the hub and the queue see this):",
            fields(answer.get("clear", {}), indent="  "),
            "Sealed (only the recipient's key opens it):",
            fields(answer.get("sealed", {}), indent="  "),
            "Nothing was sent.",
        )
    )


def words_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--lang LANGUAGE`: codes, fields, types and states by their labels."""
    return click.option(
        "--lang",
        "--words",
        "language",
        type=click.Choice(LANGUAGES),
        help="Codes, types and states in words of this language; JSON keeps the codes.",
    )(command)


def reply(
    api: LocalApi,
    message: str,
    type_name: str,
    body: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Answer a message: same thread, to the other side, about the same case."""
    answered = api.get(f"/v1/messages/{message}")
    draft = {
        "type": type_name,
        "to": answered["partner"],
        "case_ref": answered["case_ref"],
        "thread": answered["thread"],
        "in_reply_to": message,
        "body": dict(body),
        **{name: value for name, value in more.items() if value is not None},
    }
    return submit(api, draft)


def submit(api: LocalApi, draft: Mapping[str, Any]) -> dict[str, Any]:
    """Send a message, and say what the other side expects that it travels without."""
    answer: dict[str, Any] = api.post("/v1/messages", draft)
    missing = [] if draft.get("dry_run") else answer.get("expected_too", [])
    if missing:
        names = ", ".join(missing)
        current().say(f"The other side expects these too; it travels without them: {names}")
    return answer


def _hosted(host: str | None) -> list[str]:
    return (
        [] if host is None else [f"It is read on the machine of {host}, the recipient's host.", ""]
    )


def _expected(sections: Iterable[str]) -> list[str]:
    names = ", ".join(sections)
    return (
        [f"The other side expects these too; it travels without them: {names}", ""] if names else []
    )
