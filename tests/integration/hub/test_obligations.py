"""The hub's SQL does to an obligation exactly what the table in `schemas.obligations` says."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.hub.store import obligations
from broker.hub.store.tables import METADATA
from schemas.machine import By, step
from schemas.obligations import OBLIGATION, ObligationEvent, Owed

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    async with found.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield found
    await found.close()


class Asked:
    """One obligation at the hub, driven by what its two parties and the clock do."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.request, self.thread, self.grant = uuid4(), uuid4(), uuid4()
        self.question: UUID | None = None
        self.now = START

    def row(self, request: UUID, asked_by: str, owed_by: str) -> dict[str, object]:
        return {
            "request_id": request,
            "thread": self.thread,
            "asked_by": asked_by,
            "owed_by": owed_by,
            "grant_id": self.grant,
            "state": obligations.ASKED,
            "answer_by": self.now + 24 * HOUR,
            "paused_at": None,
            "changed_at": self.now,
            "check_at": self.now + 24 * HOUR,
            "expires_at": START + 2000 * HOUR,
        }

    async def do(self, event: ObligationEvent) -> None:
        connection = self.connection
        self.now += timedelta(minutes=1)
        if event is ObligationEvent.ASK:
            row = self.row(self.request, "it.nrm", "al.nrm")
            await obligations.insert_many(connection, [row])
        elif event is ObligationEvent.QUESTION:
            self.question = uuid4()
            row = self.row(self.question, "al.nrm", "it.nrm")
            await obligations.insert_many(connection, [row])
            await obligations.pause(connection, self.thread, owed_by="al.nrm", now=self.now)
        elif event is ObligationEvent.REPLY:
            if self.question is not None:
                await obligations.answer(connection, [(self.question, "it.nrm")], self.now)
        elif event is ObligationEvent.ANSWER:
            await obligations.answer(connection, [(self.request, "al.nrm")], self.now)
        elif event is ObligationEvent.DEADLINE:
            self.now += 400 * HOUR
            await obligations.take_overdue(connection, self.now, 100)
        else:
            await obligations.withdraw(connection, [self.grant], self.now)

    async def state(self) -> str:
        row = await obligations.find(self.connection, self.request)
        assert row is not None
        paused = row.state == obligations.ASKED and row.paused_at is not None
        return str(Owed.PAUSED) if paused else str(row.state)


BY = {event: by for (_, event, by) in OBLIGATION.edges if by is not By.BROKER} | {
    ObligationEvent.DEADLINE: By.BROKER
}


@pytest.mark.parametrize("seed", range(10))
async def test_any_history_leaves_the_row_where_the_table_says(
    database: Database, seed: int
) -> None:
    dice = random.Random(seed)
    later = [event for event in ObligationEvent if event is not ObligationEvent.ASK]
    async with database.begin() as connection:
        asked = Asked(connection)
        await asked.do(ObligationEvent.ASK)
        state: str = Owed.ASKED
        for _ in range(12):
            event = dice.choice(later)
            await asked.do(event)
            state = step(OBLIGATION, state, event, BY[event]).state
            assert await asked.state() == state, event


async def test_nobody_settles_what_another_owes(database: Database) -> None:
    async with database.begin() as connection:
        asked = Asked(connection)
        await asked.do(ObligationEvent.ASK)
        await obligations.answer(connection, [(asked.request, "it.nrm")], asked.now)
        await obligations.answer(connection, [(asked.request, "al.ngo")], asked.now)
        assert await asked.state() == Owed.ASKED


async def test_a_deadline_moves_by_as_long_as_the_question_was_open(database: Database) -> None:
    async with database.begin() as connection:
        asked = Asked(connection)
        await asked.do(ObligationEvent.ASK)
        before = await obligations.find(connection, asked.request)
        await asked.do(ObligationEvent.QUESTION)
        asked.now += 5 * HOUR
        await asked.do(ObligationEvent.REPLY)
        after = await obligations.find(connection, asked.request)
    assert before is not None
    assert after is not None
    assert after.answer_by - before.answer_by == 5 * HOUR + timedelta(minutes=1)
