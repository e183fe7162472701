"""Three RabbitMQ nodes, and the promise of a majority: one of them may die at any moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from broker.amqp import Cluster, Consumer, Delivery, Outgoing, Pace, Publisher, QueueSpec, Verdict
from schemas.errors import QueueUnavailable
from tests.support.services import RabbitMQ
from tests.support.waiting import until

QUICK = Pace(watch_every=timedelta(seconds=1), retry_after=timedelta(milliseconds=5))
STEP = 400


@pytest.fixture
def nodes() -> Iterator[list[RabbitMQ]]:
    with RabbitMQ.cluster(3) as nodes:
        yield nodes


async def test_a_node_of_three_that_dies_under_load_loses_nothing_and_stops_nobody(
    nodes: list[RabbitMQ],
) -> None:
    queue = QueueSpec(f"test.{uuid.uuid4().hex[:8]}")
    cluster = Cluster(
        nodes=tuple(f"{node.host}:{node.port}" for node in nodes),
        user=nodes[0].user,
        password=nodes[0].password,
    )
    confirmed, seen = set[str](), set[str]()

    async def receive(batch: Sequence[Delivery]) -> list[Verdict]:
        seen.update(delivery.message_id for delivery in batch)
        return [Verdict.ACK] * len(batch)

    async def load(publisher: Publisher) -> None:
        number = 0
        while True:
            ids = [str(number + n) for n in range(40)]
            batch = [Outgoing(queue.name, b"x" * 512, "envelope", one) for one in ids]
            try:
                confirmed.update(await publisher.publish_many(batch, patience=3))
                number += 40
            except QueueUnavailable:
                await asyncio.sleep(0.05)

    async def more() -> None:
        already = len(confirmed)
        await until("more confirms", lambda: len(confirmed) > already + STEP)

    async with (
        Publisher(cluster, queues=[queue]) as publisher,
        Consumer(cluster, queue.name, receive, pace=QUICK) as consumer,
    ):
        pressing = asyncio.create_task(load(publisher))
        await more()
        members = await asyncio.to_thread(
            nodes[1].ctl, "list_queues", "--silent", "name", "members", "online"
        )
        assert members.count(nodes[2].node) == 4, members  # quarantine and queue, both in both
        # First the one that both talk to and that leads the queue, then another one, which can be
        # done without only if the first has come back into its place.
        await asyncio.to_thread(nodes[0].kill9)
        await more()
        await asyncio.to_thread(nodes[0].start)
        await more()
        await asyncio.to_thread(nodes[1].kill9)
        await more()
        pressing.cancel()
        await until("what was confirmed", lambda: confirmed <= seen)
        await until("the consumer", consumer.is_consuming)
