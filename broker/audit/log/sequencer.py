"""The sequencer: pending leaves become entries, and the new head is signed, all or nothing.

One transaction: lock the head row, check that the stored tree is the one that was signed last,
move pending leaves into entries and tiles, sign, insert the checkpoint, commit. A crash at any
line leaves the state before; the next run does the same again. Several may run, here and on other
machines: the lock makes them take turns, and each leaf is moved by exactly one of them.
A leaf is in the log at most 60 seconds after its decision, or `healthy` says no and intake stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.log.note import NoteSigner
from broker.audit.log.store import (
    LogTables,
    StoredCheckpoint,
    append,
    load_edge,
    log_size,
    newest_checkpoint,
    oldest_pending,
)
from broker.audit.log.tiles import Edge
from broker.clock import Clock
from broker.database import Database
from broker.telemetry import logger
from schemas.errors import BrokerError, LogInconsistent, LogUnavailable

BATCH = 4096
"""Leaves in one transaction: about a tenth of a second, so that the lock is never held long."""

MAX_DELAY = timedelta(seconds=60)
"""How long a decision may wait for its place in the log."""

IDLE = timedelta(hours=1)
"""A log that has nothing to say signs its head again, so that silence can be told from suppression."""


PAUSE = timedelta(seconds=1)
"""At least this between runs, however often it is woken: leaves of a busy moment share a checkpoint."""


class Guard(Protocol):
    """What the owner of a log knows of its heads from elsewhere than its database."""

    async def allow(self, connection: AsyncConnection, last: StoredCheckpoint | None) -> None:
        """Raise if the log must not grow from this head. Nothing is then moved or signed."""
        ...

    async def signed(self, head: StoredCheckpoint) -> None:
        """This head is in the database for good. Called after each run, also for an old one."""
        ...


@dataclass(frozen=True, slots=True)
class _Unguarded:
    async def allow(self, connection: AsyncConnection, last: StoredCheckpoint | None) -> None:
        """Allow it."""

    async def signed(self, head: StoredCheckpoint) -> None:
        """Keep nothing."""


class Sequencer:
    """Runs in the hub and in the gateway, each over its own log."""

    def __init__(
        self,
        database: Database,
        tables: LogTables,
        *,
        origin: str,
        signers: Sequence[NoteSigner],
        clock: Clock,
        guard: Guard | None = None,
    ) -> None:
        """
        Args:
            origin: The log's name; must be the name of each signer.
            signers: The plain Ed25519 key first; after it, if wanted, the ML-DSA-44 one.
            guard: Is asked before each head.
        """
        if any(signer.name != origin for signer in signers):
            raise ValueError("a log's keys bear the log's name")
        self._database = database
        self._tables = tables
        self._origin = origin
        self._signers = signers
        self._clock = clock
        self._guard: Guard = guard or _Unguarded()
        self._wake = asyncio.Event()
        self._good_at: datetime | None = None
        self._waiting_since: datetime | None = None

    def healthy(self, now: datetime) -> bool:
        """True if the last run succeeded, lately, and left no leaf waiting for over a minute.

        False before the first run. Decides from memory, so it may be asked for every request.
        """
        if self._good_at is None or now - self._good_at > MAX_DELAY:
            return False
        return self._waiting_since is None or now - self._waiting_since <= MAX_DELAY

    def wake(self) -> None:
        """Say that there are leaves; `run` then does not wait for its interval."""
        self._wake.set()

    async def run(self, *, interval: timedelta = timedelta(seconds=1)) -> None:
        """Integrate for ever, until cancelled. An error makes it unhealthy until a run succeeds."""
        log = logger()
        while True:
            self._wake.clear()
            moved = BATCH
            try:
                while moved == BATCH:
                    moved = await self.run_once()
            except BrokerError as error:
                log.error("log:stopped", code=error.code)
            except Exception:
                log.exception("log:failed")
            await asyncio.sleep(min(PAUSE, interval).total_seconds())
            # Not `wait_for`, which in Python 3.11 can swallow the cancellation that ends us.
            with suppress(TimeoutError):
                async with asyncio.timeout(interval.total_seconds()):
                    await self._wake.wait()

    async def run_once(self, limit: int = BATCH) -> int:
        """Move up to `limit` pending leaves into the log and sign its head.

        Without leaves it signs only when the last checkpoint is an hour old, or was never made.

        Returns:
            How many leaves were moved.

        Raises:
            StorageUnavailable: The database; nothing was moved, or all of it was.
            LogInconsistent: The stored tree is not the one that was signed. Nothing was moved;
                nothing will be until a person has looked.
            LogUnavailable: Signing failed, or the guard does not allow it. Nothing was moved.
        """
        now = self._clock.now()
        try:
            async with self._database.begin() as connection:
                await self._lock(connection)
                moved, head = await self._integrate(connection, limit, now)
                waiting = await oldest_pending(connection, self._tables)
            await self._guard.signed(head)
        except BaseException:
            self._good_at = None
            raise
        # Of two that ran side by side, the one that began first may end last.
        self._good_at = max(now, self._good_at or now)
        self._waiting_since = waiting
        return moved

    async def _lock(self, connection: AsyncConnection) -> None:
        head = self._tables.head
        # SQLite: BEGIN IMMEDIATE has locked already. PostgreSQL: the row is made once, then locked.
        row = select(head.c.origin).where(head.c.id == 1).with_for_update()
        origin = await connection.scalar(row)
        if origin is None:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            await connection.execute(
                dialect.insert(head).values(id=1, origin=self._origin).on_conflict_do_nothing()
            )
            origin = await connection.scalar(row)
        if origin != self._origin:
            raise LogInconsistent("this database holds the log of another origin")

    async def _integrate(
        self, connection: AsyncConnection, limit: int, now: datetime
    ) -> tuple[int, StoredCheckpoint]:
        last = await newest_checkpoint(connection, self._tables)
        await self._guard.allow(connection, last)
        edge = await self._verified_edge(connection, last)
        bodies = await self._take_pending(connection, limit)
        if bodies or last is None or now - last.issued_at >= IDLE:
            await append(connection, self._tables, edge, bodies)
            last = await self._sign(connection, edge, now)
        return len(bodies), last

    async def _verified_edge(
        self, connection: AsyncConnection, last: StoredCheckpoint | None
    ) -> Edge:
        # What is stored must be what was signed; otherwise the next signature would cover it up.
        size = await log_size(connection, self._tables)
        if size != (0 if last is None else last.size):
            raise LogInconsistent("the entries are not those of the last checkpoint")
        edge = await load_edge(connection, self._tables, size)
        if last is not None and edge.root() != last.root:
            raise LogInconsistent("the stored tree is not the one that was signed")
        return edge

    async def _take_pending(self, connection: AsyncConnection, limit: int) -> list[bytes]:
        pending = self._tables.leaf_pending
        chosen = select(pending.c.id).order_by(pending.c.id).limit(limit).scalar_subquery()
        rows = await connection.execute(
            delete(pending).where(pending.c.id.in_(chosen)).returning(pending.c.id, pending.c.body)
        )
        return [row.body for row in sorted(rows, key=lambda row: row.id)]

    async def _sign(
        self, connection: AsyncConnection, edge: Edge, now: datetime
    ) -> StoredCheckpoint:
        checkpoint = Checkpoint(self._origin, edge.size, edge.root())
        try:
            signed = sign_checkpoint(checkpoint, self._signers, now)
        except Exception as error:
            raise LogUnavailable("the log's key cannot sign") from error
        head = StoredCheckpoint(checkpoint.size, checkpoint.root, now, signed.note.to_text())
        await connection.execute(
            self._tables.checkpoint.insert().values(
                size=head.size, root=head.root, issued_at=head.issued_at, note=head.note
            )
        )
        return head
