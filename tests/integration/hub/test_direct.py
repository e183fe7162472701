"""What is accepted while the relay is idle goes to RabbitMQ from memory, and is no less safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.clock import SystemClock
from broker.hub.relay import relay
from broker.hub.relay.direct import Direct
from broker.hub.store import deliveries
from broker.hub.store.deliveries import Claim, Item
from schemas.evidence import Fact
from tests.support.hub import Served, World
from tests.support.relaying import NAMES, Inbox, amqp_settings, channels_of
from tests.support.services import RabbitMQ
from tests.support.waiting import until

LEASE = timedelta(seconds=2)


@pytest.fixture
async def served(
    tmp_path: Path, postgres_url: str, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(relay, "LEASE", LEASE)
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving(amqp=amqp_settings(tmp_path, rabbitmq)) as served:
        yield served


async def open_for(served: Served) -> Direct:
    direct = served.hub.direct
    assert isinstance(direct, Direct)
    await until("the relay to have nothing in hand", direct.is_open)
    return direct


def inbox_of(served: Served, channels: dict[str, object], who: str) -> Inbox:
    settings = served.hub.settings.amqp
    assert settings is not None
    return Inbox(channels, settings, who)


async def test_a_message_and_its_receipt_go_out_without_being_claimed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> list[Claim]:
        return []

    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    to_it = inbox_of(served, await channels_of(it), "it.nrm")
    to_al = inbox_of(served, await channels_of(al), "al.nrm")
    async with to_it.consumer, to_al.consumer:
        await open_for(served)
        monkeypatch.setattr(deliveries, "claim_for_relay", nothing)
        sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
        await to_al.until(1)
        await open_for(served)
        receipt = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)])
        await al.state_evidence(receipt)
        await to_it.until(1)

    assert [one.body for one in to_al.got] == [sealed.raw]
    assert [one.body for one in to_it.got] == [receipt]


async def test_dying_between_the_commit_and_the_queue_loses_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_direct: Direct, _items: list[Item]) -> None:
        """What is in memory alone is gone."""

    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    to_it = inbox_of(served, await channels_of(it), "it.nrm")
    to_al = inbox_of(served, await channels_of(al), "al.nrm")
    await open_for(served)
    monkeypatch.setattr(Direct, "hand_over", die)
    async with to_it.consumer, to_al.consumer:
        sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
        await to_al.until(1)
        receipt = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)])
        await al.state_evidence(receipt)
        await to_it.until(1)

    assert to_al.got[0].body == sealed.raw
    assert to_it.got[0].body == receipt


async def test_what_a_withdrawal_stops_while_the_log_is_away_is_not_handed_over(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    other = await it.grant("al.nrm")
    to_al = inbox_of(served, await channels_of(al), "al.nrm")
    await open_for(served)
    send = deliveries.send

    async def withdrawn_meanwhile(*given: object, **more: object) -> object:
        withdrawal = it.withdrawal(grant, "al.nrm")
        served.hub.stops.add(withdrawal.raw, grant.id, frozenset(grant.scopes))
        return await send(*given, **more)  # type: ignore[arg-type]

    async with to_al.consumer:
        with monkeypatch.context() as patched:
            patched.setattr(deliveries, "send", withdrawn_meanwhile)
            stopped = await it.send("al.nrm", agreement=agreement, grant=grant)
        after = await it.send("al.nrm", agreement=agreement, grant=other)
        async with asyncio.timeout(20):
            while after.raw not in [one.body for one in to_al.got]:
                to_al.arrived.clear()
                await to_al.arrived.wait()

    assert stopped.raw not in [one.body for one in to_al.got]


async def test_what_waits_is_not_overtaken(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    channels = await channels_of(al)
    direct = await open_for(served)
    direct.relay_is_idle = False  # the relay has something in hand: these wait in the table
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(2)]
    direct.relay_is_idle = True
    sent += [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(2)]
    inbox = inbox_of(served, channels, "al.nrm")
    async with inbox.consumer:
        await inbox.until(len(sent))

    assert [one.body for one in inbox.got] == [one.raw for one in sent]
