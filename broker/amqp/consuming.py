"""A consumer that really consumes: batches in, verdicts out, one acknowledgement for many."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from broker.amqp.link import CONNECT_PATIENCE, LOST, Cluster, Link, first, gone
from broker.amqp.topology import DELIVERY_LIMIT
from broker.telemetry import logger
from schemas.errors import Unavailable


class Verdict(Enum):
    """What the handler says about one delivery."""

    ACK = "ack"
    """Done and durable, or known already."""

    RETRY = "retry"
    """Bring it again later; counts towards the delivery limit."""

    QUARANTINE = "quarantine"
    """Never again; a person must look."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came from the queue."""

    body: bytes
    type: str
    message_id: str
    queue: str
    redelivered: bool
    tag: int = field(repr=False)


Handler = Callable[[list[Delivery]], Awaitable[Sequence[Verdict]]]


@dataclass(frozen=True)
class Pace:
    """How a consumer takes and checks."""

    prefetch: int = 200
    batch: int = 100
    """At most so many deliveries in one call of the handler; at least one, without waiting."""

    watch_every: timedelta = timedelta(seconds=5)
    retry_after: timedelta = timedelta(milliseconds=500)
    """Pause before a RETRY goes back, while others go on, and before an unavailable handler is asked
    again, while all wait; doubles up to `retry_at_most`."""

    retry_at_most: timedelta = timedelta(seconds=10)
    renew_at_most: timedelta = timedelta(seconds=60)
    """A consumer that is given nothing for this long makes a new channel. The first time it waits
    for one `watch_every` only, then doubles."""


class Consumer(Link):
    """Hands batches to a handler and settles what it says, one batch at a time.

    The handler may be given a message again at any time: after a lost connection, or a crash
    between its commit and our acknowledgement. If it raises `Unavailable`, the batch is kept and
    offered again after a pause, without counting as a delivery. If it raises anything else, the
    batch is offered message by message, and the one that fails goes towards the delivery limit and
    then to quarantine, so that one poisoned message does not hold up the rest.
    """

    purpose = "consumer"

    def __init__(
        self, cluster: Cluster, queue: str, handler: Handler, *, pace: Pace | None = None
    ) -> None:
        super().__init__(cluster)
        self.queue = queue
        self._handler = handler
        self._pace = pace or Pace()
        self._proven_at: float | None = None
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._renewals = 0

    def is_consuming(self) -> bool:
        """Whether the broker confirmed within the last three watches that it counts us."""
        limit = 3 * self._pace.watch_every.total_seconds() + CONNECT_PATIENCE
        return self._proven_at is not None and time.monotonic() - self._proven_at < limit

    async def _serve(self, channel: Channel) -> None:
        session = _Session(channel)
        await channel.basic_qos(prefetch_count=self._pace.prefetch)
        channel.on_consumer_cancel_callbacks.add(session.cancelled)
        tag = (await channel.basic_consume(self.queue, session.arrived)).consumer_tag
        self._proven_at = time.monotonic()
        work = asyncio.ensure_future(self._work(channel, session))
        try:
            await first(
                gone(channel),
                session.over.wait(),
                self._stopping.wait(),
                self._watch(channel, session),
                asyncio.wait([work]),
            )
            if self._stopping.is_set() and tag is not None:
                with contextlib.suppress(*LOST):
                    await channel.basic_cancel(tag, timeout=CONNECT_PATIENCE)
        finally:
            session.end()
            # The batch in hand is finished: its handler may be in the middle of a commit.
            await work

    async def _work(self, channel: Channel, session: _Session) -> None:
        while batch := await session.next_batch(self._pace.batch):
            verdicts = await self._judge(batch, session)
            if verdicts is None:
                return
            with contextlib.suppress(*LOST):
                await self._settle(channel, session, batch, verdicts)

    async def _judge(self, batch: list[Delivery], session: _Session) -> list[Verdict] | None:
        """The handler's verdicts; None if the session ended while the handler was unavailable."""
        pause = self._pace.retry_after
        while True:
            try:
                verdicts = list(await self._handler(batch))
                if len(verdicts) != len(batch):
                    raise ValueError("one verdict for each delivery")
                break
            except Unavailable as error:
                logger().warning("queue:held", queue=self.queue, code=error.code, count=len(batch))
                if await session.ended_within(pause):
                    return None
                pause = min(pause * 2, self._pace.retry_at_most)
            except Exception as error:
                logger().error("queue:handler-failed", queue=self.queue, exc_info=error)
                if len(batch) == 1:
                    verdicts = [Verdict.RETRY]
                    break
                single: list[Verdict] = []
                for delivery in batch:
                    verdict = await self._judge([delivery], session)
                    if verdict is None:
                        return None
                    single += verdict
                return single
        return [self._limited(d, v) for d, v in zip(batch, verdicts, strict=True)]

    def _limited(self, delivery: Delivery, verdict: Verdict) -> Verdict:
        # Some versions of RabbitMQ do not count what is handed back on purpose; so we do too.
        if verdict is not Verdict.RETRY:
            self._attempts.pop(delivery.message_id, None)
            return verdict
        attempts = self._attempts.pop(delivery.message_id, 0) + 1
        self._attempts[delivery.message_id] = attempts
        while len(self._attempts) > 10_000:
            self._attempts.popitem(last=False)
        return Verdict.QUARANTINE if attempts > 2 * DELIVERY_LIMIT else Verdict.RETRY

    async def _settle(
        self,
        channel: Channel,
        session: _Session,
        batch: list[Delivery],
        verdicts: list[Verdict],
    ) -> None:
        retry = [d for d, v in zip(batch, verdicts, strict=True) if v is Verdict.RETRY]
        for delivery, verdict in zip(batch, verdicts, strict=True):
            if verdict is Verdict.QUARANTINE:
                logger().warning("queue:quarantined", queue=self.queue)
                await channel.basic_reject(delivery.tag, requeue=False, wait=False)
        if retry:
            worst = max(self._attempts.get(d.message_id, 1) for d in retry)
            pause = self._pace.retry_after * 2 ** min(worst - 1, 10)
            session.hand_back([d.tag for d in retry], min(pause, self._pace.retry_at_most))
        done = sorted(d.tag for d, v in zip(batch, verdicts, strict=True) if v is Verdict.ACK)
        held = session.first_held()
        below = [tag for tag in done if held is None or tag < held]
        for tag in done[len(below) :]:
            await channel.basic_ack(tag, wait=False)
        if below:
            # Everything below was settled before or just above, so one `multiple` says it all.
            await channel.basic_ack(below[-1], multiple=True, wait=True)

    async def _watch(self, channel: Channel, session: _Session) -> None:
        """End the session when the broker does not answer, does not count us, or sends nothing.

        A passive declaration makes the round trip, on the consumer's own channel. It cannot tell
        everything: a consumer that came while its queue was being created was seen to be counted,
        and to be given messages that never left the broker. A new channel gets those back, so an
        idle consumer makes one, soon at first and then ever less often.
        """
        every = self._pace.watch_every.total_seconds()
        while True:
            await asyncio.sleep(every)
            answer = await channel.queue_declare(self.queue, passive=True, timeout=3 * every)
            if not answer.consumer_count:
                raise ConnectionError("the broker does not count us as a consumer")
            idle = session.idle_seconds()
            if answer.message_count and idle > 2 * every:
                raise ConnectionError("messages wait and none is delivered")
            if session.seen:
                self._renewals = 0
            allowed = min(every * 2**self._renewals, self._pace.renew_at_most.total_seconds())
            if idle >= allowed:
                self._renewals = min(self._renewals + 1, 16)
                return
            self._proven_at = time.monotonic()


