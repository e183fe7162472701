"""Carrying an order out, in every store here, again and again until it is done; then it is attested.

Only what `orders.py` wrote is worked on, so it does not matter where a crash falls: the next start
begins anew, and each step may be repeated.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core, wait_for
from broker.gateway.erasure.attesting import Attesting, Done
from broker.gateway.erasure.filed import erase_filed, together
from broker.gateway.erasure.order import UNDER_GRANT, Cause, Order
from broker.gateway.erasure.orders import Orders, grants_of_case, messages_of
from broker.gateway.safeguards.told import forget as forget_told
from broker.gateway.store import grants as grant_store
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.bulk import batches, padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    case_question,
    erasure_order,
    inbox,
    inbox_attachment,
    inbox_section,
)
from broker.gateway.store.tables import grant as grant_table
from broker.telemetry import logger
from schemas.errors import BrokerError, Refused, Unavailable
from schemas.evidence import Erasure, Store, StoreErasure

POLL = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Extent:
    """How much of the messages of an order goes."""

    whole: bool
    gone: Sequence[str]
    """The sections, unless it is everything."""


class Erasing:
    """Carries orders out. One task."""

    def __init__(self, core: Core, orders: Orders, attesting: Attesting) -> None:
        self._core = core
        self._orders = orders
        self._attesting = attesting

    async def run(self) -> None:
        """Carry out for ever."""
        while True:
            try:
                done = await self.run_once()
            except Unavailable as error:
                logger().warning("erasing:wait", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not done:
                await wait_for(self._core.wakes.withdrawals, POLL)

    async def run_once(self) -> int:
        """Carry out what is due; returns how many orders were completed."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(erasure_order)
                    .where(
                        or_(erasure_order.c.state == "stopped", erasure_order.c.onward_due),
                        erasure_order.c.next_attempt_at <= core.now(),
                    )
                    .order_by(erasure_order.c.at)
                    .limit(16)
                )
            ).all()
        done = 0
        for row in rows:
            try:
                if row.state == "stopped":
                    await self._erase(row)
                else:
                    await self._attesting.report_onward(row)
                done += 1
            except BrokerError as error:
                logger().warning("erasing:not-done", code=error.code)
                await self._postpone(row, hopeless=isinstance(error, Refused))
        return done

    async def _postpone(self, row: AnyRow, *, hopeless: bool) -> None:
        """Try again later. A person is told once it has failed too often, or at once if `hopeless`:
        then it will not succeed by itself, and until it does nothing is attested."""
        now = self._core.now()
        wait = timedelta(seconds=min(2.0 ** min(row.attempts, 9), 300.0))
        async with self._core.database.begin() as connection:
            await connection.execute(
                update(erasure_order)
                .where(erasure_order.c.message == row.message)
                .values(attempts=erasure_order.c.attempts + 1, next_attempt_at=now + wait)
            )
            if hopeless or row.attempts >= 5:
                await raise_alarm(connection, "erasure-late", row.message, now=now)

    # --- one order ----------------------------------------------------------------------------

    async def _erase(self, row: AnyRow) -> None:
        """Erase everywhere here what one order names, then attest. Safe to repeat at any line."""
        core, order = self._core, Order.of(row)
        async with core.database.begin() as connection:
            grant = None
            if order.grant is not None:
                grant = await grant_store.require_grant(connection, order.grant)
            messages = await messages_of(connection, order)
            kept = await self._orders.seclude(connection, order, messages)
        if grant is not None and grant.recipient != core.participant:
            # Our own grant, taken back by the other side: we hold the original, not a copy.
            await self._attesting.finish(row, Done(order, grant, (), (), {}))
            return
        extent = _extent(order, grant)
        free = [message for message in messages if message.id not in kept]
        in_system = [
            StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.KEPT, basis=basis)
            for basis in kept.values()
        ]
        for message in free:
            async with core.case_locks.hold([message.business_id]):
                in_system.append(await erase_filed(core, message, extent.gone, whole=extent.whole))
        async with core.database.begin() as connection:
            await self._destroy(connection, order, grant, extent, free, everything=not kept)
        core.people.forget(message.id for message in free)
        await core.vault.scrub()
        case_system = together(in_system)
        if case_system.outcome is Erasure.UNKNOWN:
            async with core.database.begin() as connection:
                await raise_alarm(connection, "erasure-by-hand", row.message, now=core.now())
        await self._attesting.finish(
            row, Done(order, grant, free, await self._stores(case_system, kept), kept)
        )

    async def _stores(
        self, case_system: StoreErasure, kept: dict[UUID, str]
    ) -> tuple[StoreErasure, ...]:
        vault = StoreErasure(store=Store.VAULT, outcome=Erasure.ERASED)
        if kept:
            basis = min(kept.values())
            vault = StoreErasure(store=Store.VAULT, outcome=Erasure.KEPT, basis=basis)
        return (
            vault,
            case_system,
            # What workers saved or printed is in their hands, and they in the law's.
            StoreErasure(store=Store.EXPORTS, outcome=Erasure.UNKNOWN),
            # The hub, a queue's files or an eavesdropper may have it as it was sealed, and it opens
            # until our sealing keys of today are destroyed: `epochs.py`.
            StoreErasure(store=Store.SEALED, outcome=Erasure.UNKNOWN),
            # A backup of this machine opens until the key of this epoch is destroyed: `epochs.py`.
            StoreErasure(
                store=Store.BACKUPS,
                outcome=Erasure.UNKNOWN,
                epoch=await self._core.vault.keys.current_epoch(),
            ),
        )

    # --- the vault ----------------------------------------------------------------------------

    async def _destroy(
        self,
        connection: AsyncConnection,
        order: Order,
        grant: GrantState | None,
        extent: _Extent,
        free: Sequence[AnyRow],
        *,
        everything: bool,
    ) -> None:
        """Destroy keys and ciphertexts, and the references to them.

        Args:
            everything: Nothing that the order names is held.
        """
        core = self._core
        if grant is not None and everything:
            core.records.pop(grant.id, None)
            if extent.whole:
                await core.vault.erase_grant(connection, grant.id)
                await self._forget_grants(connection, [grant.id])
            else:
                await core.vault.erase_sections(connection, grant.id, extent.gone)
        else:
            refs = await self._refs(connection, order, free, extent)
            if order.of_whole_case and everything:
                given = await grants_of_case(connection, order)
                refs += [ref for row in given for ref in (row.secret, row.record)]
                for row in given:
                    core.records.pop(row.id, None)
                await self._forget_grants(connection, [row.id for row in given])
            await core.vault.erase_items(connection, [ref for ref in refs if ref is not None])
        await self._forget(connection, order, free, extent)
        await forget_told(core, connection, {(row.sender, row.case_ref) for row in free})

    async def _refs(
        self,
        connection: AsyncConnection,
        order: Order,
        free: Sequence[AnyRow],
        extent: _Extent,
    ) -> list[str | None]:
        """Where in the vault everything lies that goes."""
        refs: list[str | None] = []
        taken_out = await connection.scalar(
            select(erasure_order.c.refs).where(erasure_order.c.message == order.message)
        )
        refs += json.loads(taken_out or "[]")
        if extent.whole:
            refs += [message.content for message in free]
        for ids in batches([message.id for message in free]):
            sections = select(inbox_section.c.content).where(
                inbox_section.c.message.in_(padded(ids))
            )
            files = select(inbox_attachment.c.key, inbox_attachment.c.content).where(
                inbox_attachment.c.message.in_(padded(ids))
            )
            if not extent.whole:
                sections = sections.where(inbox_section.c.section.in_(list(extent.gone)))
                files = files.where(inbox_attachment.c.section.in_(list(extent.gone)))
            refs += await connection.scalars(sections)
            refs += [ref for row in (await connection.execute(files)).all() for ref in row]
        return refs

    async def _forget_grants(self, connection: AsyncConnection, ids: Sequence[UUID]) -> None:
        for some in batches(list(ids)):
            await connection.execute(
                update(grant_table)
                .where(grant_table.c.id.in_(padded(some)))
                .values(secret=None, record=None, retain_until=None)
            )

    async def _forget(
        self,
        connection: AsyncConnection,
        order: Order,
        free: Sequence[AnyRow],
        extent: _Extent,
    ) -> None:
        """Drop the references to what is no longer in the vault."""
        for ids in batches([message.id for message in free]):
            among = padded(ids)
            sections = update(inbox_section).where(inbox_section.c.message.in_(among))
            files = delete(inbox_attachment).where(inbox_attachment.c.message.in_(among))
            if extent.whole:
                await connection.execute(
                    update(inbox)
                    .where(inbox.c.id.in_(among), inbox.c.state != "erased")
                    .values(
                        state="erased",
                        content=None,
                        erased_at=self._core.now(),
                        erased_about=order.about,
                    )
                )
                # Whom she was taken for, or was not, goes with her.
                await connection.execute(
                    delete(case_question).where(case_question.c.message.in_(among))
                )
            else:
                sections = sections.where(inbox_section.c.section.in_(list(extent.gone)))
                files = files.where(inbox_attachment.c.section.in_(list(extent.gone)))
            await connection.execute(sections.values(content=None))
            await connection.execute(files)


def _extent(order: Order, grant: GrantState | None) -> _Extent:
    if order.cause is Cause.WITHDRAWAL and grant is not None:
        return _Extent(grant.withdrawn, grant_store.sections_gone(grant))
    return _Extent(not order.sections or order.cause in UNDER_GRANT, order.sections)
