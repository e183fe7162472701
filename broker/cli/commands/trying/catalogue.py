"""`referral catalogue`: the language of the mechanism, as the programs know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_origin

import click
from pydantic.fields import FieldInfo

from broker.cli.terminal.command import ReferralCommand
from broker.cli.terminal.output import current
from schemas.bodies.words import own_codes
from schemas.catalogue import catalogue as types
from schemas.catalogue import elsewhere
from schemas.errors import UnknownType
from schemas.families.base import CarriedElsewhere, MessageType
from schemas.families.expected import expected_sections

COLUMNS = ("type", "direction", "consent_needed", "deadline", "replies")


@click.command(cls=ReferralCommand)
@click.argument("type_name", metavar="[TYPE]", required=False)
@click.option("--family", help="Only these, for example referral or transfer.")
@click.option(
    "--publish",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the whole as pages for a browser or a printer, with the state machines drawn.",
)
def catalogue(type_name: str | None, family: str | None, publish: Path | None) -> None:
    """List the message types, or say everything about one: who may send it, when, with what.

    Words that no message carries (receipts, keys, agreements, the log) are listed with what does.
    """
    if publish is not None:
        if type_name is not None or family is not None:
            raise click.UsageError("--publish writes all of it")
        written = write_pages(publish)
        current().result({"written": written}, plain="\n".join(written))
        return
    if type_name is not None:
        if type_name in types:
            current().result(described(types[type_name]))
        elif type_name in elsewhere:
            current().result(carried(elsewhere[type_name]))
        else:
            raise UnknownType(type_name)
        return
    rows = [described(entry) for entry in types.values()]
    rows += [carried(entry) for entry in elsewhere.values()]
    if family is not None:
        rows = [row for row in rows if row["type"].split(".")[0] == family]
    current().rows(rows, COLUMNS)


def write_pages(folder: Path) -> list[str]:
    """One page in each language; they need nothing but themselves. Returns their paths."""
    # Only here: it reads every example, and no other command needs to wait for that.
    from broker.cli.publishing.page import file_name, page
    from schemas.codes.labels import LANGUAGES

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for language in LANGUAGES:
        path = folder / file_name(language)
        path.write_text(page(language), encoding="utf-8")
        written.append(str(path))
    return written


def described(entry: MessageType) -> dict[str, Any]:
    """A row of the catalogue in plain words."""
    deadline = entry.deadline
    return {
        "type": entry.name,
        "family": entry.family,
        "chapter": entry.chapter.value,
        "direction": entry.corridor.value,
        "said_by": entry.direction.value,
        "opens_thread": entry.opens,
        "kind": entry.kind.value,
        "lane": entry.lane.value,
        "senders": sorted(kind.value for kind in entry.who_may_send),
        "preconditions": sorted(item.value for item in entry.preconditions),
        "consent_needed": entry.needs_consent,
        "exceptions": sorted(entry.exceptions),
        "required_sections": sorted(entry.required_sections),
        "expected_sections": sorted(expected_sections(entry)),
        "sections_for_a_child": sorted(entry.child_sections),
        "permitted_sections": sorted(entry.permitted_sections),
        "purposes": None if entry.purposes is None else sorted(p.value for p in entry.purposes),
        "replies": list(entry.replies),
        "deadline": None if deadline is None else deadline.text(),
        "deadline_from": None if deadline is None else deadline.origin,
        "threads": dict(entry.events()),
        "filed": entry.filed,
        "body": {name: _takes(field) for name, field in entry.body.model_fields.items()},
    }


def _takes(field: FieldInfo) -> str:
    """Whether a field must be there, and which codes it takes."""
    needed = "required" if field.is_required() else "optional"
    codes = ", ".join(dict.fromkeys(own_codes(field.annotation)))
    if not codes:
        return needed
    return f"{needed}, {'a list' if get_origin(field.annotation) is tuple else 'one'} of: {codes}"


def carried(entry: CarriedElsewhere) -> dict[str, Any]:
    """A word that is no message."""
    return {
        "type": entry.name,
        "family": entry.name.split(".", 1)[0],
        "chapter": entry.chapter.value,
        "direction": f"by {entry.carrier}",
        "consent_needed": False,
        "deadline": None,
        "replies": [],
        "says": entry.says,
        "done_by": entry.done_by,
    }
