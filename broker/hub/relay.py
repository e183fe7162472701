"""From the delivery table to RabbitMQ: claim, ask the rules again, publish, wait for the confirm.

A message cannot be pulled out of a queue, so only a window of unreceipted envelopes per
participant and lane is in RabbitMQ at any time; the rest waits in the table, where a withdrawal
stops it. What has no receipt in time is published again: the same bytes, the same id.

A crash after the confirm and before the commit publishes twice; gateways drop the second copy.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from broker.amqp import Outgoing, Publisher
from broker.hub.channels import Channels, cluster
from broker.hub.handover import Item, take
from broker.hub.settings import AmqpSettings
from broker.hub.state import Hub
from broker.hub.store import deliveries
from broker.hub.wake import ANYONE
from broker.telemetry import logger
from schemas.envelope import Lane
from schemas.errors import BrokerError, QueueUnavailable, Unavailable

BATCH = 128
LEASE = timedelta(seconds=30)
"""Longer than the publisher's patience: a batch is not claimed twice while it is under way."""
LOOK_EVERY = 1.0
"""The safety net under wake-ups, in seconds."""
PAUSE = 0.5


class Relay:
    """One per process that relays; any number may run side by side."""

    def __init__(self, hub: Hub, settings: AmqpSettings, channels: Channels) -> None:
        self._hub = hub
        self._settings = settings
        self._channels = channels
        self._publisher = Publisher(cluster(settings))

    async def run(self) -> None:
        """Relay until cancelled; what fails is tried again, and `/readyz` says so meanwhile."""
        async with self._publisher:
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
                    await ticket.wait(LOOK_EVERY)

    async def run_once(self) -> bool:
        """Publish one batch for everybody for whom something is due; True if there was any.

        Raises:
            QueueUnavailable: What was claimed is due again when its lease ends.
        """
        now = self._hub.clock.now()
        async with self._hub.database.read() as connection:
            routes = await deliveries.routes_due(connection, now)
        relayed = 0
        for lane in (Lane.URGENT, Lane.ROUTINE):  # urgent is empty before routine begins
            counts = await asyncio.gather(
                *(self._route(who, lane) for who, of in routes if of == lane.value)
            )
            relayed += sum(counts)
        return relayed > 0

    async def _route(self, participant: str, lane: Lane) -> int:
        """One batch for one participant's lane; how many were confirmed."""
        hub = self._hub
        async with hub.database.read() as connection:
            used = await deliveries.in_window(connection, participant, lane.value, hub.clock.now())
        room = self._settings.window - used
        items = await take(
            hub,
            recipient=participant,
            lane=lane,
            limit=min(BATCH, room) if room > 0 else BATCH,
            lease=LEASE,
            # A full window holds back envelopes; evidence has nothing that a withdrawal must stop.
            only=None if room > 0 else deliveries.EVIDENCE_ITEM,
        )
        if not items:
            return 0
        queue = self._channels.queue(participant, lane)
        confirmed = await self._publisher.publish_many(
            [Outgoing(queue, item.raw, item.kind, str(item.delivery)) for item in items]
        )
        await self._settle([item for item in items if str(item.delivery) in confirmed])
        return len(confirmed)

    async def _settle(self, items: list[Item]) -> None:
        hub = self._hub
        again = hub.clock.now() + timedelta(seconds=self._settings.republish_after_seconds)
        envelopes = [one.delivery for one in items if one.kind == deliveries.ENVELOPE_ITEM]
        evidence = [one.delivery for one in items if one.kind == deliveries.EVIDENCE_ITEM]
        async with hub.database.begin() as connection:
            await deliveries.mark_relayed(connection, envelopes, again)
            await deliveries.done(connection, evidence)
        for kind, count in (("envelope", len(envelopes)), ("evidence", len(evidence))):
            hub.metrics.handed_over.labels("amqp", kind).inc(count)
