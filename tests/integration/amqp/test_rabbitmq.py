"""Publishing and consuming on a real RabbitMQ, while it dies, hangs, fills up and is fed poison."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import Counter
from collections.abc import Sequence, Sized
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import aio_pika
import httpx2
import pytest

from broker.amqp import (
    QUARANTINE,
    Administration,
    Cluster,
    Consumer,
    Delivery,
    Outgoing,
    Pace,
    Publisher,
    QueueSpec,
    Reader,
    Verdict,
    definitions,
)
from schemas.errors import QueueUnavailable, StorageUnavailable
from tests.support.services import RabbitMQ, free_port
from tests.support.waiting import until

QUICK = Pace(watch_every=timedelta(seconds=1), retry_after=timedelta(milliseconds=5))
AT_ONCE = timedelta()


def _more_than(found: Sized, count: int) -> bool:
    return len(found) > count


def cluster_of(rabbitmq: RabbitMQ) -> Cluster:
    return Cluster.from_url(rabbitmq.url, ca=rabbitmq.ca_file)


def some_queue(**limits: Any) -> QueueSpec:
    return QueueSpec(f"test.{uuid.uuid4().hex[:8]}", **limits)


def messages(queue: QueueSpec, count: int, *, start: int = 0) -> list[Outgoing]:
    return [
        Outgoing(queue.name, b"x" * 512, "envelope", str(number))
        for number in range(start, start + count)
    ]


class Inbox:
    """A handler that counts what it was given, as a gateway's inbox would."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def __call__(self, batch: Sequence[Delivery]) -> list[Verdict]:
        self.seen.update(delivery.message_id for delivery in batch)
        return [Verdict.ACK] * len(batch)


async def waiting_in(rabbitmq: RabbitMQ, queue: str) -> int:
    connection = await aio_pika.connect(rabbitmq.url)
    try:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0
    finally:
        await connection.close()


async def test_what_is_confirmed_arrives_with_its_properties(rabbitmq: RabbitMQ) -> None:
    queue, got = some_queue(), list[Delivery]()

    async def keep(batch: Sequence[Delivery]) -> list[Verdict]:
        got.extend(batch)
        return [Verdict.ACK] * len(batch)

    cluster = cluster_of(rabbitmq)
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        confirmed = await publisher.publish_many(messages(queue, 500))
        async with Consumer(cluster, queue.name, keep) as consumer:
            await until("500 messages", lambda: len(got) == 500)
            assert consumer.is_consuming()
    assert confirmed == {str(number) for number in range(500)}
    assert [delivery.message_id for delivery in got] == [str(number) for number in range(500)]
    assert {(d.type, d.queue, d.body, d.redelivered) for d in got} == {
        ("envelope", queue.name, b"x" * 512, False)
    }
    assert await waiting_in(rabbitmq, queue.name) == 0


async def test_who_is_refused_its_login_says_so_at_once_and_no_more_when_let_in(
    rabbitmq: RabbitMQ,
) -> None:
    cluster, queue = cluster_of(rabbitmq), some_queue()
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        await publisher.publish_many(messages(queue, 1))
    async with Consumer(replace(cluster, password="another"), queue.name, Inbox()) as consumer:
        await until("no login", lambda: consumer.is_turned_away)
        consumer._cluster = cluster
        await until("the consumer", consumer.is_consuming)
        assert not consumer.is_turned_away


