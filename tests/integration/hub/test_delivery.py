"""Handing over: what ended since it was accepted travels no further, and both sides are told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from broker.clock import TurnedClock
from broker.hub.ending import deadlines
from broker.hub.store.tables import DELIVERY
from schemas.directory import KeyStatus
from schemas.evidence import (
    Fact,
)
from tests.support.hub import Served, World


async def test_an_expired_envelope_is_never_handed_over_and_both_sides_are_told(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        expires_at=clock.now() + timedelta(hours=1),
    )

    clock.turn(timedelta(hours=2))
    await served.hub.sequencer.run_once()
    first = await al.mailbox()
    to_recipient = [*first, *await al.mailbox()]

    assert sealed.raw.decode() not in [item["jws"] for item in to_recipient]
    facts = [f.fact for item in to_recipient for f in al.facts(item["jws"])]
    assert facts == [Fact.TOMBSTONE]
    assert [f.fact for item in await it.mailbox() for f in it.facts(item["jws"])] == [Fact.EXPIRED]


@pytest.mark.parametrize("what", ["agreement", "sender", "signing key", "sealing key"])
async def test_what_ended_since_acceptance_stops_it_at_hand_over(
    served: Served, world: World, what: str
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    if what == "agreement":
        await al.http.post("/suspensions", content=al.suspension(agreement))
    elif what == "sender":
        world.change("it.nrm", suspended=True)
    elif what == "signing key":
        world.publish(world.parties["it.nrm"].with_status(KeyStatus.COMPROMISED))
    else:
        party = world.parties["al.nrm"]
        [part] = sealed.content.parts
        world.publish(party.with_key(part.to_key, status=KeyStatus.COMPROMISED))
    await served.hub.refresh_directory()

    handed_over = [*await al.mailbox(), *await al.mailbox()]

    assert [item["kind"] for item in handed_over] == ["evidence"]
    async with served.hub.database.read() as connection:
        kinds = (await connection.execute(select(DELIVERY.c.item))).scalars().all()
    assert "envelope" not in kinds


async def test_an_agreement_that_runs_out_stops_what_waits_under_it(
    served: Served, clock: TurnedClock
) -> None:
    today = served.world.clock.now().date()
    it, al, agreement = await served.pair(valid_until=today)
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    clock.turn(timedelta(days=1))
    await served.hub.sequencer.run_once()

    handed_over = [*await al.mailbox(), *await al.mailbox()]

    assert sealed.raw.decode() not in [item["jws"] for item in handed_over]
    to_sender = [fact for item in await it.mailbox() for fact in it.facts(item["jws"])]
    assert (Fact.STOPPED, "no-agreement") in {(fact.fact, fact.code) for fact in to_sender}


async def test_what_a_clock_that_was_ahead_has_claimed_does_not_wait_for_that_time(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=await it.grant("al.nrm")))
    clock.turn(timedelta(hours=3))
    await served.hub.sequencer.run_once()
    assert (await it.submit(sealed)).status_code == 201
    assert len(await al.mailbox()) == 1  # leased, and never acknowledged
    clock.turn(timedelta(hours=-3))
    await served.hub.sequencer.run_once()
    assert await al.mailbox() == []

    await deadlines.measure(served.hub)

    assert [item["jws"] for item in await al.mailbox()] == [sealed.raw.decode()]


async def test_what_was_accepted_is_not_stopped_because_the_hubs_clock_was_put_back(
    served: Served, world: World, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    begun = clock.now() - timedelta(hours=1)
    world.publish(it.party.with_key(it.party.signing_key().kid, not_before=begun))
    await served.hub.refresh_directory()
    sealed = await it.send("al.nrm", agreement=agreement, grant=await it.grant("al.nrm"))
    clock.turn(timedelta(hours=-3))
    await served.hub.sequencer.run_once()
    await deadlines.measure(served.hub)

    assert [item["jws"] for item in await al.mailbox()] == [sealed.raw.decode()]
