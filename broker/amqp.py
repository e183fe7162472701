"""RabbitMQ: queues as data, publishing with confirms, and a consumer that really consumes.

Connections are plain, and supervised here: one loop per connection walks the list of nodes with a
short, capped pause. The client library's own recovery is not used, since after a broker was killed
it can look connected and deliver nothing for good. For the same reason a consumer regularly asks
the broker whether it still counts as one, instead of assuming it.

What is promised: a message is confirmed only when a majority of the queue's replicas has it on
disk, and a delivery is acknowledged only after its handler is done. So a message may come twice,
and is never lost between the two.

Everything that RabbitMQ needs to know is in queue arguments; no policies are required. Works with
RabbitMQ 3.10 to 4.x.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import re
import secrets
import ssl
import time
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import aio_pika
import httpx2
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelPreconditionFailed
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from yarl import URL

from broker.telemetry import logger
from schemas.errors import QueueUnavailable, Unavailable

QUARANTINE = "quarantine"
"""Where a message goes that its consumer rejects, or that was delivered too often."""

DELIVERY_LIMIT = 20
"""Deliveries before quarantine; the default of RabbitMQ 4, said explicitly for 3.x."""

CONTENT_TYPE = "application/jose+json"
PERSISTENT = 2

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between two walks over the nodes. Short: a restarted broker should not wait for us."""

CONNECT_PATIENCE = 5.0
HEARTBEAT_SECONDS = 10
"""A silent peer is given up after three of these."""

# What the client library lets through when a connection or channel dies under a call.
LOST = (*CONNECTION_EXCEPTIONS, TimeoutError)


# --- topology, as data -----------------------------------------------------------------------


@dataclass(frozen=True)
class QueueSpec:
    """A durable quorum queue whose rejected messages reach the quarantine at least once.

    At-least-once dead-lettering is only honoured together with `reject-publish`: a full queue
    refuses new messages, it never drops old ones.
    """

    name: str
    delivery_limit: int = DELIVERY_LIMIT
    max_length: int | None = None
    """Messages that may wait; beyond it the publisher gets no confirm."""

    quarantine: str = QUARANTINE

    def arguments(self) -> dict[str, str | int]:
        """The queue arguments; they cannot be changed on an existing queue."""
        arguments: dict[str, str | int] = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-delivery-limit": self.delivery_limit,
        }
        if self.name != self.quarantine:
            arguments |= {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.quarantine,
                "x-dead-letter-strategy": "at-least-once",
            }
        if self.max_length is not None:
            arguments["x-max-length"] = self.max_length
        return arguments


def quarantine_queue(name: str = QUARANTINE) -> QueueSpec:
    """The quarantine itself: looking at a message there must never make it vanish."""
    return QueueSpec(name, delivery_limit=1_000_000, quarantine=name)


def topology(queues: Sequence[QueueSpec]) -> tuple[QueueSpec, ...]:
    """The queues and the quarantines that they need, quarantines first, each once."""
    needed: OrderedDict[str, QueueSpec] = OrderedDict()
    for queue in queues:
        needed.setdefault(queue.quarantine, quarantine_queue(queue.quarantine))
    for queue in queues:
        needed[queue.name] = queue
    return tuple(needed.values())


@dataclass(frozen=True)
class Reader:
    """A RabbitMQ user that can read its own queues and do nothing else."""

    name: str
    password: str = field(repr=False)
    queues: tuple[str, ...]


