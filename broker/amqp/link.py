"""One supervised connection: where RabbitMQ is, and staying connected to it.

The client library's own recovery is not used: after a broker was killed it can look connected and
deliver nothing for good. One loop per connection walks the list of nodes with a short, capped
pause, and each kind of link checks for itself that it does what it is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq import Channel
from aiormq.exceptions import ProbableAuthenticationError
from yarl import URL

from broker.telemetry import logger

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between two walks over the nodes. Short: a restarted broker should not wait for us."""

CONNECT_PATIENCE = 5.0
HEARTBEAT_SECONDS = 10
"""A silent peer is given up after three of these."""

# What the client library lets through when a connection or channel dies under a call.
LOST = (*CONNECTION_EXCEPTIONS, TimeoutError)


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


class Link:
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
        self._turned_away = False

    @property
    def is_turned_away(self) -> bool:
        """Whether a node has refused our name and password since we were last let in."""
        return self._turned_away

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
            began = time.monotonic()
            try:
                async with self._channel() as channel:
                    self._turned_away = False
                    logger().info("queue:connected", kind=self.purpose)
                    await self._serve(channel)
            except LOST as error:
                if isinstance(error, ProbableAuthenticationError):
                    self._turned_away = True
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
            # A connection that is lost at once counts as a failure too, or the pause never grows.
            failures = 1 if time.monotonic() - began > CONNECT_PATIENCE else failures + 1
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


async def first(*endings: Awaitable[object]) -> None:
    """Return when the first of these does, and cancel the others.

    Raises:
        Exception: What the first one raised.
    """
    tasks = [asyncio.ensure_future(ending) for ending in endings]
    try:
        done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def gone(channel: Channel) -> None:
    """Return when the channel or its connection is closed, for whatever reason."""
    await asyncio.wait([channel.closing, channel.connection.closing], return_when="FIRST_COMPLETED")
