"""A log in a real database, with the leaves that were put into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from broker.audit.log.leaves import new_leaf
from broker.audit.log.sequencer import BATCH, Sequencer
from broker.audit.log.store import LogTables, add_leaves
from broker.clock import TurnedClock
from broker.database import Database
from schemas.audit import Event
from tests.support.audit_log import ORIGIN, LogKeys


@dataclass
class StoredLog:
    """One process's view of the log in a database."""

    database: Database
    tables: LogTables
    keys: LogKeys
    clock: TurnedClock = field(
        default_factory=lambda: TurnedClock(datetime(2026, 11, 1, 8, 0, tzinfo=UTC))
    )

    def __post_init__(self) -> None:
        self.sequencer = self.another_sequencer()
        self.added: list[bytes] = []

    def another_sequencer(self, database: Database | None = None) -> Sequencer:
        return Sequencer(
            database or self.database,
            self.tables,
            origin=ORIGIN,
            signers=self.keys.signers,
            clock=self.clock,
        )

    def leaves(self, count: int) -> list[bytes]:
        now, at = self.clock.now(), len(self.added)
        made = [
            new_leaf(Event.ENVELOPE_SUBMITTED, now, number.to_bytes(32, "big"))[0]
            for number in range(at, at + count)
        ]
        self.added += made
        return made

    async def add(self, count: int) -> list[bytes]:
        leaves = self.leaves(count)
        async with self.database.begin() as connection:
            await add_leaves(connection, self.tables, leaves)
        return leaves

    async def grow(self, count: int) -> list[bytes]:
        leaves = await self.add(count)
        while await self.sequencer.run_once() == BATCH:
            pass
        return leaves

    async def turn(self, **by: float) -> None:
        self.clock.turn(timedelta(**by))
