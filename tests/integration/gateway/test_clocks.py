"""Ten minutes of a wrong clock are tolerated, and reported: whose ever it is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from broker.clock import TurnedClock
from broker.gateway.network.clocks import TRIED_AGAIN
from broker.gateway.receive.mailbox import Mailbox
from broker.gateway.receive.receiver import Incoming, Outcome
from broker.gateway.store.tables import alarm, evidence, metadata, outbox, quarantine
from tests.support.gateways import Side, World, column, files

FAST = timedelta(minutes=8)


async def open_alarms(side: Side) -> set[tuple[str, str]]:
    async with side.gateway.core.database.read() as connection:
        query = select(alarm.c.code, alarm.c.about).where(alarm.c.cleared_at.is_(None))
        return {(row.code, row.about) for row in await connection.execute(query)}


async def state(side: Side, message: object) -> str:
    async with side.gateway.core.database.read() as connection:
        found = await connection.scalar(select(outbox.c.state).where(outbox.c.id == message))
    return str(found)


async def test_a_clock_of_eight_minutes_is_tolerated_and_everybody_says_so(two: World) -> None:
    await two["it.nrm"].consent("al.nrm")
    await two.settle()
    assert await open_alarms(two["al.nrm"]) == set()

    fast = TurnedClock(offset=FAST)
    italy, albania = await two.open("it.nrm", clock=fast), two["al.nrm"]
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await two.settle()
    await italy.parts.clocks.run_once()
    await albania.parts.clocks.run_once()

    assert await state(italy, message) == "filed"
    assert ("clock-skew", "hub.main") in await open_alarms(italy)
    assert await open_alarms(albania) == {("partner-clock", "it.nrm")}
    seen = two.at_hub.metrics.clock_ahead.labels("it.nrm")._value.get()
    assert abs(seen - FAST.total_seconds()) < 60

    fast.turn(-FAST)
    await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    await italy.parts.clocks.run_once()
    assert await open_alarms(albania) == set()
    assert "clock-skew" not in {code for code, _ in await open_alarms(italy)}


async def test_a_clock_that_is_too_wrong_to_be_answered_is_still_told_why(two: World) -> None:
    slow = TurnedClock(offset=timedelta())
    italy = await two.open("it.nrm", clock=slow)
    slow.turn(-timedelta(minutes=11))
    with pytest.raises(Exception, match="unauthenticated"):
        await italy.gateway.core.hub.agreements()
    await italy.parts.clocks.run_once()
    assert ("clock-skew", "hub.main") in await open_alarms(italy)


async def test_a_gateway_eleven_minutes_ahead_is_refused_by_code_and_loses_nothing(
    two: World,
) -> None:
    grant = await two["it.nrm"].consent("al.nrm")
    await two.settle()
    clock = TurnedClock(offset=timedelta())
    italy = await two.open("it.nrm", clock)
    clock.turn(timedelta(minutes=11))
    ahead = await italy.refer("al.nrm", grant)
    await italy.push()
    await two["al.nrm"].pull()

    async with italy.gateway.core.database.read() as connection:
        stored = (await connection.execute(select(outbox).where(outbox.c.id == ahead.id))).one()
    assert (stored.state, stored.code) == ("refused", "from-the-future")
    assert stored.envelope
    assert files(two, "al.nrm") == []
    # Put right, it works again; what was refused is there for the worker to send anew.
    clock.turn(timedelta(minutes=-11))
    await italy.refer("al.nrm", grant)
    await two.settle()
    assert len(files(two, "al.nrm")) == 1


async def test_nothing_waits_for_the_time_that_our_clock_showed_while_it_was_ahead(
    two: World,
) -> None:
    """Sending fails because the hub is away, filing because the folder is: three hours ahead."""
    clock = TurnedClock(offset=timedelta())
    italy, albania = await two.open("it.nrm", clock), await two.open("al.nrm", clock)
    assert isinstance(albania.gateway.channel, Mailbox)
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await italy.push()
    await albania.gateway.channel.visit()
    unsent = (await italy.refer("al.nrm", grant)).id
    folder = two.network.participants["al.nrm"].home / "htcds"
    folder.rename(folder.with_name("away"))
    italy.line.cut = True

    clock.turn(timedelta(hours=3))
    await italy.parts.outbox.run_once()
    await albania.parts.filing.run_once()

    clock.turn(timedelta(hours=-3))
    italy.line.cut = False
    folder.with_name("away").rename(folder)
    await two.settle()
    assert (await state(italy, unsent), files(two, "al.nrm")) == ("queued", [])
    for side in (italy, albania):
        await side.parts.clocks.after_ours_was_ahead()
    await two.settle()
    assert (await state(italy, unsent), len(files(two, "al.nrm"))) == ("filed", 2)


async def test_what_waits_as_long_as_a_back_off_may_goes_on_waiting(two: World) -> None:
    clock = TurnedClock(offset=timedelta())
    italy = await two.open("it.nrm", clock)
    unsent = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    until = clock.now() + italy.gateway.core.settings.send.longest_retry
    async with italy.gateway.core.database.begin() as connection:
        await connection.execute(update(outbox).values(next_attempt_at=until))
    await italy.parts.clocks.after_ours_was_ahead()
    assert await column(italy, outbox.c.next_attempt_at, outbox.c.id == unsent) == [until]


def test_every_table_of_what_is_tried_again_is_looked_at_after_a_clock_was_ahead() -> None:
    tried = {table.name for table in metadata.tables.values() if "next_attempt_at" in table.c}
    assert tried == {table.name for table, _ in TRIED_AGAIN}


async def test_what_we_knew_of_withdrawals_while_our_clock_was_ahead_does_not_stay_fresh(
    two: World,
) -> None:
    clock = TurnedClock(offset=timedelta())
    albania = await two.open("al.nrm", clock)
    await albania.parts.receiver.follow_withdrawals()
    assert albania.parts.grants.is_fresh()
    clock.turn(timedelta(hours=-3))
    assert not albania.parts.grants.is_fresh()


async def test_what_is_signed_with_a_key_that_has_not_begun_by_our_clock_is_received_later(
    two: World,
) -> None:
    clock = TurnedClock(offset=timedelta())
    albania, italy = await two.open("al.nrm", clock), two["it.nrm"]
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await italy.push()
    [envelope] = await column(italy, outbox.c.envelope, outbox.c.id == message)
    stated, *_ = await column(italy, evidence.c.raw, evidence.c.by == "hub.main")
    receiver = albania.parts.receiver

    clock.turn(timedelta(hours=-3))
    came = [
        Incoming("envelope", envelope),
        Incoming("envelope", b"{}"),
        Incoming("evidence", stated),
    ]
    # What must wait costs nothing else its verdict.
    outcomes = [Outcome.LATER, Outcome.QUARANTINED, Outcome.LATER]
    assert await receiver.receive(came, "queue") == outcomes
    assert len(await column(albania, quarantine.c.id)) == 1

    clock.turn(timedelta(hours=3))
    await two.settle()
    assert (await state(italy, message), len(files(two, "al.nrm"))) == ("filed", 1)
