"""The RabbitMQ channel: for servers. The same envelopes, the same pipeline, acknowledged after commit.

On connecting the urgent queue is consumed first; when it has been quiet for a moment the withdrawals
since the last visit are asked for, and only then the routine queue is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from broker.amqp import Cluster, Consumer, Delivery, Pace, Verdict
from broker.client import QueueChannel
from broker.gateway.core import Core
from broker.gateway.receive.receiver import Incoming, Outcome, Receiver
from broker.gateway.settings import Settings
from broker.telemetry import logger
from keys.unsealing import Keyring, open_access
from schemas.envelope import Lane
from schemas.errors import BrokerError, CustodyLocked, QueueUnavailable, Unavailable

QUIET = timedelta(milliseconds=500)
"""How long the urgent queue must bring nothing before it counts as drained."""
LONGEST_DRAIN = timedelta(seconds=30)
"""Under steady urgent traffic the routine lane opens all the same."""
ASK_AGAIN = timedelta(seconds=2)
"""How often a gateway that RabbitMQ does not let in asks the hub for its password."""
_VERDICTS = {
    Outcome.DONE: Verdict.ACK,
    Outcome.LATER: Verdict.RETRY,
    Outcome.EARLY: Verdict.RETRY,
    Outcome.QUARANTINED: Verdict.QUARANTINE,
}


def cluster_of(channel: QueueChannel, settings: Settings, keyring: Keyring) -> Cluster:
    """Where our queues are, and our access to them as the hub sealed it to us.

    Raises:
        CustodyLocked: The hub knows no key of ours to seal it to.
        CannotOpen, SuiteRefused: See `open_access`.
    """
    if channel.access is None:
        raise CustodyLocked("the directory shows no sealing key of ours")
    ca = settings.channel.ca
    return Cluster(
        nodes=channel.hosts,
        user=channel.user,
        password=open_access(channel.access, settings.participant, channel.user, keyring),
        vhost=channel.vhost,
        ca=None if ca is None else settings.path(ca),
    )


class Queue:
    """Follows the participant's two queues."""

    def __init__(self, core: Core, receiver: Receiver) -> None:
        self._core = core
        self._receiver = receiver
        self._last = 0.0
        self._consumers: list[Consumer] = []

    @property
    def connected(self) -> bool:
        """True if the broker confirms that it counts us, on both queues."""
        return len(self._consumers) == len(Lane) and all(
            consumer.is_consuming() for consumer in self._consumers
        )

    async def run(self) -> None:
        """Follow for ever. Connections are supervised by the consumers themselves."""
        while True:
            channel, cluster = await self._ask()
            await self._follow(channel, cluster)
            logger().info("queue:access-renewed")

    async def _follow(self, channel: QueueChannel, cluster: Cluster) -> None:
        """Consume both queues until the hub hands out another access than this one."""
        pace = Pace(batch=self._core.settings.channel.page)
        urgent = Consumer(cluster, channel.queues[Lane.URGENT], self._handle, pace=pace)
        routine = Consumer(cluster, channel.queues[Lane.ROUTINE], self._handle, pace=pace)
        self._consumers = [urgent]
        async with urgent:
            await self._drained()
            await self._withdrawals()
            self._consumers.append(routine)
            async with routine:
                await self._every(cluster)

    async def _ask(self) -> tuple[QueueChannel, Cluster]:
        """Where our queues are; asked until the hub says, because nothing works without it."""
        while True:
            try:
                channels = await self._core.hub.channels("amqp")
                if channels.rabbitmq is not None:
                    core = self._core
                    found = cluster_of(channels.rabbitmq, core.settings, core.custody)
                    return channels.rabbitmq, found
                raise QueueUnavailable("the hub offers no RabbitMQ")
            except BrokerError as error:
                logger().warning("queue:away", code=error.code)
                await asyncio.sleep(2.0)

    async def _handle(self, deliveries: list[Delivery]) -> Sequence[Verdict]:
        self._last = asyncio.get_running_loop().time()
        items = [Incoming(delivery.type, delivery.body) for delivery in deliveries]
        outcomes = await self._receiver.receive(items, "rabbitmq")
        if all(outcome is Outcome.LATER for outcome in outcomes):
            # Nothing is wrong with the messages: hold them without counting it as a delivery.
            raise Unavailable("nothing could be received just now")
        return [_VERDICTS[outcome] for outcome in outcomes]

    async def _drained(self) -> None:
        loop = asyncio.get_running_loop()
        start = self._last = loop.time()
        while loop.time() - self._last < QUIET.total_seconds():
            if loop.time() - start > LONGEST_DRAIN.total_seconds():
                return
            await asyncio.sleep(0.05)

    async def _withdrawals(self) -> None:
        while True:
            try:
                await self._receiver.follow_withdrawals()
            except Unavailable as error:
                logger().warning("queue:withdrawals-wait", code=error.code)
                await asyncio.sleep(1.0)
            else:
                return

    async def _every(self, cluster: Cluster) -> None:
        """Ask for withdrawals; while RabbitMQ does not let us in, for another password too."""
        loop = asyncio.get_running_loop()
        pause = self._core.settings.receive.consent_fresh.total_seconds() / 2
        asked = loop.time()
        while True:
            await asyncio.sleep(min(pause, ASK_AGAIN.total_seconds()))
            if loop.time() - asked >= pause:
                await self._withdrawals()
                asked = loop.time()
            # Being turned away is known at once, silence only after several watches.
            shut = any(consumer.is_turned_away for consumer in self._consumers)
            if (shut or not self.connected) and (await self._ask())[1] != cluster:
                return