def definitions(
    queues: Sequence[QueueSpec], *, readers: Sequence[Reader] = (), vhost: str = "/"
) -> dict[str, object]:
    """RabbitMQ's definitions document for these queues and readers."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": reader.name,
                "password_hash": _password_hash(reader.password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for reader in readers
        ],
        "permissions": [
            {
                "user": reader.name,
                "vhost": vhost,
                "configure": "^$",
                "write": "^$",
                "read": f"^({'|'.join(re.escape(name) for name in reader.queues)})$",
            }
            for reader in readers
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.arguments(),
            }
            for queue in topology(queues)
        ],
    }


def _password_hash(password: str) -> str:
    # RabbitMQ's salted SHA-256. Our passwords are 18 random bytes, so a fast hash is enough.
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


# --- where and how to connect ----------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """The nodes of one RabbitMQ, and who we are to it. With `ca`, TLS and nothing else."""

    nodes: tuple[str, ...]
    """`host:port`, tried in order, then again."""

    user: str
    password: str = field(repr=False)
    vhost: str = "/"
    ca: Path | None = None

    @classmethod
    def from_url(cls, url: str, *, ca: Path | None = None) -> Self:
        """From `amqp://user:password@host:port/vhost`; `amqps` needs `ca`."""
        parts = urlsplit(url)
        if parts.scheme == "amqps" and ca is None:
            raise ValueError("amqps needs the file of the authority that signed the server")
        return cls(
            nodes=(f"{parts.hostname}:{parts.port or (5671 if ca else 5672)}",),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            vhost=unquote(parts.path[1:]) or "/",
            ca=ca,
        )

    def url(self, node: str) -> URL:
        host, _, port = node.rpartition(":")
        return URL.build(
            scheme="amqps" if self.ca else "amqp",
            user=self.user,
            password=self.password,
            host=host.strip("[]"),
            port=int(port),
            path="/" + self.vhost.replace("/", "%2F"),
            query={"heartbeat": str(HEARTBEAT_SECONDS)},
            encoded=False,
        )

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=str(self.ca)) if self.ca else None


class _Link:
    """One supervised connection with one channel; what it is for, its subclasses say.

    `start` begins the supervision and returns at once, whether or not RabbitMQ answers.
    """

    purpose = "link"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tls = cluster.tls()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._node = 0

    @abstractmethod
    async def _serve(self, channel: Channel) -> None:
        """Use the channel until it is lost or the link is stopping."""

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"amqp:{self.purpose}")

    async def stop(self) -> None:
        """End in order: what is in hand is finished, what was not acknowledged goes back."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CONNECT_PATIENCE)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def _supervise(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                async with self._channel() as channel:
                    failures = 0
                    logger().info("queue:connected", kind=self.purpose)
                    await self._serve(channel)
            except LOST as error:
                logger().warning("queue:lost", kind=self.purpose, error=type(error).__name__)
            except asyncio.CancelledError:
                # The library cancels who waits on a dying channel; only our own stop is meant.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                logger().warning("queue:lost", kind=self.purpose, error="Cancelled")
            except Exception as error:
                # A bug in one session must not end the supervision; it is loud in the log.
                logger().error("queue:bug", kind=self.purpose, exc_info=error)
            failures += 1
            self._node += 1
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        nodes = len(self._cluster.nodes)
        if failures < nodes:  # the next node may well answer, so try it at once
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - nodes, 10))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 (spreads reconnections, no secret)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[Channel]:
        node = self._cluster.nodes[self._node % len(self._cluster.nodes)]
        connection = aio_pika.Connection(self._cluster.url(node), ssl_context=self._tls)
        try:
            async with asyncio.timeout(CONNECT_PATIENCE):
                await connection.connect()
                channel = connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize()
                raw = await channel.get_underlay_channel()
            if not isinstance(raw, Channel):
                raise TypeError("not the channel that this module was written for")
            yield raw
        finally:
            with contextlib.suppress(*LOST):
                async with asyncio.timeout(CONNECT_PATIENCE):
                    await connection.close()


async def _gone(channel: Channel) -> None:
    """Return when the channel or its connection is closed, for whatever reason."""
    await asyncio.wait([channel.closing, channel.connection.closing], return_when="FIRST_COMPLETED")


async def _declare(channel: Channel, queues: Iterable[QueueSpec]) -> None:
    for queue in queues:
        await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments()))


# --- publishing ------------------------------------------------------------------------------


class Outgoing(NamedTuple):
    """One message to one queue. `message_id` must be unique within a call of `publish_many`."""

    queue: str
    body: bytes
    type: str
    message_id: str


class Publisher(_Link):
    """Publishes with confirms; queues that it was given exist again after every reconnection."""

    purpose = "publisher"

    def __init__(self, cluster: Cluster, *, queues: Sequence[QueueSpec] = ()) -> None:
        super().__init__(cluster)
        self._queues: dict[str, QueueSpec] = {queue.name: queue for queue in topology(queues)}
        self._ready: Channel | None = None
        self._changed = asyncio.Event()

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
            async with asyncio.timeout(patience):
                await _declare(channel, new)
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
        tasks = {
            asyncio.ensure_future(_publish(channel, Outgoing(*message))): message[3]
            for message in messages
        }
        try:
            await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
        finally:
            for task in tasks:
                task.cancel()
        confirmed: set[str] = set()
        reasons: set[str] = set()
        for task, outcome in zip(
            tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True
        ):
            if isinstance(outcome, BaseException):
                reasons.add(type(outcome).__name__)
            else:
                confirmed.add(tasks[task])
        if len(confirmed) < len(messages):
            unconfirmed = len(messages) - len(confirmed)
            logger().warning(
                "queue:unconfirmed", count=unconfirmed, error=",".join(sorted(reasons))
            )
        if not confirmed:
            raise QueueUnavailable("nothing was confirmed", where=tuple(sorted(reasons)))
        return confirmed

    async def _serve(self, channel: Channel) -> None:
        await _declare(channel, self._queues.values())
        self._ready = channel
        self._announce()
        try:
            gone = asyncio.ensure_future(_gone(channel))
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait([gone, stopping], return_when="FIRST_COMPLETED")
            gone.cancel()
            stopping.cancel()
        finally:
            self._ready = None

    async def _connected(self, patience: float) -> Channel:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._ready is None:
                    await self._changed.wait()
        if self._ready is None:
            raise QueueUnavailable("no connection")
        return self._ready

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


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


