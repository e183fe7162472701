"""What a worker wrote down about a person ends some day, and somebody has to look again.

A recovery period is over, a child has come of age, a claim may have been decided: nothing is changed
by itself, since each of these opens a way to her. A worker who may know is asked to look
(`safeguards-review`), and to say so again or otherwise. The alarm tells which case and not what of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import select

from broker.gateway.core import Core
from broker.gateway.safeguards.words import Safeguards
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import safeguard
from broker.gateway.store.tables import vault as vault_tables
from broker.rules.countries import last_day_of_childhood
from broker.telemetry import logger
from schemas.errors import NotFound, Unavailable

ALARM = "safeguards-review"
CLAIM_REVIEW = timedelta(days=90)
"""How long a claim stands without anybody looking whether it still does."""
LOOK_EVERY = timedelta(hours=24)
GROUP = 200


def review_due(known: Safeguards, *, said_on: date, today: date, country: str) -> bool:
    """True if something of it has ended since it was last said. Pure.

    Args:
        country: Ours, whose age of majority ends a childhood.
    """
    ends: list[date] = []
    if known.recovery_until is not None:
        ends.append(known.recovery_until)
    if known.guardian_until is not None:
        ends.append(known.guardian_until)
    elif known.presumed_child and known.born is not None:
        ends.append(last_day_of_childhood(known.born, country))
    if known.protection_claim:
        ends.append(said_on + CLAIM_REVIEW)
    return any(said_on <= end < today for end in ends)


class SafeguardsSweep:
    """Looks at all of it once a day. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("safeguards:later", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def run_once(self) -> int:
        """Ask for what is due; how many cases that is."""
        found, after = 0, ""
        while True:
            rows = await self._page(after)
            if not rows:
                return found
            after = rows[-1].about
            due = [row.about for row in rows if await self._due(row)]
            if due:
                now = self._core.now()
                async with self._core.database.begin() as connection:
                    for about in due:
                        await raise_alarm(connection, ALARM, about, now=now)
            found += len(due)

    async def _page(self, after: str) -> Sequence[AnyRow]:
        item = vault_tables.item
        async with self._core.database.read() as connection:
            rows = await connection.execute(
                select(safeguard)
                .join(item, item.c.ref == safeguard.c.item)  # not what was erased since
                .where(safeguard.c.about > after)
                .order_by(safeguard.c.about)
                .limit(GROUP)
            )
            return rows.all()

    async def _due(self, row: AnyRow) -> bool:
        core = self._core
        try:
            async with core.database.read() as connection:
                plain = await core.vault.read(connection, row.item)
        except NotFound:  # erased meanwhile
            return False
        return review_due(
            Safeguards.from_json(plain),
            said_on=row.changed_at.date(),
            today=core.now().date(),
            country=core.self_entry().country,
        )