class _Session:
    """What one life of a consumer's channel has received and not yet handed on."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._incoming: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._busy = False
        self.over = asyncio.Event()
        self.seen = 0
        self._active_at = time.monotonic()
        self._held: set[int] = set()
        self._handing_back: set[asyncio.Task[None]] = set()

    def first_held(self) -> int | None:
        """The oldest delivery that is neither settled nor handed back yet."""
        return min(self._held, default=None)

    def hand_back(self, tags: list[int], pause: timedelta) -> None:
        """Give deliveries back after a pause that holds up no other. If the session ends before,
        the broker has them back anyway."""
        self._held.update(tags)
        task = asyncio.ensure_future(self._hand_back(tags, pause))
        self._handing_back.add(task)
        task.add_done_callback(self._handing_back.discard)

    async def _hand_back(self, tags: list[int], pause: timedelta) -> None:
        if await self.ended_within(pause):
            return
        with contextlib.suppress(*LOST):
            for tag in tags:
                await self._channel.basic_reject(tag, requeue=True, wait=False)
                self._held.discard(tag)

    def idle_seconds(self) -> float:
        """How long nothing came and nothing was in hand."""
        if self._busy or self._held or not self._incoming.empty():
            return 0
        return time.monotonic() - self._active_at

    async def arrived(self, message: DeliveredMessage) -> None:
        frame, properties = message.delivery, message.header.properties
        if not isinstance(frame, Basic.Deliver) or frame.delivery_tag is None:
            return
        self.seen += 1
        self._incoming.put_nowait(
            Delivery(
                body=message.body,
                type=properties.message_type or "",
                message_id=properties.message_id or "",
                queue=frame.routing_key or "",
                redelivered=bool(frame.redelivered),
                tag=frame.delivery_tag,
            )
        )

    async def cancelled(self, _frame: Basic.Cancel) -> None:
        """The broker ended our consumer, for instance since the queue moved or is gone."""
        self.end()

    def end(self) -> None:
        self.over.set()
        self._incoming.put_nowait(None)

    async def ended_within(self, pause: timedelta) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), pause.total_seconds())
        return self.over.is_set()

    async def next_batch(self, limit: int) -> list[Delivery]:
        """The oldest deliveries, at least one; empty when the session is over."""
        self._busy = False
        self._active_at = time.monotonic()
        first = await self._incoming.get()
        self._busy = True
        batch: list[Delivery] = []
        while first is not None and not self.over.is_set():
            batch.append(first)
            if len(batch) >= limit or self._incoming.empty():
                return batch
            first = self._incoming.get_nowait()
        return []