async def test_the_broker_killed_under_load_loses_nothing_confirmed_and_is_consumed_again(
    rabbitmq: RabbitMQ,
) -> None:
    queue, inbox, confirmed = some_queue(), Inbox(), set[str]()
    cluster = cluster_of(rabbitmq)
    async with (
        Publisher(cluster, queues=[queue]) as publisher,
        Consumer(cluster, queue.name, inbox, pace=QUICK) as consumer,
    ):
        stop = asyncio.Event()

        async def load() -> None:
            number = 0
            while not stop.is_set():
                batch = messages(queue, 40, start=number)
                try:
                    confirmed.update(await publisher.publish_many(batch, patience=3))
                    number += 40
                except QueueUnavailable:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.02)

        pressing = asyncio.create_task(load())
        for _ in range(2):
            await until("confirms", partial(_more_than, confirmed, len(confirmed) + 800))
            await asyncio.to_thread(rabbitmq.kill9)
            await until("the loss to be noticed", lambda: not publisher.is_connected)
            await asyncio.to_thread(rabbitmq.start)
        already = len(confirmed)
        await until("confirms", lambda: len(confirmed) > already + 800)
        stop.set()
        await pressing
        await until("what was confirmed", lambda: confirmed <= inbox.seen.keys())
        await until("the consumer", consumer.is_consuming)
        # It goes on consuming what comes after the storm.
        await publisher.publish_many(messages(queue, 10, start=10_000_000))
        await until(
            "what came after", lambda: inbox.seen.keys() >= {str(10_000_000 + n) for n in range(10)}
        )


async def test_a_hung_broker_is_waited_for_and_then_everything_goes_on(rabbitmq: RabbitMQ) -> None:
    queue, inbox = some_queue(), Inbox()
    cluster = cluster_of(rabbitmq)
    async with (
        Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher,
        Consumer(cluster, queue.name, inbox, pace=QUICK),
    ):
        await publisher.publish_many(messages(queue, 50))
        rabbitmq.suspend()
        try:
            with pytest.raises(QueueUnavailable):
                await publisher.publish_many(messages(queue, 50, start=50), patience=1)
            await asyncio.sleep(4)  # long enough for the consumer's watch to give up
        finally:
            rabbitmq.resume()
        confirmed = set[str]()
        async with asyncio.timeout(30):
            while len(confirmed) < 50:
                try:
                    confirmed |= await publisher.publish_many(messages(queue, 50, start=50))
                except QueueUnavailable:
                    await asyncio.sleep(0.1)
        await until("all hundred", lambda: len(inbox.seen) == 100)


async def test_a_full_queue_refuses_and_drops_nothing(rabbitmq: RabbitMQ) -> None:
    queue, inbox = some_queue(max_length=10), Inbox()
    cluster = cluster_of(rabbitmq)
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        confirmed = set[str]()
        with contextlib.suppress(QueueUnavailable):
            for number in range(1000):
                confirmed |= await publisher.publish_many(messages(queue, 1, start=number))
        assert 10 <= len(confirmed) < 1000
        async with Consumer(cluster, queue.name, inbox):
            await until("what was confirmed", lambda: confirmed <= inbox.seen.keys())
        assert await publisher.publish_many(messages(queue, 1, start=5000)) == {"5000"}


async def test_a_missing_queue_is_an_error_and_not_silence(rabbitmq: RabbitMQ) -> None:
    async with Publisher(cluster_of(rabbitmq)) as publisher:
        with pytest.raises(QueueUnavailable, match="PublishError"):
            await publisher.publish_many(messages(QueueSpec("test.nowhere"), 3))


async def test_one_full_queue_does_not_hold_up_another(rabbitmq: RabbitMQ) -> None:
    full, free = some_queue(max_length=1), some_queue()
    async with Publisher(cluster_of(rabbitmq), queues=[full, free], settle=AT_ONCE) as publisher:
        with contextlib.suppress(QueueUnavailable):
            while True:
                await publisher.publish_many(messages(full, 1))
        mixed = [*messages(full, 5, start=200), *messages(free, 5, start=300)]
        assert await publisher.publish_many(mixed) == {str(number) for number in range(300, 305)}


