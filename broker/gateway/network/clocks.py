"""Wrong clocks: ten minutes are tolerated, and from one minute on they are reported.

A clock that is ahead dates evidence into the future, and one that is behind keeps withdrawn consent
alive. The hub's answers are dated, and partners' messages say when they were signed; which of two
clocks is wrong nobody can tell from here, so the alarm names the other side, and a person looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.telemetry import logger
from schemas.base import ParticipantId
from schemas.envelope import VerifiedEnvelope
from schemas.errors import BrokerError

REPORTED = timedelta(minutes=1)
EVERY = timedelta(minutes=1)
OURS_OR_HUBS = "clock-skew"
PARTNERS = "partner-clock"


def is_off(ahead: timedelta | None) -> bool:
    """True if two clocks are further apart than is reported."""
    return ahead is not None and abs(ahead) > REPORTED


class Clocks:
    """Compares ours with the hub's. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reported: bool | None = None

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except BrokerError as error:
                logger().warning("clock:not-reported", code=error.code)
            await asyncio.sleep(EVERY.total_seconds())

    async def run_once(self) -> None:
        """Raise the alarm about the hub's clock and ours, or clear it."""
        core, ahead = self._core, self._core.hub.clock_ahead
        off = is_off(ahead)
        if off == self._reported or ahead is None:
            return
        async with core.database.begin() as connection:
            if off:
                await raise_alarm(connection, OURS_OR_HUBS, core.settings.hub.id, now=core.now())
            else:
                await clear_alarms(connection, core.settings.hub.id, OURS_OR_HUBS, now=core.now())
        self._reported = off


class PartnersClocks:
    """Watches what partners say of the time. Nothing that is late is odd: lines are."""

    def __init__(self) -> None:
        self._ahead: dict[ParticipantId, bool] = {}

    async def look(
        self, connection: AsyncConnection, envelopes: Iterable[VerifiedEnvelope], now: datetime
    ) -> None:
        """Raise or clear the alarm of each sender, in the transaction that takes its messages."""
        newest: dict[ParticipantId, datetime] = {}
        for one in envelopes:
            sender, said = one.content.from_, one.content.issued_at
            newest[sender] = max(said, newest.get(sender, said))
        for sender, said in newest.items():
            ahead = is_off(max(said - now, timedelta()))
            if ahead == self._ahead.get(sender, False):
                continue
            if ahead:
                await raise_alarm(connection, PARTNERS, sender, now=now)
            else:
                await clear_alarms(connection, sender, PARTNERS, now=now)
            self._ahead[sender] = ahead
