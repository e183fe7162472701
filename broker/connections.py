"""Connections to PostgreSQL that stay open between uses.

SQLAlchemy's own pool hands each out and takes it back with as much work as two short statements;
a message uses nine on its way. Here a connection stays as it is, and the one used last is used
next: its statements are prepared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from asyncpg.exceptions import InterfaceError, PostgresError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

IDLE_SECONDS = 5.0
"""A connection that was not used for so long is asked whether the server is still there."""
PATIENCE_SECONDS = 30.0
"""How long somebody waits for one while all are in use."""


@dataclass(slots=True)
class _Kept:
    connection: AsyncConnection
    driver: Any
    used: float = 0.0
    """When it came back, by the monotonic clock."""


class Connections:
    """As many connections as are used at once, up to `most`.

    On each of them a statement is a transaction by itself, unless its user begins one; a user who
    leaves one open loses the connection, and the server rolls it back.

    Args:
        engine: Opens them, and must not pool them itself.
    """

    def __init__(self, engine: AsyncEngine, *, most: int) -> None:
        # Reads need no BEGIN and no ROLLBACK: at PostgreSQL's isolation level (READ COMMITTED) each
        # statement sees what was committed before it, inside a transaction or not.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._room = asyncio.Semaphore(most)
        self._idle: list[_Kept] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[AsyncConnection]:
        """Raises `TimeoutError` if none comes free, and whatever the driver raises."""
        if self._room.locked():
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            kept = await self._take()
            try:
                yield kept.connection
            finally:
                await self._put_back(kept)
        finally:
            self._room.release()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().connection.close()

    async def _take(self) -> _Kept:
        while self._idle:
            kept = self._idle.pop()
            if await _is_alive(kept):
                return kept
            await _drop(kept)
        connection = await self._engine.connect()
        return _Kept(connection, driver_of(connection))

    async def _put_back(self, kept: _Kept) -> None:
        if (
            kept.connection.invalidated
            or kept.driver.is_closed()
            or kept.driver.is_in_transaction()
        ):
            await _drop(kept)
            return
        if kept.connection.in_transaction():
            await kept.connection.rollback()  # SQLAlchemy's idea of one: the server has none
        kept.used = time.monotonic()
        self._idle.append(kept)


def driver_of(connection: AsyncConnection) -> Any:
    """asyncpg's own connection."""
    return connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]


async def _is_alive(kept: _Kept) -> bool:
    """A server that dies closes its connections, and the driver knows that without asking. Asking
    is for the network that swallowed the news, so it is done after a silence."""
    if kept.driver.is_closed():
        return False
    if time.monotonic() - kept.used <= IDLE_SECONDS:
        return True
    try:
        await kept.driver.execute("SELECT 1")
    except (PostgresError, InterfaceError, OSError):
        return False
    return True


async def _drop(kept: _Kept) -> None:
    kept.driver.terminate()
    await kept.connection.close()
