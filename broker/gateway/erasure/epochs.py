"""Backups and sealed copies die too, by their keys.

The vault's key begins a new epoch on schedule, and old epochs' keys end.

What was erased may lie in a backup, encrypted under a case key that an epoch key wraps. A while
after a new epoch has begun, when no backup from before it is needed any more, the old epoch's key
is destroyed, and whoever was told "backups: unknown, until epoch n" is told that they are erased.

An envelope as it was sealed may lie at the hub, in a queue's files, or with somebody who recorded it.
Keys are destroyed here a day after their end, which needs nobody's signature and nobody's memory
(docs/adr/0012); once custody has no sealing key of before an erasure, whoever was told
"sealed: unknown" is told that those copies are erased.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import erasure, erasure_order
from broker.telemetry import logger
from keys.rotation import outlived
from schemas.envelope import MAX_SKEW_SECONDS
from schemas.errors import BrokerError
from schemas.evidence import Erasure, Fact, Store, StoreErasure

_SKEW = timedelta(seconds=MAX_SKEW_SECONDS)
"""By so much a sender's clock may be before ours, and so a key be used before its time."""


class Epochs:
    """Rotates, destroys and attests. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except BrokerError as error:
                logger().warning("epochs:later", code=error.code)
            await asyncio.sleep(self._core.settings.vault.every.total_seconds())

    async def run_once(self) -> int:
        """Do what is due; returns how many stores were attested by it."""
        await self._end_keys()
        return await self._sealed_copies() + await self._backups()

    async def _end_keys(self) -> None:
        """Destroy our private keys whose time is over.

        A clock that runs ahead must not destroy what is in use: so not while the hub's differs, or
        has not been heard, nor with a directory that has run out.
        """
        core, ahead = self._core, self._core.hub.clock_ahead
        if ahead is None or abs(ahead) > _SKEW:
            return
        custody, entry, now = core.custody, core.self_entry(), core.now()
        await asyncio.to_thread(custody.refresh)
        for kid in outlived(custody.keys, entry.keys, now):
            await asyncio.to_thread(custody.destroy, kid)
            logger().info("key:destroyed", kid=kid)

    async def _sealed_copies(self) -> int:
        since = await asyncio.to_thread(self._core.custody.opens_since)
        dead = true() if since is None else erasure.c.at < since - _SKEW
        return await self._attest(Store.SEALED, dead)

    async def _backups(self) -> int:
        core, now = self._core, self._core.now()
        settings = core.settings.vault
        begun = await core.vault.keys.epoch_begun(now=now)
        if begun + settings.rotate_every <= now:
            await core.vault.begin_epoch(now=now)
            logger().info("vault:epoch-begun")
            begun = now
        if begun + settings.old_epoch_kept > now:
            return 0
        await core.vault.keys.destroy_old_epochs()
        epoch = await core.vault.keys.current_epoch()
        return await self._attest(Store.BACKUPS, erasure.c.epoch < epoch)

    async def _attest(self, store: Store, dead: ColumnElement[bool]) -> int:
        """Tell everybody whose erased data could still be opened from there, and now cannot."""
        core, now = self._core, self._core.now()
        ours = (
            erasure.c.by == core.participant,
            erasure.c.store == store.value,
            erasure.c.outcome == Erasure.UNKNOWN.value,
            dead,
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
        dead = StoreErasure(store=Store(row.store), outcome=Erasure.ERASED, epoch=row.epoch)
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
