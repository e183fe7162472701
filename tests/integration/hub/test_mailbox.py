"""The mailbox: leased, acknowledged, by lane, woken at once; and what a full window lets through."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID

from broker.clock import TurnedClock
from broker.hub.store import deliveries, participants
from broker.hub.store.deliveries import Settled
from schemas.envelope import Kind, Lane
from tests.support.hub import Served, waits
from tests.support.waiting import until


async def test_what_was_not_acknowledged_comes_again_with_the_same_id_and_bytes(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)

    first = await al.mailbox()
    meanwhile = await al.mailbox()
    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()
    again = await al.mailbox()

    assert meanwhile == []
    assert first == again


async def test_who_lost_an_answer_says_so_and_waits_for_no_lease(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    lost = await al.mailbox()
    again = await al.mailbox(fresh="true")
    await al.acknowledge(again)

    assert lost == again != []
    assert await al.mailbox(fresh="true") == []
    assert len(await al.mailbox(Lane.URGENT)) == 1


async def test_ten_consumers_of_one_mailbox_never_get_the_same_item(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for _ in range(30):
        await it.send("al.nrm", agreement=agreement, grant=grant)

    pages = await asyncio.gather(*(al.mailbox(limit=5) for _ in range(10)))

    seen = [item["delivery"] for page in pages for item in page]
    assert len(seen) == len(set(seen)) == 30


async def test_waiting_ends_as_soon_as_something_is_there(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    waiting = asyncio.create_task(al.mailbox(wait=20))
    await until("Albania to wait", lambda: waits(served.hub, "al.nrm"))

    await it.send("al.nrm", agreement=agreement, grant=grant)

    async with asyncio.timeout(10):
        assert len(await waiting) == 1


async def test_an_empty_mailbox_answers_in_time(served: Served) -> None:
    _, al, _ = await served.pair()

    assert await al.mailbox(wait=0.3) == []


async def test_both_lanes_are_separate(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    routine = await it.send("al.nrm", agreement=agreement, grant=grant)
    urgent = await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    assert [i["jws"] for i in await al.mailbox(Lane.URGENT)] == [urgent.raw.decode()]
    assert [i["jws"] for i in await al.mailbox()] == [routine.raw.decode()]


async def test_a_full_window_holds_back_neither_withdrawals_nor_what_is_new_for_ever(
    served: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = partial(it.send, "al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    async def relayed() -> set[UUID]:
        async with served.hub.database.begin() as connection:
            claims = await deliveries.claim_for_relay(
                connection,
                Settled(),
                now=clock.now(),
                lease=timedelta(seconds=30),
                window=4,
                limit=256,
            )
            envelopes = [one for one in claims if one.item == deliveries.ENVELOPE_ITEM]
            again = clock.now() + timedelta(seconds=60)
            await deliveries.mark_relayed(connection, [one.id for one in envelopes], again)
        return {one.object_id for one in envelopes}

    async with served.hub.database.begin() as connection:
        await participants.set_channel(connection, "al.nrm", "amqp", clock.now())
    stuck = {(await sent()).content.id for _ in range(4)}
    assert await relayed() == stuck
    behind = {(await sent()).content.id for _ in range(2)}
    alert = (await sent(kind=Kind.SAFETY)).content.id
    withdrawal = it.withdrawal(await it.grant("al.nrm"), "al.nrm")
    assert (await it.submit(withdrawal)).status_code == 201

    assert await relayed() == {alert, withdrawal.content.id}

    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()
    second = await relayed()
    assert behind <= second
    assert len(second & stuck) == 1
    newest = (await sent()).content.id
    assert await relayed() == {newest}