# --- consuming -------------------------------------------------------------------------------


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
    """Pause before a RETRY goes back, and before an unavailable handler is asked again; doubles up
    to `retry_at_most`."""

    retry_at_most: timedelta = timedelta(seconds=10)


class Consumer(_Link):
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
        endings = {
            asyncio.ensure_future(ending)
            for ending in (
                _gone(channel),
                session.over.wait(),
                self._watch(channel, session),
                self._stopping.wait(),
            )
        }
        work = asyncio.ensure_future(self._work(channel, session))
        try:
            await asyncio.wait({work, *endings}, return_when="FIRST_COMPLETED")
            if self._stopping.is_set() and tag is not None:
                with contextlib.suppress(*LOST):
                    await channel.basic_cancel(tag, timeout=CONNECT_PATIENCE)
        finally:
            self._proven_at = None
            session.end()
            for ending in endings:
                ending.cancel()
            results = await asyncio.gather(*endings, return_exceptions=True)
            # The batch in hand is finished: its handler may be in the middle of a commit.
            await work
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _work(self, channel: Channel, session: _Session) -> None:
        while batch := await session.next_batch(self._pace.batch):
            verdicts = await self._judge(batch, session)
            if verdicts is None:
                return
            with contextlib.suppress(*LOST):
                await self._settle(channel, batch, verdicts)

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
        self, channel: Channel, batch: list[Delivery], verdicts: list[Verdict]
    ) -> None:
        retry = [d for d, v in zip(batch, verdicts, strict=True) if v is Verdict.RETRY]
        for delivery, verdict in zip(batch, verdicts, strict=True):
            if verdict is Verdict.QUARANTINE:
                logger().warning("queue:quarantined", queue=self.queue)
                await channel.basic_reject(delivery.tag, requeue=False, wait=False)
        if retry:
            worst = max(self._attempts.get(d.message_id, 1) for d in retry)
            pause = self._pace.retry_after * 2 ** min(worst - 1, 10)
            await asyncio.sleep(min(pause, self._pace.retry_at_most).total_seconds())
            for delivery in retry:
                await channel.basic_reject(delivery.tag, requeue=True, wait=False)
        done = [d.tag for d, v in zip(batch, verdicts, strict=True) if v is Verdict.ACK]
        if done:
            # Everything below was settled before or just above, so one `multiple` says it all.
            await channel.basic_ack(max(done), multiple=True, wait=True)

    async def _watch(self, channel: Channel, session: _Session) -> None:
        """End the session when the broker does not answer, does not count us, or sends nothing.

        A passive declaration makes the round trip, on the consumer's own channel.
        """
        every = self._pace.watch_every.total_seconds()
        starving = 0
        while True:
            await asyncio.sleep(every)
            seen = session.seen
            answer = await channel.queue_declare(self.queue, passive=True, timeout=3 * every)
            if not answer.consumer_count:
                raise ConnectionError("the broker does not count us as a consumer")
            waiting, idle = bool(answer.message_count), session.is_idle and session.seen == seen
            starving = starving + 1 if waiting and idle else 0
            if starving >= 2:
                raise ConnectionError("messages wait and none is delivered")
            self._proven_at = time.monotonic()


class _Session:
    """What one life of a consumer's channel has received and not yet handed on."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._incoming: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._busy = False
        self.over = asyncio.Event()
        self.seen = 0

    @property
    def is_idle(self) -> bool:
        return not self._busy and self._incoming.empty()

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
        first = await self._incoming.get()
        self._busy = True
        batch: list[Delivery] = []
        while first is not None and not self.over.is_set():
            batch.append(first)
            if len(batch) >= limit or self._incoming.empty():
                return batch
            first = self._incoming.get_nowait()
        return []


# --- administration --------------------------------------------------------------------------


class Administration:
    """RabbitMQ's HTTP API, for the few things that AMQP cannot do: users and their rights."""

    def __init__(self, url: str, *, user: str, password: str, ca: Path | None = None) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url,
            auth=(user, password),
            verify=ssl.create_default_context(cafile=str(ca)) if ca else True,
            timeout=CONNECT_PATIENCE,
            trust_env=False,
        )

    async def apply(self, document: Mapping[str, object]) -> None:
        """Add or update what `definitions` describes; nothing is removed."""
        await self._send("POST", "/api/definitions", document)

    async def remove_user(self, name: str) -> None:
        """Remove a user and cut its connections; no error if there is none."""
        await self._send("DELETE", f"/api/users/{name}", None, also=frozenset({404}))

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        document: Mapping[str, object] | None,
        *,
        also: frozenset[int] = frozenset(),
    ) -> None:
        try:
            answer = await self._client.request(method, path, json=document)
        except (httpx2.HTTPError, OSError) as error:
            raise QueueUnavailable("the management API cannot be reached") from error
        if answer.status_code >= 300 and answer.status_code not in also:
            raise QueueUnavailable(f"the management API answered {answer.status_code}")
