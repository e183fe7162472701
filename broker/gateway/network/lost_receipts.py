"""Statements about our messages that were lost on their way to us: fetched from the hub's records.

An envelope that RabbitMQ loses is published again, for want of a receipt; a receipt has none. So of
each message that still waits for one the hub is asked what it has recorded, and what is not here is
fetched: the same bytes, verified as if the channel had brought them. So a gateway that was put
back from a backup also hears again what it has forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, or_, select

from broker.gateway.core import Core
from broker.gateway.receive.receiver import Incoming, Outcome, Receiver
from broker.gateway.store.bulk import one_of, padded
from broker.gateway.store.tables import evidence, outbox
from broker.telemetry import logger
from schemas.catalogue import catalogue
from schemas.envelope import Kind
from schemas.errors import BrokerError, NotFound, Unavailable

EVERY = timedelta(minutes=5)
PATIENCE = timedelta(minutes=5)
"""As long as the hub waits for a receipt before it publishes again."""
MOST = 500
"""Messages asked about in one round; the next round goes on behind them."""
UNRECEIPTED = ("submitted", "relayed", "undelivered")
MORE_THAN_DELIVERED = tuple(
    sorted(name for name, row in catalogue.items() if row.filed or row.kind is Kind.WITHDRAWAL)
)
"""Types of which more is stated than that they were delivered: that they were filed, that it was
erased."""
LOOKED_AFTER = timedelta(days=7)
"""For so long what was delivered is asked about; the alarm about what was not filed is older then."""


class LostReceipts:
    """Asks again and again. One task."""

    def __init__(self, core: Core, receiver: Receiver) -> None:
        self._core = core
        self._receiver = receiver
        self._behind = 0
        """The position up to which the last round asked."""

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except BrokerError as error:
                logger().warning("lost-receipts:later", code=error.code)
            await asyncio.sleep(EVERY.total_seconds())

    async def run_once(self) -> int:
        """Ask about some of what waits; returns how many statements had been lost.

        Raises:
            Unavailable: The hub does not answer, or what it answered cannot be kept now.
        """
        wanted: set[UUID] = set()
        for message in await self._waiting():
            known = await self._core.hub.envelope_state(message)
            if known is not None:
                wanted |= known.evidence
        lost = []
        for one in sorted(await self._not_here(wanted)):
            try:
                lost.append((await self._core.hub.proof(evidence=one)).evidence)
            except NotFound:
                continue  # not for us; or under no signed head yet, and the next round asks again
        if lost:
            logger().warning("lost-receipts:fetched", count=len(lost))
            items = [Incoming("evidence", raw) for raw in lost]
            if Outcome.LATER in await self._receiver.receive(items, "asked"):
                raise Unavailable("what was fetched cannot be kept now")
        return len(lost)

    async def _waiting(self) -> list[UUID]:
        now = self._core.now()
        asked = (
            select(outbox.c.position, outbox.c.id)
            .where(
                outbox.c.position > self._behind,
                outbox.c.created_at < now - PATIENCE,
                or_(
                    one_of(outbox.c.state, UNRECEIPTED),
                    and_(
                        one_of(outbox.c.state, ("delivered",)),
                        outbox.c.type.in_(MORE_THAN_DELIVERED),
                        outbox.c.created_at > now - LOOKED_AFTER,
                    ),
                ),
            )
            .order_by(outbox.c.position)
            .limit(MOST)
        )
        async with self._core.database.read() as connection:
            rows = (await connection.execute(asked)).all()
        self._behind = rows[-1].position if len(rows) == MOST else 0
        return [row.id for row in rows]

    async def _not_here(self, wanted: Iterable[UUID]) -> set[UUID]:
        left = list(wanted)
        if not left:
            return set()
        async with self._core.database.read() as connection:
            here = await connection.scalars(
                select(evidence.c.id).where(evidence.c.id.in_(padded(left)))
            )
            return set(left) - set(here)
