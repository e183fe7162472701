"""Every message type as data, and the one check that a message is what its type says.

Only gateways read this: the hub is blind to types, and an import contract keeps it so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from types import MappingProxyType

from pydantic import ValidationError

from schemas.base import paths_of
from schemas.bodies.common import Body, urgency_of
from schemas.errors import SchemaRefused, UnknownType
from schemas.families import (
    consent,
    family_and_risk,
    identification,
    information,
    justice,
    network,
    oversight,
    referral,
    reintegration,
    returning,
    rights,
    safety,
    transfer,
)
from schemas.families.base import CarriedElsewhere, Direction, MessageType
from schemas.message import Message
from schemas.sections.index import SECTION_INDEX

__all__ = [
    "CarriedElsewhere",
    "Direction",
    "MessageType",
    "answer_by",
    "answered_by",
    "catalogue",
    "check_message",
    "conversation",
    "elsewhere",
    "message_type",
]

FAMILIES = (
    network,
    identification,
    information,
    family_and_risk,
    referral,
    returning,
    transfer,
    reintegration,
    justice,
    safety,
    consent,
    rights,
    oversight,
)

catalogue: Mapping[str, MessageType] = MappingProxyType(
    {row.name: row for family in FAMILIES for row in family.TYPES}
)
"""All message types by name, in the order of the mechanism."""

elsewhere: Mapping[str, CarriedElsewhere] = MappingProxyType(
    {row.name: row for family in (network, consent, oversight) for row in family.ELSEWHERE}
)
"""The mechanism's other words: carried by evidence, directory, log or the gateway's own clock."""


def message_type(name: str) -> MessageType:
    """The row of one type.

    Raises:
        UnknownType: No such type; the name, which the sender chose, is not repeated.
    """
    try:
        return catalogue[name]
    except KeyError:
        raise UnknownType() from None


def answered_by(name: str) -> frozenset[str]:
    """The types that a message of this type answers: what its `in_reply_to` should point at."""
    return frozenset(row.name for row in catalogue.values() if name in row.replies)


_SHARED = frozenset({"inquiry", "dialogue", "notice"})


@cache
def conversation(opener: str, machine: str) -> tuple[str, ...]:
    """What may be said in a thread that this type opened: its answers, theirs, and its family.

    The machines of referral, transfer, return and safety say themselves what follows what; the
    others are shared, and an answer to one question is no answer to another.

    Raises:
        UnknownType: The catalogue has no such type.
    """
    row = message_type(opener)
    fitting = [name for name, other in catalogue.items() if machine in other.events()]
    if machine not in _SHARED:
        return tuple(fitting)
    found, queue = {opener}, [*row.replies]
    own = [catalogue[name] for name in fitting if catalogue[name].family == row.family]
    queue += [other.name for other in own if not other.opens]
    queue += [name for name in fitting if catalogue[name].events()[machine] == "end"]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue.extend(catalogue[name].replies)
    return tuple(name for name in fitting if name in found)


def answer_by(message: Message, sent_at: datetime) -> datetime | None:
    """When the answer to a message sent then is due; sender and recipient reckon it alike.

    A body that is no body of its type says nothing about it: `check_message` refuses it.

    Raises:
        UnknownType: The catalogue has no such type.
    """
    row = message_type(message.type)
    try:
        body = _read(row, message)
    except ValueError:
        body = None
    return row.answer_by(sent_at, urgency_of(message.body), body)


def _read(row: MessageType, message: Message) -> Body:
    return row.body.model_validate_json(json.dumps(message.body, allow_nan=False))


def check_message(message: Message) -> Body:
    """The typed body of a message whose sections are those that its type requires and permits.

    The content of the sections is checked by `schemas.sections`; whether they may travel, by the
    content rules.

    Raises:
        UnknownType: The catalogue has no such type.
        SchemaRefused: Names each wrong path and rule, never a value.
    """
    row = message_type(message.type)
    where = [
        f"sections.{section}: missing"
        for section in sorted(row.required_sections - message.sections.keys())
    ]
    carried = {*message.sections, *(file.section for file in message.attachments)}
    where += _foreign(carried, row)
    body: Body | None = None
    try:
        body = _read(row, message)
    except ValidationError as error:
        where += [f"body.{path}" for path in paths_of(error)]
    except (TypeError, ValueError):
        where.append("body: not-json")
    else:
        where += body.misfits(frozenset(message.sections))
    if where or body is None:
        raise SchemaRefused(where=tuple(where[:20]))
    return body


def _foreign(carried: set[str], row: MessageType) -> list[str]:
    # The sender chose the keys, and an unknown one may say anything: only known ids are repeated.
    names = {
        name if name in SECTION_INDEX else "?"
        for name in carried
        if name not in SECTION_INDEX or not row.permits(name)
    }
    return [f"sections.{name}: not-permitted" for name in sorted(names)]
