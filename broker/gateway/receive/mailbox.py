"""The mailbox channel: for a laptop behind a bad line. Leased, received, committed, acknowledged.

On connecting: the urgent lane until it is empty, then the withdrawals since the last visit, then
the routine lane. After that both lanes are held open at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from broker.client import MailboxItem
from broker.gateway.core import Core
from broker.gateway.receive.receiver import Incoming, Outcome, Receiver
from broker.telemetry import logger
from schemas.envelope import Lane
from schemas.errors import BrokerError, Unavailable

LONGEST_PAUSE = 5.0
"""Seconds between attempts while the hub is away."""


class Mailbox:
    """Follows the hub's mailbox."""

    def __init__(self, core: Core, receiver: Receiver) -> None:
        self._core = core
        self._receiver = receiver
        self.connected = False
        self._unsure = set(Lane)
        """Lanes of which the hub may think that we have a page: we have just begun, or asked and
        got no answer. Told so, it need not wait for the end of the lease."""

    async def run(self) -> None:
        """Follow for ever; whenever the hub was away, begin again with the urgent lane."""
        failures = 0
        while True:
            try:
                await self._visit()
                if failures:
                    self._core.wakes.connected.set()
                failures = 0
                self.connected = True
                await self._both_lanes()
            except* BrokerError as group:
                self.connected = False
                code = next(iter(_codes(group)), "unavailable")
                logger().warning("mailbox:away", code=code, attempt=failures)
            failures = min(failures + 1, 6)
            await asyncio.sleep(min(0.2 * 2**failures, LONGEST_PAUSE))

    async def visit(self) -> int:
        """One visit: urgent, withdrawals, routine, until both lanes are empty."""
        return await self._visit() + await self._drain(Lane.ROUTINE)

    async def _visit(self) -> int:
        taken = await self._drain(Lane.URGENT)
        await self._receiver.follow_withdrawals()
        return taken

    async def _drain(self, lane: Lane) -> int:
        total = 0
        while taken := await self._page(lane, timedelta()):
            total += taken
        return total

    async def _both_lanes(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(Lane.URGENT))
            group.create_task(self._follow(Lane.ROUTINE))
            group.create_task(self._every(self._receiver.follow_withdrawals))

    async def _follow(self, lane: Lane) -> None:
        while True:
            await self._page(lane, self._core.settings.channel.wait)

    async def _every(self, work: Callable[[], Awaitable[None]]) -> None:
        pause = self._core.settings.receive.consent_fresh.total_seconds() / 2
        while True:
            await asyncio.sleep(pause)
            await work()

    async def _page(self, lane: Lane, wait: timedelta) -> int:
        """Lease, receive, acknowledge; returns how many deliveries are settled.

        Raises:
            Unavailable: The hub is away, or nothing of the page could be settled now.
        """
        core = self._core
        fresh = lane in self._unsure
        self._unsure.add(lane)
        items = await core.hub.mailbox(
            lane, limit=core.settings.channel.page, wait=wait, fresh=fresh
        )
        if not items:
            self._unsure.discard(lane)
            return 0
        outcomes = await self._receiver.receive([_incoming(item) for item in items], "mailbox")
        self._unsure.discard(lane)
        settled = [
            item.delivery
            for item, outcome in zip(items, outcomes, strict=True)
            if outcome not in (Outcome.LATER, Outcome.EARLY)
        ]
        if settled:
            await core.hub.acknowledge(settled)
        elif Outcome.LATER in outcomes:
            # The lease brings them again; asking at once would only spin.
            raise Unavailable("nothing could be received just now")
        return len(settled)


def _incoming(item: MailboxItem) -> Incoming:
    return Incoming(item.kind, item.jws)


def _codes(group: BaseExceptionGroup[BrokerError]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _codes(error)
        else:
            found.append(error.code)
    return found
