"""From memory to RabbitMQ: what was accepted just now, claimed in the transaction that accepted it.

The rules were asked in that transaction, under the same locks as when the relay claims: a
withdrawal that committed before it was seen, one that comes after finds the delivery claimed, as
it would find one that the relay has claimed. So nothing is asked twice, and one message alone
saves a transaction. It is a shortcut and no more:

* it is taken only while the relay has nothing in hand, so that nothing is overtaken;
* only within the window of the lane, and never where an envelope waits already;
* what is not confirmed is found in the table, by the relay, when its lease is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from broker.amqp import Outgoing, Publisher
from broker.hub.relay.channels import Channels
from broker.hub.state import Hub
from broker.hub.store import deliveries
from broker.hub.store.deliveries import Item
from broker.telemetry import logger
from schemas.envelope import Lane
from schemas.errors import QueueUnavailable, Unavailable


class Direct:
    """Publishes what acceptance hands it. One per process that both accepts and relays."""

    def __init__(
        self,
        hub: Hub,
        channels: Channels,
        publisher: Publisher,
        *,
        window: int,
        lease: timedelta,
        published: Callable[[Item], None],
    ) -> None:
        """
        Args:
            window: Envelopes that may be given to a lane without a receipt.
            published: Told of each that is confirmed; settles it in time.
        """
        self.window = window
        self._hub = hub
        self._channels = channels
        self._publisher = publisher
        self._lease = lease
        self._published = published
        self._under_way: set[asyncio.Task[None]] = set()
        self.relay_is_idle = False

    def is_open(self) -> bool:
        """True if what is claimed now is published at once."""
        return (
            self.relay_is_idle
            and self._publisher.is_connected
            and self._hub.database.dialect == "postgresql"
        )

    def leased_until(self, now: datetime) -> datetime:
        """Until when a delivery that is claimed now is ours."""
        return now + self._lease

    def hand_over(self, items: Sequence[Item]) -> None:
        """Publish these in the background; call right after the commit that claimed them."""
        if items:
            urgent_first = sorted(items, key=lambda one: one.lane is not Lane.URGENT)
            task = asyncio.ensure_future(self._hand_over(urgent_first))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _hand_over(self, items: Sequence[Item]) -> None:
        messages = [
            Outgoing(
                self._channels.queue(one.recipient, one.lane), one.raw, one.kind, str(one.delivery)
            )
            for one in items
        ]
        try:
            confirmed = await self._publisher.publish_many(messages)
        except QueueUnavailable as error:
            self._hub.publishing = error
            logger().warning("relay:queue-unavailable", code=error.code)
            await self._give_back([one.delivery for one in items])
            return
        for one in items:
            if str(one.delivery) in confirmed:
                self._published(one)

    async def _give_back(self, claimed: Sequence[int]) -> None:
        try:
            async with self._hub.database.begin() as connection:
                await deliveries.give_back(connection, claimed, self._hub.clock.now())
        except (Unavailable, DBAPIError) as error:
            # They are due when their lease is over.
            logger().warning("relay:later", code=getattr(error, "code", type(error).__name__))

    async def aclose(self) -> None:
        """What is under way is left to its lease."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