async def test_poison_reaches_quarantine_after_its_limit_and_holds_up_nobody(
    rabbitmq: RabbitMQ,
) -> None:
    quarantine = f"quarantine.{uuid.uuid4().hex[:8]}"
    queue = QueueSpec(some_queue().name, delivery_limit=3, quarantine=quarantine)
    seen = Counter[str]()

    async def chokes_on_seven(batch: Sequence[Delivery]) -> list[Verdict]:
        seen.update(delivery.message_id for delivery in batch)
        if any(delivery.message_id == "7" for delivery in batch):
            raise ValueError("a bug")
        return [Verdict.ACK] * len(batch)

    cluster = cluster_of(rabbitmq)
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        await publisher.publish_many(messages(queue, 20))
        async with Consumer(cluster, queue.name, chokes_on_seven, pace=QUICK):
            inbox = Inbox()
            async with Consumer(cluster, quarantine, inbox, pace=QUICK):
                await until("the seventh", lambda: inbox.seen["7"] == 1)
    assert set(inbox.seen) == {"7"}
    assert set(seen) == {str(number) for number in range(20)}
    assert await waiting_in(rabbitmq, queue.name) == 0


async def test_a_quarantine_verdict_and_its_neighbours_are_settled_apart(
    rabbitmq: RabbitMQ,
) -> None:
    queue = some_queue()
    retried = set[str]()

    async def picky(batch: Sequence[Delivery]) -> list[Verdict]:
        verdicts = list[Verdict]()
        for delivery in batch:
            if int(delivery.message_id) % 10 == 3:
                verdicts.append(Verdict.QUARANTINE)
            elif int(delivery.message_id) % 10 == 5 and delivery.message_id not in retried:
                retried.add(delivery.message_id)
                verdicts.append(Verdict.RETRY)
            else:
                verdicts.append(Verdict.ACK)
        accepted.update(
            d.message_id for d, v in zip(batch, verdicts, strict=True) if v is Verdict.ACK
        )
        return verdicts

    accepted = set[str]()
    quarantined = Inbox()
    cluster = cluster_of(rabbitmq)
    async with (
        Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher,
        Consumer(cluster, queue.name, picky, pace=QUICK),
        Consumer(cluster, QUARANTINE, quarantined, pace=QUICK),
    ):
        await publisher.publish_many(messages(queue, 100))
        await until("all hundred", lambda: len(accepted) == 90 and len(quarantined.seen) == 10)
    assert set(quarantined.seen) == {str(number) for number in range(100) if number % 10 == 3}
    assert {message_id for message_id in accepted if int(message_id) % 10 == 5} == retried


async def test_an_unavailable_handler_keeps_the_message_without_using_up_its_deliveries(
    rabbitmq: RabbitMQ,
) -> None:
    queue = some_queue(delivery_limit=1)
    calls = list[bool]()

    async def database_down_at_first(batch: Sequence[Delivery]) -> list[Verdict]:
        calls.append(batch[0].redelivered)
        if len(calls) < 8:
            raise StorageUnavailable
        return [Verdict.ACK] * len(batch)

    cluster = cluster_of(rabbitmq)
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        await publisher.publish_many(messages(queue, 1))
        async with Consumer(cluster, queue.name, database_down_at_first, pace=QUICK):
            await until("eight calls", lambda: len(calls) == 8)
    assert not any(calls)
    assert await waiting_in(rabbitmq, queue.name) == 0


async def test_a_consumer_that_the_broker_dropped_consumes_again(rabbitmq: RabbitMQ) -> None:
    queue, inbox = some_queue(), Inbox()
    cluster = cluster_of(rabbitmq)
    async with (
        Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher,
        Consumer(cluster, queue.name, inbox, pace=QUICK) as consumer,
    ):
        await publisher.publish_many(messages(queue, 5))
        await until("all five", lambda: len(inbox.seen) == 5)
        # Deleting the queue cancels the consumer; the connection itself stays up.
        await asyncio.to_thread(rabbitmq.ctl, "delete_queue", queue.name)
        other = Publisher(cluster, queues=[queue], settle=AT_ONCE)
        async with other:
            await until("the other", lambda: other.is_connected)
            await other.publish_many(messages(queue, 5, start=5))
            await until("all ten", lambda: len(inbox.seen) == 10)
        await until("the consumer", consumer.is_consuming)


