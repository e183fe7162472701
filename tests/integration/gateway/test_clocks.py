"""Ten minutes of a wrong clock are tolerated, and reported: whose ever it is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from broker.clock import TurnedClock
from broker.gateway.store.tables import alarm, outbox
from tests.support.gateways import Side, World, files

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
