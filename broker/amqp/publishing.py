"""Publishing with confirms, many messages in one round."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq import Channel
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic
from pamqp.common import FieldValue

from broker.amqp.link import LOST, Cluster, Link, first, gone
from broker.amqp.topology import QueueSpec, topology
from broker.telemetry import logger
from schemas.errors import QueueUnavailable

CONTENT_TYPE = "application/jose+json"
PERSISTENT = 2

FIRST_TOLERANCE, LAST_TOLERANCE = 2.0, 60.0
"""Seconds for which a queue may refuse everything before another channel is tried."""
NEW_QUEUE_SETTLES = timedelta(seconds=4)
"""How long a queue that was just created is not used. RabbitMQ 3.10 writes the entry that leads to
a quorum queue's log up to three seconds late: killed within them, it loses what it had confirmed,
and the queue never confirms again (seen; a kill after four seconds is harmless)."""


class Outgoing(NamedTuple):
    """One message to one queue. `message_id` must be unique within a call of `publish_many`."""

    queue: str
    body: bytes
    type: str
    message_id: str


class Publisher(Link):
    """Publishes with confirms; queues that it was given exist again after every reconnection."""

    purpose = "publisher"

    def __init__(
        self,
        cluster: Cluster,
        *,
        queues: Sequence[QueueSpec] = (),
        settle: timedelta = NEW_QUEUE_SETTLES,
    ) -> None:
        super().__init__(cluster)
        self._settle = settle
        self._queues: dict[str, QueueSpec] = {queue.name: queue for queue in topology(queues)}
        self._ready: Channel | None = None
        self._changed = asyncio.Event()
        self._given_up = asyncio.Event()
        self._refusing: dict[str, float] = {}
        """Since when a queue confirms nothing on this channel."""
        self._tolerated = FIRST_TOLERANCE
        self.connections = 0
        """How often it was connected, its queues there: another number, perhaps another RabbitMQ."""

    @property
    def is_connected(self) -> bool:
        return self._ready is not None

    async def declare(self, queues: Sequence[QueueSpec], *, patience: float = 5) -> None:
        """Make sure that these queues exist, now and after every reconnection.

        Raises:
            QueueUnavailable: No connection, or a queue exists with other arguments.
        """
        new = [queue for queue in topology(queues) if self._queues.get(queue.name) != queue]
        if not new:
            return
        channel = await self._connected(patience)
        try:
            async with asyncio.timeout(patience + self._settle.total_seconds()):
                await self._create(channel, new)
        except ChannelPreconditionFailed as error:
            raise QueueUnavailable("a queue exists with other arguments") from error
        except LOST as error:
            raise QueueUnavailable("lost while declaring") from error
        self._queues.update({queue.name: queue for queue in new})

    async def publish_many(
        self, messages: Sequence[Outgoing | tuple[str, bytes, str, str]], *, patience: float = 15
    ) -> set[str]:
        """Publish, and wait until each is confirmed, refused or lost.

        Args:
            messages: Sent in this order over one channel, all before the first confirm is awaited.
            patience: Seconds for everything, the wait for a connection included.

        Returns:
            The ids that are safely in their queues. The others may or may not be: publish them
            again, and let the receiver's inbox drop the repetition.

        Raises:
            QueueUnavailable: None was confirmed: no connection, or every queue is full or missing.
        """
        if not messages:
            return set()
        deadline = time.monotonic() + patience
        channel = await self._connected(patience)
        sent = [Outgoing(*message) for message in messages]
        outcomes = await _outcomes(channel, sent, deadline - time.monotonic())
        confirmed = {
            message.message_id
            for message, error in zip(sent, outcomes, strict=True)
            if error is None
        }
        reasons = {type(error).__name__ for error in outcomes if error is not None}
        self._note(sent, confirmed, channel)
        if len(confirmed) < len(messages):
            unconfirmed = len(messages) - len(confirmed)
            logger().warning(
                "queue:unconfirmed", count=unconfirmed, error=",".join(sorted(reasons))
            )
        if not confirmed:
            if any(isinstance(error, TimeoutError) for error in outcomes):
                # Seen after a broker was killed: connected, accepted, and never confirmed.
                self._give_up(channel)
            raise QueueUnavailable("nothing was confirmed", where=tuple(sorted(reasons)))
        return confirmed

    async def _serve(self, channel: Channel) -> None:
        await self._create(channel, self._queues.values())
        self._ready = channel
        self.connections += 1
        self._announce()
        try:
            await first(gone(channel), self._stopping.wait(), self._given_up.wait())
        finally:
            self._ready = None
            self._given_up.clear()
            self._refusing.clear()

    async def _create(self, channel: Channel, queues: Iterable[QueueSpec]) -> None:
        queues = tuple(queues)
        missing = await _missing(channel.connection, queues)
        for queue in queues:
            arguments: dict[str, FieldValue] = {**queue.arguments()}
            await channel.queue_declare(queue.name, durable=True, arguments=arguments)
        if missing:
            await asyncio.sleep(self._settle.total_seconds())

    async def _connected(self, patience: float) -> Channel:
        if self._ready is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while self._ready is None:
                        await self._changed.wait()
        if self._ready is None:
            raise QueueUnavailable("no connection")
        return self._ready

    def _note(self, sent: Iterable[Outgoing], confirmed: set[str], channel: Channel) -> None:
        """Give up a channel on which a queue refuses everything, soon at first and then less often.

        A full queue refuses everybody. But one whose leader died refuses, for good, the channel
        that first published before the next leader was known (RabbitMQ 3.10), and no other.
        """
        now, longest = time.monotonic(), 0.0
        good = {message.queue for message in sent if message.message_id in confirmed}
        for queue in {message.queue for message in sent}:
            if queue not in good:
                longest = max(longest, now - self._refusing.setdefault(queue, now))
            elif self._refusing.pop(queue, None) is not None:
                self._tolerated = FIRST_TOLERANCE
        if longest > self._tolerated:
            self._tolerated = min(2 * self._tolerated, LAST_TOLERANCE)
            self._give_up(channel)

    def _give_up(self, channel: Channel) -> None:
        if self._ready is channel:
            self._ready = None
            self._given_up.set()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _missing(connection: AbstractConnection, queues: Iterable[QueueSpec]) -> set[str]:
    """The names that do not exist yet. Asking for one closes the channel, so it is not ours."""
    missing: set[str] = set()
    channel: AbstractChannel | None = None
    for queue in queues:
        if channel is None:
            channel = await connection.channel(publisher_confirms=False)
        try:
            await channel.queue_declare(queue.name, passive=True)
        except ChannelNotFoundEntity:
            missing.add(queue.name)
            channel = None
    if channel is not None:
        await channel.close()
    return missing


async def _outcomes(
    channel: Channel, messages: Sequence[Outgoing], patience: float
) -> list[Exception | None]:
    """What went wrong with each, if anything did; `TimeoutError` without a confirm in time."""
    if len(messages) == 1:  # in the caller's task, so that it leaves at once
        return [await _outcome(channel, messages[0], patience)]
    return await asyncio.gather(*(_outcome(channel, message, patience) for message in messages))


async def _outcome(channel: Channel, message: Outgoing, patience: float) -> Exception | None:
    try:
        async with asyncio.timeout(max(0.0, patience)):
            await _publish(channel, message)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return ConnectionError("the channel ended")  # which cancels what waits for its confirms
    except Exception as error:
        return error
    return None


async def _publish(channel: Channel, message: Outgoing) -> None:
    await channel.basic_publish(
        message.body,
        routing_key=message.queue,
        properties=Basic.Properties(
            content_type=CONTENT_TYPE,
            delivery_mode=PERSISTENT,
            message_type=message.type,
            message_id=message.message_id,
        ),
        # To the default exchange a missing queue would be silence; now it is an error.
        mandatory=True,
        wait=False,
    )
