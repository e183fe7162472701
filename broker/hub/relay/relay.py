"""From the delivery table to RabbitMQ: claim, ask the rules again, publish, wait for the confirm.

A message cannot be pulled out of a queue, so only a window of unreceipted envelopes per
participant and lane is in RabbitMQ at any time; the rest waits in the table, where a withdrawal
stops it. What has no receipt in time is published again: the same bytes, the same id.

A crash after the confirm and before the commit publishes twice; gateways drop the second copy.
What is accepted while there is nothing else to do does not even wait for this: `direct`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.amqp import Outgoing, Publisher
from broker.hub.relay.channels import Channels, cluster
from broker.hub.relay.direct import Direct
from broker.hub.relay.handover import take_claimed
from broker.hub.settings import AmqpSettings
from broker.hub.state import Hub
from broker.hub.store import deliveries
from broker.hub.store.deliveries import Claim, Item, Settled
from broker.hub.wake import ANYONE, Ticket
from broker.telemetry import logger
from schemas.errors import BrokerError, QueueUnavailable, Unavailable

BATCH = 256
"""Items in one round: at most 64 MiB, since an envelope has at most 256 KiB."""
PATIENCE = 8.0
"""Seconds for a batch and its confirms; a new queue settles for four of them."""
LEASE = timedelta(seconds=10)
"""Longer than `PATIENCE`, so that no batch is claimed twice while it is under way; and short, since
what a killed relay had claimed waits for its end."""
LOOK_EVERY = 1.0
"""The safety net under wake-ups, in seconds."""
PAUSE = 0.5
_KINDS = (deliveries.ENVELOPE_ITEM, deliveries.EVIDENCE_ITEM)


class Relay:
    """One per process that relays; any number may run side by side."""

    def __init__(self, hub: Hub, settings: AmqpSettings, channels: Channels) -> None:
        self._hub = hub
        self._settings = settings
        self._channels = channels
        self._publisher = Publisher(
            cluster(settings), settle=timedelta(seconds=settings.new_queue_seconds)
        )
        self._published: list[tuple[int, str]] = []
        """Deliveries that are confirmed and not settled yet, each with its kind."""
        self.direct = Direct(
            hub,
            channels,
            self._publisher,
            window=settings.window,
            lease=LEASE,
            published=self._confirmed,
        )

    async def run(self) -> None:
        """Relay until cancelled; what fails is tried again, and `/readyz` says so meanwhile."""
        async with self._publisher, contextlib.aclosing(self.direct):
            while True:
                ticket = self._hub.wake.ticket(ANYONE)
                try:
                    await self._channels.provide(self._publisher)
                    busy = await self.run_once()
                    self._hub.publishing = None
                except QueueUnavailable as error:
                    self._hub.publishing = error
                    logger().warning("relay:queue-unavailable", code=error.code)
                    await asyncio.sleep(PAUSE)
                    continue
                except (Unavailable, DBAPIError) as error:
                    code = error.code if isinstance(error, BrokerError) else type(error).__name__
                    logger().warning("relay:later", code=code)
                    await asyncio.sleep(PAUSE)
                    continue
                if not busy:
                    await self._idle(ticket)

    async def _idle(self, ticket: Ticket) -> None:
        """Wait for something to do; what is accepted meanwhile need not be claimed."""
        self.direct.relay_is_idle = True
        try:
            await ticket.wait(LOOK_EVERY)
        finally:
            self.direct.relay_is_idle = False

    async def run_once(self) -> bool:
        """Publish one batch of what is due; True if there was any.

        What the last one published is settled in the transaction that claims this one: until then
        its lease protects it, and a crash means that it is published twice.

        Raises:
            QueueUnavailable: What was claimed is due again.
        """
        settled = self._published
        self._published = []
        try:
            items = await take_claimed(self._hub, lambda *given: self._claim(settled, *given))
        except BaseException:
            self._published += settled
            raise
        if not items:
            return False
        # Urgent ones come first in `items`, and messages of one channel keep their order.
        messages = [
            Outgoing(
                self._channels.queue(one.recipient, one.lane), one.raw, one.kind, str(one.delivery)
            )
            for one in items
        ]
        try:
            confirmed = await self._publisher.publish_many(messages, patience=PATIENCE)
        except QueueUnavailable:
            async with self._hub.database.begin() as connection:
                await deliveries.give_back(
                    connection, [one.delivery for one in items], self._hub.clock.now()
                )
            raise
        for one in items:
            if str(one.delivery) in confirmed:
                self._confirmed(one)
        return True

    def _confirmed(self, item: Item) -> None:
        self._published.append((item.delivery, item.kind))
        self._hub.metrics.handed_over.labels("amqp", item.kind).inc()

    async def _claim(
        self, published: Sequence[tuple[int, str]], connection: AsyncConnection, now: datetime
    ) -> list[Claim]:
        of = {kind: [one for one, its in published if its == kind] for kind in _KINDS}
        return await deliveries.claim_for_relay(
            connection,
            Settled(
                envelopes=of[deliveries.ENVELOPE_ITEM],
                evidence=of[deliveries.EVIDENCE_ITEM],
                again=now + timedelta(seconds=self._settings.republish_after_seconds),
            ),
            now=now,
            lease=LEASE,
            window=self._settings.window,
            limit=BATCH,
        )
