"""What our own clock says in a thread when an answer is overdue: the catalogue's `overdue` events.

A person who did not arrive is missing, a transfer that nobody answers is stalled, the window of an
early notice closes without a word. Both sides' clocks say it, each in its own copy of the thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.store.alarms import clear_alarms_of
from broker.gateway.store.tables import alarm, inbox, outbox, thread
from schemas.catalogue import catalogue
from schemas.families.base import MessageType
from schemas.machine import By
from schemas.states import MACHINES

ROWS = tuple(row for row in catalogue.values() if row.overdue)
ALARMS_OF_THEIR_OWN = tuple(row.name for row in catalogue.values() if row.alarm != "answer-overdue")
"""Types whose silence is another alarm, or none."""
GROUP = 500


async def tell_threads(connection: AsyncConnection, now: datetime) -> list[tuple[str, UUID]]:
    """Move every thread whose answer is overdue; the alarms of these types and their messages."""
    alarms: list[tuple[str, UUID]] = []
    await _clear_what_we_answered(connection, now)
    for row in ROWS:
        for machine, states in _waiting(row):
            for ours, theirs in ((outbox, inbox), (inbox, outbox)):
                answered = exists().where(
                    theirs.c.thread == ours.c.thread,
                    theirs.c.in_reply_to == ours.c.id,
                    theirs.c.type.in_(
                        [name for name in row.replies if name != "referral.received"]
                    ),
                )
                found = await connection.execute(
                    select(ours.c.id, ours.c.thread)
                    .join(thread, thread.c.id == ours.c.thread)
                    .where(
                        ours.c.type == row.name,
                        ours.c.answer_by < now,
                        thread.c.machine == machine,
                        thread.c.state.in_(states),
                        ~answered,
                    )
                    .order_by(ours.c.answer_by, ours.c.position)
                    .limit(GROUP)
                )
                for message, thread_id in found.all():
                    await threads.ended_by_hub(connection, thread_id, row.overdue, now=now)
                    if row.alarm and row.alarm != "answer-overdue":
                        alarms.append((row.alarm, message))
    return alarms


async def _clear_what_we_answered(connection: AsyncConnection, now: datetime) -> None:
    """Clear the alarms about what was said to us once we have answered it."""
    codes = sorted({row.alarm for row in ROWS} - {"", "answer-overdue"})
    query = select(alarm.c.code, alarm.c.about).where(
        alarm.c.code.in_(codes), alarm.c.cleared_at.is_(None)
    )
    for code, about in (await connection.execute(query)).all():
        answered = select(outbox.c.id).where(outbox.c.in_reply_to == UUID(about)).limit(1)
        if await connection.scalar(answered) is not None:
            await clear_alarms_of(connection, [UUID(about)], code, now=now)


def _waiting(row: MessageType) -> Iterator[tuple[str, list[str]]]:
    """Per machine, the states in which this event still says something."""
    for name in row.events():
        states = [
            state
            for (state, event, by) in MACHINES[name].edges
            if event == row.overdue and by is By.BROKER
        ]
        if states:
            yield name, states
