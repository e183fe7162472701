"""Wakes whoever waits for a participant's deliveries: at once here, by NOTIFY in other processes.

A wake-up is a hint. Whoever waits looks again after a while by itself, so that a lost one costs
time and nothing else. A process that listens says so now and then; while no other one is heard,
nothing is said to it, since NOTIFY costs every transaction a round trip and a lock.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

import asyncpg
from asyncpg.exceptions import InterfaceError, PostgresError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.telemetry import logger

CHANNEL = "referral_hub_deliveries"
_LONGEST_PAYLOAD = 7000  # PostgreSQL allows 8000 bytes
ANYONE = "*"
_RECONNECT = 1.0
_HERE = "?"
_HERE_EVERY = 5.0
_GONE_AFTER = 3 * _HERE_EVERY
_SETTLE = 0.1
"""Seconds."""


class Ticket:
    """A place in the queue of those who wait for one participant (or for `ANYONE`)."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def wait(self, seconds: float) -> None:
        """Return when something may be there, or in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


class Wake:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events: dict[str, asyncio.Event] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._me = secrets.token_hex(4)
        self.ending = False
        """True once this process is about to end: nobody waits any more."""
        self._others_until: float | None = None
        """Until when another process may be there; None while we would not hear of it."""

    def ticket(self, participant: str) -> Ticket:
        """Take a ticket, then look, then wait: nothing that commits after this is missed."""
        return Ticket(self._events.setdefault(participant, asyncio.Event()))

    def here(self, participants: Iterable[str]) -> None:
        """Wake those who wait in this process; call after the commit.

        Where nobody is named nothing new waits, and only room may have come free or something may
        be settled: whoever waits for `ANYONE` then hears of it in a moment, once for all.
        """
        names = tuple(participants)
        if not names:
            self._soon()
            return
        for name in (*names, ANYONE):
            # Waiters hold the old event; the next ones get a new one and see what was committed.
            if (event := self._events.pop(name, None)) is not None:
                event.set()

    def _soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_SETTLE, self._settle)

    def _settle(self) -> None:
        self._timer = None
        if (event := self._events.pop(ANYONE, None)) is not None:
            event.set()

    def end(self) -> None:
        """Let everybody who waits go, since the process ends."""
        self.ending = True
        self.here(list(self._events))

    async def elsewhere(self, connection: AsyncConnection, participants: Iterable[str]) -> None:
        """Wake other processes when the caller's transaction commits."""
        names = sorted(set(participants))
        if not names or connection.dialect.name != "postgresql" or self.is_alone():
            return
        payload = " ".join(names)
        if len(payload) > _LONGEST_PAYLOAD:
            payload = ANYONE
        await connection.execute(
            text("SELECT pg_notify(:channel, :payload)"),
            {"channel": CHANNEL, "payload": f"{self._me} {payload}"},
        )

    def is_alone(self) -> bool:
        """True if no other process was heard for a while, although it would have been."""
        return self._others_until is not None and time.monotonic() > self._others_until

    async def listen(self) -> None:
        """Pass on what other processes say, for ever; does nothing on SQLite (one process)."""
        if self._database.dialect != "postgresql":
            return
        while True:
            try:
                await self._listen_once()
            except (OSError, PostgresError, InterfaceError, TimeoutError) as error:
                logger().warning("wake:disconnected", error=type(error).__name__)
            # Whatever was said meanwhile is lost, so everybody looks.
            self.here(list(self._events))
            await asyncio.sleep(_RECONNECT)

    async def _listen_once(self) -> None:
        url = make_url(self._database.url).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False), timeout=10)
        closed = asyncio.Event()

        def heard(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            who, _, names = payload.partition(" ")
            if who == self._me:
                return
            self._others_until = time.monotonic() + _GONE_AFTER
            if names != _HERE:
                self.here(list(self._events) if names == ANYONE else names.split())

        connection.add_termination_listener(lambda _connection: closed.set())
        try:
            await connection.add_listener(CHANNEL, heard)
            self._others_until = time.monotonic() + _GONE_AFTER
            self.here(list(self._events))
            while not closed.is_set():
                await connection.execute(
                    "SELECT pg_notify($1, $2)", CHANNEL, f"{self._me} {_HERE}", timeout=10
                )
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HERE_EVERY):
                        await closed.wait()
        finally:
            self._others_until = None
            connection.terminate()
