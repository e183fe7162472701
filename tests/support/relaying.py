"""A hub that relays to RabbitMQ, and a participant that consumes its queue there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from broker.amqp import Cluster, Consumer, Delivery, Verdict
from broker.hub.relay.channels import Names
from broker.hub.settings import AmqpNode, AmqpSettings
from schemas.envelope import Lane
from tests.support.hub import Client
from tests.support.services import RabbitMQ

NAMES = ("it.nrm", "al.nrm")
WINDOW = 5


def amqp_settings(folder: Path, rabbitmq: RabbitMQ) -> AmqpSettings:
    parts = urlsplit(rabbitmq.url)
    (folder / "amqp-password").write_text(str(parts.password))
    (folder / "amqp-secret").write_bytes(secrets.token_bytes(32))
    return AmqpSettings(
        nodes=(AmqpNode(host=str(parts.hostname), port=parts.port or 5672),),
        vhost=unquote(parts.path[1:]) or "/",
        user=str(parts.username),
        password_file=folder / "amqp-password",
        secret_file=folder / "amqp-secret",
        management_url=rabbitmq.management_url,
        window=WINDOW,
        new_queue_seconds=0.0,  # who kills the broker sets it
    )


class Inbox:
    """Consumes one queue as its participant; keeps what came."""

    def __init__(self, channels: dict[str, object], amqp: AmqpSettings, who: str) -> None:
        self.got: list[Delivery] = []
        self.arrived = asyncio.Event()
        reader = Names.of(amqp).reader(who)
        assert channels["user"] == reader.name
        hosts, queues = channels["hosts"], channels["queues"]
        assert isinstance(hosts, list)
        assert isinstance(queues, dict)
        self.consumer = Consumer(
            Cluster(
                nodes=tuple(hosts),
                user=reader.name,
                password=reader.password,
                vhost=str(channels["vhost"]),
            ),
            queues[Lane.ROUTINE.value],
            self._handle,
        )

    async def _handle(self, batch: list[Delivery]) -> list[Verdict]:
        self.got += batch
        self.arrived.set()
        return [Verdict.ACK] * len(batch)

    async def until(self, count: int) -> None:
        await self._until(lambda: len(self.got) >= count)

    async def until_distinct(self, count: int) -> None:
        """However often each of them comes."""
        await self._until(lambda: len({one.body for one in self.got}) >= count)

    async def _until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough():
                self.arrived.clear()
                await self.arrived.wait()


async def channels_of(client: Client) -> dict[str, object]:
    answer = await client.get("/channels")
    assert answer.status_code == 200, answer.text
    found = answer.json()["rabbitmq"]
    assert isinstance(found, dict)
    return found
