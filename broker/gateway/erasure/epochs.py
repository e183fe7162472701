"""Backups die too: the vault's key begins a new epoch on schedule, and old epochs' keys end.

What was erased may lie in a backup, encrypted under a case key that an epoch key wraps. A while
after a new epoch has begun, when no backup from before it is needed any more, the old epoch's key
is destroyed, and whoever was told "backups: unknown, until epoch n" is told that they are erased.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import erasure, erasure_order
from broker.telemetry import logger
from schemas.errors import Unavailable
from schemas.evidence import Erasure, Fact, Store, StoreErasure

LOOK_EVERY = timedelta(minutes=10)


class Epochs:
    """Rotates, destroys and attests. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("epochs:later", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def run_once(self) -> int:
        """Do what is due; returns how many erasures were completed by it."""
        core, now = self._core, self._core.now()
        settings = core.settings.vault
        begun = await core.vault.epoch_begun(now=now)
        if begun + settings.rotate_every <= now:
            await core.vault.begin_epoch(now=now)
            logger().info("vault:epoch-begun")
            begun = now
        if begun + settings.old_epoch_kept > now:
            return 0
        await core.vault.destroy_old_epochs()
        return await self._attest(now)

    async def _attest(self, now: datetime) -> int:
        """Tell everybody whose erased data could still be opened from a backup, and now cannot."""
        core = self._core
        epoch = await core.vault.current_epoch()
        ours = (
            erasure.c.by == core.participant,
            erasure.c.store == Store.BACKUPS.value,
            erasure.c.outcome == Erasure.UNKNOWN.value,
            erasure.c.epoch < epoch,
        )
        async with core.database.begin() as connection:
            rows = (await connection.execute(select(erasure).where(*ours))).all()
            for row in rows:
                await self._tell(connection, row, now)
            await connection.execute(
                update(erasure).where(*ours).values(outcome=Erasure.ERASED.value, at=now)
            )
        if rows:
            core.wakes.receipts.set()
        return len(rows)

    async def _tell(self, connection: AsyncConnection, row: AnyRow, now: datetime) -> None:
        dead = StoreErasure(store=Store.BACKUPS, outcome=Erasure.ERASED, epoch=row.epoch)
        told = await connection.execute(
            select(erasure_order.c.by, erasure_order.c.message, erasure_order.c.digest).where(
                erasure_order.c.about == row.about,
                erasure_order.c.by != self._core.participant,
                erasure_order.c.digest != "",
            )
        )
        await owe(
            connection,
            [
                Owed(one.by, one.message, one.digest, Fact.ERASED, now, None, (dead,))
                for one in told.all()
            ],
        )
