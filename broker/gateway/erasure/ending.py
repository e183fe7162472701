"""Causes that are nobody's message: a referral that ended, and a day until which things are kept.

A referral that was declined, cancelled or has expired is none of ours: `schemas.states.destroys` says
of which states that holds, and the order is written with the state (`broker.gateway.threads`). What
came under a consent goes on the day after the one that the person was told (`retention_until` of her
record), unless a newer consent about the same case keeps it longer.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import func, select, update

from broker.gateway.core import Core
from broker.gateway.erasure.order import Cause, Order
from broker.gateway.erasure.orders import Orders
from broker.gateway.store.tables import grant
from broker.telemetry import logger
from schemas.errors import Unavailable

LOOK_EVERY = timedelta(minutes=10)
GROUP = 100


class Ending:
    """Looks each day. One task."""

    def __init__(self, core: Core, orders: Orders) -> None:
        self._core = core
        self._orders = orders

    async def run(self) -> None:
        while True:
            try:
                while await self.run_once() == GROUP:
                    pass
            except Unavailable as error:
                logger().warning("retention:later", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def run_once(self) -> int:
        """Order the erasure of what was kept until yesterday; how many grants were looked at."""
        core, now = self._core, self._core.now()
        longer = grant.alias()
        until = (
            select(func.max(longer.c.retain_until))
            .where(
                longer.c.sender == grant.c.sender,
                longer.c.case_ref == grant.c.case_ref,
                longer.c.recipient == grant.c.recipient,
                longer.c.state.in_(("live", "narrowed")),
                longer.c.retain_until >= now.date(),
            )
            .scalar_subquery()
        )
        async with core.database.begin() as connection:
            rows = await connection.execute(
                select(grant.c.id, grant.c.sender, until.label("longer"))
                .where(grant.c.retain_until < now.date(), grant.c.recipient == core.participant)
                .order_by(grant.c.retain_until)
                .limit(GROUP)
            )
            due = rows.all()
            for row in due:
                if row.longer is None:
                    order = Order(row.id, Cause.RETENTION, row.sender, now, grant=row.id)
                    await self._orders.place(connection, order)
                await connection.execute(
                    update(grant).where(grant.c.id == row.id).values(retain_until=row.longer)
                )
        return len(due)
