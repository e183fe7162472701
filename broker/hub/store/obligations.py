"""What one participant owes another in a thread: asked, answered, overdue, withdrawn.

The hub knows that something was asked and answered, not what. States never move back: an answer
that comes after `overdue` is recorded as an answer, one that comes after `withdrawn` changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import OBLIGATION

ASKED, ANSWERED, OVERDUE, WITHDRAWN = "asked", "answered", "overdue", "withdrawn"


async def insert_many(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record what was asked."""
    if rows:
        await connection.execute(insert(OBLIGATION), list(rows))


async def answer(
    connection: AsyncConnection, answers: Sequence[tuple[UUID, str]], now: datetime
) -> None:
    """Settle what these answer, if the one who owes it is the one who answers.

    Args:
        answers: Id of the request, and who answers.

    A deadline that the request had paused goes on where it stood.
    """
    rows = (
        await connection.execute(
            select(OBLIGATION)
            .where(one_of(connection, OBLIGATION.c.request_id, [one[0] for one in answers]))
            .order_by(OBLIGATION.c.request_id)
            .with_for_update()
        )
    ).all()
    said = set(answers)
    settled = [
        row
        for row in rows
        if (row.request_id, row.owed_by) in said and row.state in (ASKED, OVERDUE)
    ]
    if not settled:
        return
    await connection.execute(
        update(OBLIGATION)
        .where(one_of(connection, OBLIGATION.c.request_id, [row.request_id for row in settled]))
        .values(state=ANSWERED, changed_at=now, check_at=None)
    )
    for row in settled:
        await _resume(connection, row.thread, owed_by=row.asked_by, now=now)


async def pause(connection: AsyncConnection, thread: UUID, *, owed_by: str, now: datetime) -> None:
    """Stop the clock of what a participant owes in a thread, while its own question is open."""
    await connection.execute(
        update(OBLIGATION)
        .where(
            OBLIGATION.c.thread == thread,
            OBLIGATION.c.owed_by == owed_by,
            OBLIGATION.c.state == ASKED,
            OBLIGATION.c.paused_at.is_(None),
        )
        .values(paused_at=now, check_at=None)
    )


async def _resume(
    connection: AsyncConnection, thread: UUID, *, owed_by: str, now: datetime
) -> None:
    rows = await connection.execute(
        select(OBLIGATION.c.request_id, OBLIGATION.c.answer_by, OBLIGATION.c.paused_at).where(
            OBLIGATION.c.thread == thread,
            OBLIGATION.c.owed_by == owed_by,
            OBLIGATION.c.state == ASKED,
            OBLIGATION.c.paused_at.is_not(None),
        )
    )
    for row in rows.all():
        later = None if row.answer_by is None else row.answer_by + (now - row.paused_at)
        await connection.execute(
            update(OBLIGATION)
            .where(OBLIGATION.c.request_id == row.request_id)
            .values(paused_at=None, answer_by=later, check_at=later)
        )


async def withdraw(connection: AsyncConnection, grants: Sequence[UUID], now: datetime) -> None:
    """Nobody owes an answer any more under these grants."""
    await connection.execute(
        update(OBLIGATION)
        .where(
            one_of(connection, OBLIGATION.c.grant_id, grants),
            OBLIGATION.c.state.in_((ASKED, OVERDUE)),
        )
        .values(state=WITHDRAWN, changed_at=now, check_at=None)
    )


async def take_overdue(connection: AsyncConnection, now: datetime, limit: int) -> list[AnyRow]:
    """Lock and mark what should have been answered by now."""
    rows = (
        await connection.execute(
            select(OBLIGATION)
            .where(OBLIGATION.c.check_at <= now)
            .order_by(OBLIGATION.c.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if rows:
        await connection.execute(
            update(OBLIGATION)
            .where(one_of(connection, OBLIGATION.c.request_id, [row.request_id for row in rows]))
            .values(state=OVERDUE, changed_at=now, check_at=None)
        )
    return list(rows)


async def find(connection: AsyncConnection, request: UUID) -> AnyRow | None:
    """One obligation."""
    return (
        await connection.execute(select(OBLIGATION).where(OBLIGATION.c.request_id == request))
    ).first()


async def forget(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete obligations whose request expired before a moment; an open one is never touched."""
    old = (
        select(OBLIGATION.c.request_id)
        .where(OBLIGATION.c.expires_at < before, OBLIGATION.c.check_at.is_(None))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list((await connection.execute(old)).scalars())
    if ids:
        await connection.execute(
            delete(OBLIGATION).where(one_of(connection, OBLIGATION.c.request_id, ids))
        )
    return len(ids)