async def test_the_next_node_is_tried_when_one_does_not_answer(rabbitmq: RabbitMQ) -> None:
    queue = some_queue()
    alive = cluster_of(rabbitmq)
    cluster = Cluster(
        nodes=(f"127.0.0.1:{free_port()}", *alive.nodes), user=alive.user, password=alive.password
    )
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        assert len(await publisher.publish_many(messages(queue, 3))) == 3


async def test_without_a_broker_publishing_says_unavailable_within_its_patience() -> None:
    cluster = Cluster((f"127.0.0.1:{free_port()}",), "nobody", "nothing")
    async with Publisher(cluster) as publisher, asyncio.timeout(3):
        with pytest.raises(QueueUnavailable):
            await publisher.publish_many(messages(QueueSpec("any"), 1), patience=0.5)


async def test_tls_is_checked_against_the_given_authority_alone(rabbitmq_tls: RabbitMQ) -> None:
    queue = some_queue()
    cluster = cluster_of(rabbitmq_tls)
    async with Publisher(cluster, queues=[queue], settle=AT_ONCE) as publisher:
        assert len(await publisher.publish_many(messages(queue, 3))) == 3
    stranger = RabbitMQ.temporary(tls=True)  # never started: only its authority is of interest
    try:
        wrong = Cluster(cluster.nodes, cluster.user, cluster.password, ca=stranger.ca_file)
        async with Publisher(wrong) as publisher:
            with pytest.raises(QueueUnavailable):
                await publisher.publish_many(messages(queue, 1), patience=2)
    finally:
        stranger.close()


async def test_a_reader_made_from_definitions_reads_its_own_queue_and_does_nothing_else(
    rabbitmq: RabbitMQ,
) -> None:
    mine, other = some_queue(), some_queue()
    reader = Reader(f"reader.{uuid.uuid4().hex[:6]}", "a long random word", (mine.name,))
    assert rabbitmq.management_url is not None
    api = Administration(rabbitmq.management_url, user=rabbitmq.user, password=rabbitmq.password)
    try:
        await api.apply(definitions([mine, other], readers=[reader]))
        restricted = Cluster(cluster_of(rabbitmq).nodes, reader.name, reader.password)
        inbox, nothing = Inbox(), Inbox()
        async with (
            Publisher(cluster_of(rabbitmq), queues=[mine, other], settle=AT_ONCE) as publisher,
            Consumer(restricted, mine.name, inbox, pace=QUICK),
            Consumer(restricted, other.name, nothing, pace=QUICK) as refused,
            Publisher(restricted) as forger,
        ):
            await publisher.publish_many([*messages(mine, 5), *messages(other, 5, start=5)])
            await until("all five", lambda: len(inbox.seen) == 5)
            with pytest.raises(QueueUnavailable):
                await forger.publish_many(messages(mine, 1, start=99), patience=2)
            assert not nothing.seen
            assert not refused.is_consuming()
            await api.remove_user(reader.name)
            await api.remove_user(reader.name)
    finally:
        await api.close()


async def test_the_definitions_are_what_the_broker_has_after_declaring(rabbitmq: RabbitMQ) -> None:
    queue = some_queue(max_length=7)
    async with Publisher(cluster_of(rabbitmq), settle=AT_ONCE) as publisher:
        await publisher.declare([queue])
        await publisher.declare([queue])
        with pytest.raises(QueueUnavailable, match="other arguments"):
            await publisher.declare([QueueSpec(queue.name, max_length=8)])
    async with httpx2.AsyncClient(
        auth=(rabbitmq.user, rabbitmq.password), trust_env=False
    ) as client:
        answer = await client.get(f"{rabbitmq.management_url}/api/queues/%2F/{queue.name}")
    wanted = definitions([queue])["queues"]
    assert isinstance(wanted, list)
    assert answer.json()["arguments"] == next(
        item["arguments"] for item in wanted if item["name"] == queue.name
    )
    json.dumps(wanted)
