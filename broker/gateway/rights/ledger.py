"""The ledger of disclosures: who got which section of a person's data, when, on which basis.

A row is written in the transaction that stores the message, on its way out and on its way in, and
its digest is a leaf of our own log. It holds no content: it stays when the content is erased.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.own_log import Decision
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import disclosure, inbox, opening
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import instant_text
from schemas.message import Message

Way = Literal["sent", "received"]
GROUP = 200
MOST_ROUNDS = 16
"""How far a chain of passing on is followed; a loop in it ends by itself."""


@dataclass(frozen=True, slots=True)
class Disclosed:
    """One section that went somewhere, or came."""

    message: UUID
    way: Way
    onward: bool
    """It passed on what we had received."""
    type: str
    partner: str
    section: str
    purpose: str
    processing_basis: str
    transfer_basis: str
    consent: str
    """`consent`, or the code of the exception in its place."""
    grant: UUID | None
    business_id: UUID
    at: datetime
    recorded: bool
    """Its leaf is in our log and fits: nobody changed the row."""


def rows_of(
    message: Message,
    *,
    id: UUID,
    way: Way,
    partner: str,
    thread: UUID,
    grant: UUID | None,
    at: datetime,
) -> list[dict[str, Any]]:
    """The row of one message, or none if nothing about a person travels in it."""
    if not message.scopes and not message.sections and message.exception is None:
        return []
    sent = way == "sent"
    return [
        {
            "message": id,
            "way": way,
            "type": message.type,
            "partner": partner,
            "own_case": message.case_ref if sent else message.recipient_case_ref,
            "their_case": None if sent else f"{partner}:{message.case_ref}",
            "thread": thread,
            "business_id": message.business_id,
            "derived_from": message.derived_from,
            "grant": grant,
            "exception": None if message.exception is None else message.exception.code,
            "sections": json.dumps(
                [
                    [
                        entry.section,
                        entry.purpose.value,
                        entry.processing_basis,
                        entry.transfer_basis,
                    ]
                    for entry in message.scopes
                ]
            ),
            "at": at,
        }
    ]


def decision(row: dict[str, Any]) -> Decision:
    """The leaf that holds a row fast."""
    return Decision(Event.DISCLOSURE_RECORDED, _digest(row), row["message"])


def _digest(row: dict[str, Any]) -> bytes:
    plain = {
        name: instant_text(value) if isinstance(value, datetime) else value and str(value)
        for name, value in row.items()
    }
    return subject_of(json.dumps(plain, sort_keys=True).encode())


async def of_case(connection: AsyncConnection, case: str) -> list[Disclosed]:
    """Everything that was disclosed of one person's case, oldest first.

    Args:
        case: Our case number; or `partner:number` for a case that is not ours yet.

    Followed are the exchanges in which it stands, and what was passed on from them.
    """
    found: dict[UUID, AnyRow] = {}
    threads: set[UUID] = set()
    passed_on: set[UUID] = set()
    wanted: list[ColumnElement[bool]] = [
        disclosure.c.own_case == case,
        disclosure.c.their_case == case,
    ]
    for _ in range(MOST_ROUNDS):
        new = [row for row in await _read(connection, wanted) if row.message not in found]
        found |= {row.message: row for row in new}
        fresh_threads = {row.thread for row in new} - threads
        sources = {row.derived_from for row in new if row.derived_from is not None}
        if sources:
            came_in = await connection.scalars(
                select(inbox.c.thread).where(inbox.c.business_id.in_(padded(sorted(sources))))
            )
            fresh_threads |= set(came_in) - threads
        received = {row.business_id for row in new if row.way == "received"} - passed_on
        threads |= fresh_threads
        passed_on |= received
        wanted = [
            *_among(disclosure.c.thread, fresh_threads),
            *_among(disclosure.c.derived_from, received),
        ]
        if not wanted:
            break
    rows = sorted(found.values(), key=lambda row: (row.at, row.message))
    sound = await _recorded(connection, rows)
    return [entry for row in rows for entry in _entries(row, recorded=row.message in sound)]


def _among(column: Any, values: set[UUID]) -> list[ColumnElement[bool]]:
    ordered = sorted(values)
    return [
        column.in_(padded(ordered[start : start + GROUP]))
        for start in range(0, len(ordered), GROUP)
    ]


async def _read(
    connection: AsyncConnection, conditions: Sequence[ColumnElement[bool]]
) -> list[AnyRow]:
    rows: list[AnyRow] = []
    for condition in conditions:  # one after the other: each has its own index
        rows += (await connection.execute(select(disclosure).where(condition))).all()
    return rows


async def _recorded(connection: AsyncConnection, rows: Sequence[AnyRow]) -> set[UUID]:
    """Messages whose row is what its leaf was made of."""
    held: dict[UUID, set[bytes]] = {}
    for start in range(0, len(rows), GROUP):
        ids = padded([row.message for row in rows[start : start + GROUP]])
        for item in await connection.execute(
            select(opening.c.about, opening.c.subject).where(
                opening.c.about.in_(ids), opening.c.event == Event.DISCLOSURE_RECORDED.value
            )
        ):
            held.setdefault(item.about, set()).add(bytes(item.subject))
    return {row.message for row in rows if _digest(dict(row._mapping)) in held.get(row.message, ())}


def _entries(row: AnyRow, *, recorded: bool) -> list[Disclosed]:
    listed = json.loads(row.sections) or [["", "", "", ""]]
    return [
        Disclosed(
            message=row.message,
            way=row.way,
            onward=row.way == "sent" and row.derived_from is not None,
            type=row.type,
            partner=row.partner,
            section=section,
            purpose=purpose,
            processing_basis=processing,
            transfer_basis=transfer,
            consent=row.exception or "consent",
            grant=row.grant,
            business_id=row.business_id,
            at=row.at,
            recorded=recorded,
        )
        for section, purpose, processing, transfer in listed
    ]
