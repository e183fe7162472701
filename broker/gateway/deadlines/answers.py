"""Answers: a warning when four fifths of the time are gone, then a breach, for either side's debt.

What the other side owes us and what we owe it are looked at by the same clock. A breach goes to the
deputy, moves the thread where the catalogue says so (a person who did not arrive is missing, the
window of an early notice closes without a word), and is signed by us if it is the other side's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.deadlines.testimony import testify
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import alarm, inbox, outbox, thread, thread_event
from broker.gateway.store.together import update_rows
from schemas.catalogue import catalogue
from schemas.clock import Reading, Standing, pauses_of, read_clock, settled_by
from schemas.evidence import Fact
from schemas.families.base import MessageType
from schemas.states import MACHINES

DUE, OVERDUE, OWED = "answer-due", "answer-overdue", "answer-owed"
"""Soon due; the other side is late; we are late."""
OF_TYPES = tuple(sorted({row.alarm for row in catalogue.values()} - {"", OVERDUE}))
ALARMS = (DUE, OVERDUE, OWED, *OF_TYPES)
PAUSING = frozenset(row.name for row in catalogue.values() if row.pauses_clock)
ON_THE_WAY = ("queued", "sending", "submitted", "relayed", "undelivered")
NEVER_THERE = ("refused", "stopped", "expired", "failed")
LOOK_AGAIN = timedelta(minutes=15)
"""At what has not even arrived: until it has, another alarm is about it."""
GROUP = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """One message that an answer is owed to, and where its exchange stands."""

    id: UUID
    thread: UUID
    type: MessageType
    ours: bool
    """We asked."""
    partner: str
    case_ref: str
    asked_at: datetime
    answer_by: datetime
    state: str
    """Of the message."""
    ended: bool
    """The exchange has ended."""
    history: tuple[tuple[UUID, datetime, str, str], ...]
    """(message, moment, state from then on, type), in the order in which we learned it."""
    answered: bool = False
    """Outside of any exchange: somebody replied to it."""

    def is_settled(self) -> bool:
        """True if no answer is owed any more."""
        gone = NEVER_THERE if self.ours else ("stopped", "erased")
        if self.state in gone:
            return True
        said = [entry[3] for entry in self._since()]
        return self.answered or self.ended or settled_by(self.type, said, pausing=PAUSING)

    def read(self, now: datetime) -> Reading:
        """What the clock says; a question from the other side stops it."""
        machine = MACHINES[self.type.machine]
        pauses = pauses_of(machine, ((at, state) for _, at, state, _ in self._since()))
        return read_clock(self.asked_at, self.answer_by, pauses, now)

    def _since(self) -> Sequence[tuple[UUID, datetime, str, str]]:
        places = [place for place, entry in enumerate(self.history) if entry[0] == self.id]
        return self.history[places[0] + 1 :] if places else ()


async def answers_due(core: Core, connection: AsyncConnection, now: datetime) -> int:
    """Look at every answer whose time has come, and at those with an alarm; how many are new."""
    raised = 0
    for box in (outbox, inbox):
        due = select(box.c.id).where(box.c.look_at <= now).order_by(box.c.look_at).limit(GROUP)
        found = set(await connection.scalars(due))
        found |= await _with_alarms(connection, box)
        asked = await load(connection, box, sorted(found))
        raised += await _judge(core, connection, box, asked, now)
    return raised


async def load(connection: AsyncConnection, box: Table, messages: Sequence[UUID]) -> list[Asked]:
    """These messages with the histories of their exchanges."""
    loaded: list[Asked] = []
    for start in range(0, len(messages), GROUP):
        loaded += await _load(connection, box, messages[start : start + GROUP])
    return loaded


async def _load(connection: AsyncConnection, box: Table, messages: Sequence[UUID]) -> list[Asked]:
    ours = box is outbox
    theirs = inbox if ours else outbox
    rows = (
        await connection.execute(
            select(box, thread.c.machine, thread.c.state.label("thread_state"))
            .outerjoin(thread, thread.c.id == box.c.thread)
            .where(box.c.id.in_(padded(list(messages))), box.c.answer_by.is_not(None))
        )
    ).all()
    histories: dict[UUID, list[AnyRow]] = {}
    events = await connection.execute(
        select(thread_event)
        .where(
            thread_event.c.thread.in_(padded(list({row.thread for row in rows}))),
            thread_event.c.unsaid.is_(False),
        )
        .order_by(thread_event.c.thread, thread_event.c.position)
    )
    for key, entries in groupby(events, key=lambda entry: entry.thread):
        histories[key] = list(entries)
    loose = [row.thread for row in rows if row.thread not in histories]
    replied: set[UUID] = set()
    if loose:
        replied = set(
            await connection.scalars(
                select(theirs.c.in_reply_to).where(
                    theirs.c.thread.in_(padded(loose)), theirs.c.in_reply_to.is_not(None)
                )
            )
        )
    return [
        Asked(
            id=row.id,
            thread=row.thread,
            type=catalogue[row.type],
            ours=ours,
            partner=row.recipient if ours else row.sender,
            case_ref=row.case_ref,
            asked_at=row.created_at if ours else row.received_at,
            answer_by=row.answer_by,
            state=row.state,
            ended=row.machine is not None and row.thread_state in MACHINES[row.machine].terminal,
            history=tuple(
                (entry.message, entry.at, entry.state, entry.type)
                for entry in histories.get(row.thread, ())
            ),
            answered=row.id in replied,
        )
        for row in rows
    ]


async def _judge(
    core: Core, connection: AsyncConnection, box: Table, found: Sequence[Asked], now: datetime
) -> int:
    """Raise, move and sign what follows; returns how many alarms are new."""
    looks: list[dict[str, Any]] = []
    settled, warned, breached = [], [], []
    for asked in found:
        look_at: datetime | None = None
        if asked.is_settled():
            settled.append(asked)
        else:
            reading = asked.read(now)
            look_at = reading.look_at
            if asked.ours and asked.state in ON_THE_WAY and asked.type.alarm == OVERDUE:
                look_at = max(look_at or now, now + LOOK_AGAIN)
            elif reading.standing is Standing.BREACHED:
                breached.append(asked)
            elif reading.standing is Standing.WARNED and asked.type.alarm:
                warned.append(asked)
        looks.append({"id": asked.id, "look_at": look_at})
    await update_rows(connection, box, looks, key="id")
    await clear_alarms_of(connection, [asked.id for asked in settled], *ALARMS, now=now)
    await clear_alarms_of(connection, [asked.id for asked in breached], DUE, now=now)
    deputy = core.settings.deadlines.deputy
    new = await _raise(connection, [(DUE, asked.id) for asked in warned], None, now)
    new += await _raise(
        connection,
        [(_code(asked), asked.id) for asked in breached if asked.type.alarm],
        deputy,
        now,
    )
    for asked in breached:
        if asked.type.overdue:
            await threads.ended_by_hub(connection, asked.thread, asked.type.overdue, now=now)
    late = [asked.id for asked in breached if asked.ours and asked.type.alarm]
    await testify(core, connection, Fact.OVERDUE, late, now=now)
    return new


def _code(asked: Asked) -> str:
    if asked.type.alarm != OVERDUE:
        return asked.type.alarm
    return OVERDUE if asked.ours else OWED


async def _raise(
    connection: AsyncConnection, wanted: Sequence[tuple[str, UUID]], role: str | None, now: datetime
) -> int:
    """Raise what is not raised yet."""
    if not wanted:
        return 0
    known = {
        (row.code, row.about)
        for row in await connection.execute(
            select(alarm.c.code, alarm.c.about).where(
                alarm.c.about.in_(padded([str(about) for _, about in wanted])),
                alarm.c.cleared_at.is_(None),
            )
        )
    }
    fresh = [(code, about) for code, about in wanted if (code, str(about)) not in known]
    for code, about in fresh:
        await raise_alarm(connection, code, about, now=now, role=role)
    return len(fresh)


async def _with_alarms(connection: AsyncConnection, box: Table) -> set[UUID]:
    """Messages of this box about which one of our alarms is open: it may have been answered."""
    query = select(alarm.c.about).where(alarm.c.code.in_(ALARMS), alarm.c.cleared_at.is_(None))
    about = [UUID(text) for text in await connection.scalars(query)]
    found: set[UUID] = set()
    for start in range(0, len(about), GROUP):
        some = padded(about[start : start + GROUP])
        found |= set(await connection.scalars(select(box.c.id).where(box.c.id.in_(some))))
    return found
