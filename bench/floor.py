"""The floor: two hops with the same bytes and no security, no policy and no log.

HTTP POST -> committed PostgreSQL row -> RabbitMQ quorum publish with confirm -> consumer commits
a row and acknowledges -> a receipt goes back the same way. Three processes, as in the product:
a hub, a recipient and the sender, which measures. The libraries are the product's (uvicorn,
FastAPI with the raw body, asyncpg, aio-pika), used in the plain way: one transaction and one
publish a message, as many in flight as the caller keeps open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aio_pika
import asyncpg
import httpx2
import uvicorn
from fastapi import FastAPI, Request, Response
from pamqp.common import FieldTable

QUEUE_ARGUMENTS: FieldTable = {"x-queue-type": "quorum"}
FORWARD, BACK = "floor.forward", "floor.back"
RECEIPT = os.urandom(700).hex().encode()  # about the size of a signed evidence


async def prepare(database: str, amqp: str) -> None:
    """Create empty tables and queues."""
    connection = await asyncpg.connect(database)
    for table in ("hub_row", "recipient_row", "sender_row"):
        await connection.execute(f"DROP TABLE IF EXISTS {table}")
        await connection.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, body bytea NOT NULL)")
    await connection.close()
    broker = await aio_pika.connect(amqp)
    channel = await broker.channel()
    for queue in (FORWARD, BACK):
        await channel.queue_delete(queue)
        await channel.declare_queue(queue, durable=True, arguments=QUEUE_ARGUMENTS)
    await broker.close()


def hub(database: str, amqp: str, port: int) -> None:
    """Serve POST /{queue}/{id}: commit, publish, wait for the confirm, answer."""
    state: dict[str, object] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state["pool"] = await asyncpg.create_pool(database, min_size=8, max_size=8)
        broker = await aio_pika.connect(amqp)
        channel = await broker.channel(publisher_confirms=True)
        state["broker"], state["exchange"] = broker, channel.default_exchange
        yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.post("/{queue}/{key}")
    async def accept(queue: str, key: str, request: Request) -> Response:
        body = await request.body()
        pool: asyncpg.Pool = state["pool"]  # type: ignore[assignment]
        exchange: aio_pika.Exchange = state["exchange"]  # type: ignore[assignment]
        await pool.execute("INSERT INTO hub_row (id, body) VALUES ($1, $2)", f"{queue}/{key}", body)
        message = aio_pika.Message(
            body, message_id=key, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        await exchange.publish(message, routing_key=queue)
        return Response(status_code=201)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


async def consume(
    database: str,
    amqp: str,
    queue: str,
    table: str,
    then: Callable[[str], Awaitable[None]],
) -> None:
    """Commit a row for each message, call `then`, acknowledge; up to 64 at a time."""
    pool = await asyncpg.create_pool(database, min_size=8, max_size=8)
    broker = await aio_pika.connect(amqp)
    channel = await broker.channel()
    await channel.set_qos(prefetch_count=64)
    source = await channel.get_queue(queue, ensure=False)

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        key = message.message_id or ""
        await pool.execute(
            f"INSERT INTO {table} (id, body) VALUES ($1, $2)",  # noqa: S608 (our own constant)
            key,
            message.body,
        )
        await then(key)
        await message.ack()

    await source.consume(handle)
    await asyncio.Event().wait()


async def recipient(database: str, amqp: str, port: int) -> None:
    """Consume forward messages and post a receipt for each."""
    limits = httpx2.Limits(max_connections=32, max_keepalive_connections=32)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60
    ) as client:

        async def receipt(key: str) -> None:
            (await client.post(f"/{BACK}/{key}", content=RECEIPT)).raise_for_status()

        await consume(database, amqp, FORWARD, "recipient_row", receipt)


async def sender(database: str, amqp: str, port: int, *, size: int, window: int) -> None:
    """Do what each line of standard input says, and print one line of JSON about it.

    `load COUNT`: send so many with `window` in flight; the rate, and the median in milliseconds.
    `one`: send one alone; how long it took, in milliseconds.
    """
    done: dict[str, asyncio.Future[None]] = {}

    async def arrived(key: str) -> None:
        if key in done and not done[key].done():
            done[key].set_result(None)

    limits = httpx2.Limits(max_connections=window, max_keepalive_connections=window)
    body = os.urandom(size)
    async with (
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60
        ) as client,
        asyncio.TaskGroup() as together,  # nothing waits for a consumer that has failed
    ):
        consumer = together.create_task(consume(database, amqp, BACK, "sender_row", arrived))

        async def one() -> float:
            key = str(len(done))
            started = time.perf_counter()
            done[key] = asyncio.get_running_loop().create_future()
            (await client.post(f"/{FORWARD}/{key}", content=body)).raise_for_status()
            await done[key]
            return (time.perf_counter() - started) * 1000

        async def load(count: int) -> dict[str, float]:
            gate = asyncio.Semaphore(window)

            async def gated() -> float:
                async with gate:
                    return await one()

            started = time.perf_counter()
            took = await asyncio.gather(*(gated() for _ in range(count)))
            rate = count / (time.perf_counter() - started)
            return {"rate": rate, "load_p50_ms": statistics.median(took)}

        await one()
        while line := await asyncio.to_thread(sys.stdin.readline):
            verb, *count = line.split()
            said = await load(int(count[0])) if verb == "load" else {"ms": await one()}
            print(json.dumps(said), flush=True)
        consumer.cancel()


def main() -> None:
    """Run one role; `bench.path` starts the three of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["hub", "recipient", "sender", "prepare"])
    parser.add_argument("--database", required=True)
    parser.add_argument("--amqp", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=int, default=24_000)
    parser.add_argument("--window", type=int, default=64)
    given = parser.parse_args()
    if given.role == "prepare":
        asyncio.run(prepare(given.database, given.amqp))
    elif given.role == "hub":
        hub(given.database, given.amqp, given.port)
    elif given.role == "recipient":
        asyncio.run(recipient(given.database, given.amqp, given.port))
    else:
        asyncio.run(
            sender(given.database, given.amqp, given.port, size=given.size, window=given.window)
        )


if __name__ == "__main__":
    main()
