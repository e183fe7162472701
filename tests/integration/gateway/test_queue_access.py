"""A gateway's RabbitMQ password is changed under way: it fetches the next, and misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aio_pika
import pytest
from aiormq.exceptions import ProbableAuthenticationError
from sqlalchemy import select

from broker.amqp import Administration, Cluster
from broker.cli.homes.hub import AmqpPlace, amqp_definitions, renew_queue_access
from broker.gateway.receive.queue import Queue
from broker.gateway.store.tables import inbox, outbox, seen
from tests.support.gateways import Side, World, world
from tests.support.services import RabbitMQ
from tests.support.waiting import until

PATIENCE = 60.0


def place(rabbitmq: RabbitMQ, *, administered: bool) -> AmqpPlace:
    parts = urlsplit(rabbitmq.url)
    return AmqpPlace(
        host=str(parts.hostname),
        port=rabbitmq.port,
        user=str(parts.username),
        password=str(parts.password),
        vhost=unquote(parts.path[1:]),
        management_url=rabbitmq.management_url if administered else None,
    )


async def import_definitions(made: World, rabbitmq: RabbitMQ) -> None:
    """As an operator whose hub may not administer RabbitMQ does."""
    document = await amqp_definitions(made.network.hub.settings_file)
    administration = Administration(
        str(rabbitmq.management_url), user=rabbitmq.user, password=rabbitmq.password
    )
    try:
        await administration.apply(document)
    finally:
        await administration.close()


def access(channel: Queue) -> Cluster:
    return channel._consumers[0]._cluster


@contextlib.asynccontextmanager
async def consuming(side: Side) -> AsyncIterator[Queue]:
    channel = side.gateway.channel
    assert isinstance(channel, Queue)
    following = asyncio.create_task(channel.run())
    try:
        await until("both queues to be consumed", lambda: channel.connected, seconds=PATIENCE)
        yield channel
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class Traffic:
    """Referrals from Italy, one after the other, whatever becomes of RabbitMQ."""

    def __init__(self, it: Side, al: Side, grant: UUID) -> None:
        self._it, self._al, self._grant = it, al, grant
        self.sent: list[UUID] = []
        self.enough = False

    async def run(self) -> None:
        while not self.enough:
            await self.send()

    async def send(self) -> None:
        self.sent.append((await self._it.refer("al.nrm", self._grant)).id)
        await self._it.push()
        await self._al.push()

    async def came(self) -> list[UUID]:
        async with self._al.gateway.core.database.read() as connection:
            found = await connection.scalars(
                select(inbox.c.id).where(inbox.c.type == "referral.request")
            )
            return list(found)

    async def all_came(self) -> None:
        async def there() -> bool:
            return set(self.sent) <= set(await self.came())

        await until("what was sent", there, seconds=PATIENCE)


@pytest.mark.parametrize("administered", [True, False], ids=["closed", "refused-next-time"])
async def test_a_gateway_whose_password_is_changed_fetches_the_next_and_loses_and_doubles_nothing(
    tmp_path: Path, rabbitmq: RabbitMQ, *, administered: bool
) -> None:
    async with world(tmp_path, amqp=place(rabbitmq, administered=administered)) as two:
        it, al = two["it.nrm"], two["al.nrm"]
        if not administered:
            await import_definitions(two, rabbitmq)
        grant = await it.consent("al.nrm")
        async with consuming(al) as channel:
            traffic = Traffic(it, al, grant)
            await traffic.send()
            await traffic.all_came()
            before = access(channel)
            pressing = asyncio.create_task(traffic.run())

            settings = two.network.hub.settings_file
            assert await renew_queue_access(settings, "al.nrm") is administered
            if not administered:
                # RabbitMQ lets those stay who are in, and they go on as before.
                await import_definitions(two, rabbitmq)
                reached = len(traffic.sent)
                await until("traffic", lambda: len(traffic.sent) > reached, seconds=PATIENCE)
                await traffic.all_came()
                assert access(channel) == before
                drop = ("close_all_user_connections", before.user, "maintenance")
                await asyncio.to_thread(rabbitmq.ctl, *drop)
            await until(
                "another access",
                lambda: access(channel) != before and channel.connected,
                seconds=PATIENCE,
            )

            reached = len(traffic.sent)
            await until("more traffic", lambda: len(traffic.sent) > reached + 3, seconds=PATIENCE)
            traffic.enough = True
            await pressing
            await traffic.all_came()

        async with it.gateway.core.database.read() as connection:
            stored = list(
                await connection.scalars(
                    select(outbox.c.id).where(outbox.c.type == "referral.request")
                )
            )
        assert sorted(await traffic.came()) == sorted(stored)
        async with al.gateway.core.database.read() as connection:
            outcomes = await connection.scalars(select(seen.c.outcome).where(seen.c.id.in_(stored)))
            assert sorted(set(outcomes)) == ["delivered"]
        with pytest.raises(ProbableAuthenticationError):
            await aio_pika.connect(before.url(before.nodes[0]))
