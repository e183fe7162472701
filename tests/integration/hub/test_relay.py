"""The relay on real RabbitMQ: windows, confirms, withdrawal in between, users of participants."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused
from sqlalchemy import select

from broker.clock import SystemClock
from broker.hub.relay.channels import Names
from broker.hub.settings import AmqpSettings
from broker.hub.store import participants
from broker.hub.store.tables import DELIVERY
from keys.statements.revocation import sign_revocation
from keys.unsealing import open_access
from schemas.directory import KeyUse
from schemas.envelope import Kind, Lane, Part
from schemas.errors import CannotOpen
from schemas.evidence import Fact
from schemas.revocation import Revocation
from tests.support.hub import Client, Served, World
from tests.support.relaying import NAMES, WINDOW, Inbox, amqp_settings, channels_of
from tests.support.services import RabbitMQ


@pytest.fixture
def amqp(tmp_path: Path, rabbitmq: RabbitMQ) -> AmqpSettings:
    return amqp_settings(tmp_path, rabbitmq)


@pytest.fixture
async def served(tmp_path: Path, database_url: str, amqp: AmqpSettings) -> AsyncIterator[Served]:
    world = World(tmp_path, SystemClock(), database=database_url, names=NAMES)
    async with world.serving(amqp=amqp) as served:
        yield served


async def test_an_envelope_reaches_its_queue_byte_for_byte_with_no_header_of_ours(
    served: Served, amqp: AmqpSettings
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    inbox = Inbox(await channels_of(al), amqp, "al.nrm")
    async with inbox.consumer:
        sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
        await inbox.until(1)

    [delivery] = inbox.got
    assert (delivery.body, delivery.type) == (sealed.raw, "envelope")


async def test_queue_and_user_names_say_nothing(served: Served) -> None:
    found = await channels_of(served.client("al.nrm"))

    queues = found["queues"]
    assert isinstance(queues, dict)
    names = {str(found["user"]), *map(str, queues.values())}
    assert len(names) == 1 + len(Lane)
    assert all(re.fullmatch(r"[qu]\.[A-Za-z0-9_-]{24}", name) for name in names)
    # Nor can they be computed by who knows the participants: they hang on the hub's own secret.
    elsewhere = Names(b"the secret of some other hub: 32").reader("al.nrm")
    assert not names & {elsewhere.name, *elsewhere.queues}


async def test_only_a_window_is_in_rabbitmq_and_receipts_let_the_rest_follow(
    served: Served, amqp: AmqpSettings
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    inbox = Inbox(await channels_of(al), amqp, "al.nrm")
    there = Inbox(await channels_of(it), amqp, "it.nrm")
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(WINDOW + 4)]
    async with inbox.consumer:
        await inbox.until(WINDOW)
        # Whatever of the rest were due would go before this, which comes later.
        await al.send(
            "it.nrm",
            agreement=agreement,
            grant=grant,
            kind=Kind.ANSWER,
            in_reply_to=sent[0].content.id,
            thread=sent[0].content.thread,
        )
        async with there.consumer:
            await there.until(1)
        in_the_window = len(inbox.got)

        receipt = al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in sent[:WINDOW]])
        assert (await al.state_evidence(receipt)).status_code == 202
        await inbox.until(len(sent))

    assert in_the_window == WINDOW
    assert [one.body for one in inbox.got] == [one.raw for one in sent]


async def test_a_withdrawal_stops_what_is_behind_the_window(
    served: Served, amqp: AmqpSettings
) -> None:
    it, al, agreement = await served.pair()
    other = await it.grant("al.nrm")
    grant = await it.grant("al.nrm")
    inbox = Inbox(await channels_of(al), amqp, "al.nrm")
    first = [await it.send("al.nrm", agreement=agreement, grant=other) for _ in range(WINDOW)]
    async with inbox.consumer:
        await inbox.until(WINDOW)
        behind = await it.send("al.nrm", agreement=agreement, grant=grant)

        assert (await it.submit(it.withdrawal(grant, "al.nrm"))).status_code == 201
        await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in first]))
        await inbox.until(WINDOW + 1)
        last = await it.send("al.nrm", agreement=agreement, grant=other)
        await inbox.until(WINDOW + 2)

    bodies = [one.body for one in inbox.got]
    assert behind.raw not in bodies
    assert bodies[-1] == last.raw
    facts = [f.fact for one in inbox.got[WINDOW:-1] for f in al.facts(one.body)]
    assert facts == [Fact.TOMBSTONE]


async def test_without_a_receipt_it_is_published_again_with_the_same_id_and_bytes(
    tmp_path: Path, database_url: str, amqp: AmqpSettings
) -> None:
    world = World(tmp_path, SystemClock(), database=database_url, names=NAMES)
    impatient = amqp.model_copy(update={"republish_after_seconds": 0.3})
    async with world.serving(amqp=impatient) as served:
        it, al, agreement = await served.pair()
        grant = await it.grant("al.nrm")
        inbox = Inbox(await channels_of(al), amqp, "al.nrm")
        async with inbox.consumer:
            sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
            await inbox.until(2)
            await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))
            async with served.hub.database.read() as connection:
                left = (
                    await connection.execute(
                        select(DELIVERY).where(DELIVERY.c.recipient == "al.nrm")
                    )
                ).all()

    assert {(one.message_id, one.body) for one in inbox.got} == {
        (inbox.got[0].message_id, sealed.raw)
    }
    assert left == [], "what has its receipt is due no more"


async def test_a_participant_can_read_its_own_queues_and_do_nothing_else(
    served: Served, amqp: AmqpSettings
) -> None:
    own = await channels_of(served.client("it.nrm"))
    foreign = await channels_of(served.client("al.nrm"))
    connection = await _as_reader(amqp, "it.nrm", own)
    async with connection:
        mine = own["queues"]
        others = foreign["queues"]
        assert isinstance(mine, dict)
        assert isinstance(others, dict)
        readable = await (await connection.channel()).get_queue(mine["routine"], ensure=False)
        assert await readable.get(fail=False) is None

        closed = await (await connection.channel()).get_queue(others["routine"], ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await closed.get(fail=False)
        with pytest.raises(ChannelAccessRefused):
            await (await connection.channel()).declare_queue("q.mine", durable=True)


async def test_a_rabbitmq_that_was_made_anew_gets_its_queues_and_users_back(
    served: Served, amqp: AmqpSettings, rabbitmq: RabbitMQ
) -> None:
    """Its disk was lost, say: nobody has to start the hub again before gateways are let in."""
    own = await channels_of(served.client("it.nrm"))
    await (await _as_reader(amqp, "it.nrm", own)).close()
    queues = own["queues"]
    assert isinstance(queues, dict)

    await asyncio.to_thread(rabbitmq.ctl, "delete_user", str(own["user"]))
    for queue in queues.values():
        await asyncio.to_thread(rabbitmq.ctl, "delete_queue", str(queue))
    await asyncio.to_thread(rabbitmq.ctl, "close_all_connections", "--global", "made anew")

    connection = await _as_reader(amqp, "it.nrm", own)
    async with connection:
        queue = await (await connection.channel()).get_queue(queues["routine"], ensure=False)
        assert await queue.get(fail=False) is None


@pytest.mark.parametrize("why", ["the operator", "a compromise"])
async def test_a_new_password_is_handed_out_sealed_and_the_old_one_opens_nothing_more(
    served: Served, amqp: AmqpSettings, why: str
) -> None:
    it, now = served.client("it.nrm"), served.world.clock.now()
    first = await channels_of(it)
    old = password_in(it, first)
    assert old not in str(first)
    with pytest.raises(CannotOpen):
        password_in(served.client("al.nrm"), first)
    connection = await _connect(amqp, first, old)
    cut = asyncio.Event()
    connection.close_callbacks.add(lambda *_: cut.set())
    if why == "the operator":
        async with served.hub.database.begin() as transaction:
            await participants.renew_access(transaction, "it.nrm", now)
        new = password_in(it, await channels_of(it))
        assert new != old
    else:
        said = await served.http.post("/revocations", content=revocation_of(it))
        assert said.status_code == 201
    async with asyncio.timeout(20):
        await cut.wait()
    if why == "the operator":
        await (await _connect(amqp, first, new)).close()
    else:
        # Its only signing key is gone, and the user with it; the next one has another password.
        async with served.hub.database.read() as read:
            assert await participants.access_generations(read) == {"it.nrm": 1}
    with pytest.raises(AMQPError):
        await _connect(amqp, first, old, patience=0)


def revocation_of(client: Client) -> bytes:
    keys = tuple(key.kid for key in client.party.entry.keys if key.use is KeyUse.SIGN)
    now = client.world.clock.now()
    content = Revocation(
        id=uuid4(), participant=client.id, keys=keys, since=now, by=client.id, issued_at=now
    )
    return sign_revocation(content, client.party.signer())


def password_in(client: Client, channels: dict[str, object]) -> str:
    part = Part.model_validate(channels["access"])
    return open_access(part, client.party.entry.id, str(channels["user"]), client.party)


async def _as_reader(
    amqp: AmqpSettings, who: str, channels: dict[str, object]
) -> AbstractConnection:
    return await _connect(amqp, channels, Names.of(amqp).reader(who).password)


async def _connect(
    amqp: AmqpSettings, channels: dict[str, object], password: str, *, patience: float = 20
) -> AbstractConnection:
    node, loop = amqp.nodes[0], asyncio.get_running_loop()
    end = loop.time() + patience
    while True:
        try:
            return await aio_pika.connect(
                host=node.host,
                port=node.port,
                login=str(channels["user"]),
                password=password,
                virtualhost=str(channels["vhost"]),
            )
        except AMQPError:
            if loop.time() >= end:
                raise
            await asyncio.sleep(0.2)  # the hub is still creating users and rights


async def test_while_rabbitmq_is_down_nothing_is_lost_and_readiness_tells_the_truth(
    tmp_path: Path, database_url: str, amqp: AmqpSettings, rabbitmq: RabbitMQ
) -> None:
    world = World(tmp_path, SystemClock(), database=database_url, names=NAMES)
    # A queue killed within seconds of its declaration may come back mute (ADR 0008).
    settled = amqp.model_copy(update={"new_queue_seconds": 4.0})
    async with world.serving(amqp=settled) as served:
        it, al, agreement = await served.pair()
        grant = await it.grant("al.nrm")
        inbox = Inbox(await channels_of(al), amqp, "al.nrm")
        async with inbox.consumer:
            before = await it.send("al.nrm", agreement=agreement, grant=grant)
            await inbox.until(1)
            await asyncio.to_thread(rabbitmq.kill9)
            sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(3)]
            red = await _readiness(served, 503)
            await asyncio.to_thread(rabbitmq.start)
            await inbox.until_distinct(4)
            green = await _readiness(served, 200)

    assert {one.body for one in inbox.got} == {one.raw for one in (before, *sent)}
    assert red == ["queue-unavailable"]
    assert green == []


async def _readiness(served: Served, status: int) -> list[str]:
    async with asyncio.timeout(60):
        while True:
            answer = await served.http.get("/readyz")
            if answer.status_code == status:
                codes: list[str] = answer.json()["codes"]
                return codes
            await asyncio.sleep(0.1)
