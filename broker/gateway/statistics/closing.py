"""The close of a quarter: somebody who counts is reminded that a period is over and not published.

Whoever asks for figures of the mechanism waits for them, and a quarter that is told late is told after
people have withdrawn. Nothing is published by itself: what was said cannot be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta

from broker.gateway.core import Core
from broker.gateway.statistics import ledger
from broker.gateway.statistics.people import read_records
from broker.gateway.statistics.periods import Quarter
from broker.gateway.store.alarms import raise_alarm
from broker.telemetry import logger
from schemas.errors import Unavailable

LOOK_EVERY = timedelta(hours=24)
GRACE = timedelta(days=7)
"""For what was written in the quarter's last days and is still on its way."""


def quarters_due(
    counted: Iterable[Quarter], published: Iterable[Quarter], today: date
) -> list[Quarter]:
    """Quarters that are over, in which somebody is counted, and that are in no publication. Pure."""
    return sorted(
        quarter for quarter in set(counted) - set(published) if quarter.last + GRACE < today
    )


class QuarterClose:
    """Looks once a day. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("statistics:later", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def run_once(self) -> list[Quarter]:
        """Ask for what is due."""
        core = self._core
        async with core.database.read() as connection:
            counted = [record.quarter for record in await read_records(core, connection)]
            told = [q for one in await ledger.published(connection) for q in one.quarters]
        due = quarters_due(counted, told, core.now().date())
        if due:
            async with core.database.begin() as connection:
                for quarter in due:
                    await raise_alarm(connection, ledger.DUE, quarter, now=core.now())
        return due
