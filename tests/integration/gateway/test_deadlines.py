"""Whatever is late becomes an alarm, however much else is late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, insert, select, update

from broker.gateway import deadlines
from broker.gateway.receive.mailbox import Mailbox
from broker.gateway.store.tables import alarm, fact, outbox
from tests.support.gateways import Side, World, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        yield made


async def open_alarms(side: Side, code: str) -> list[str]:
    async with side.gateway.core.database.read() as connection:
        query = select(alarm.c.about).where(alarm.c.code == code, alarm.c.cleared_at.is_(None))
        return list((await connection.execute(query)).scalars())


async def test_old_lateness_never_hides_new_lateness(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy = two["it.nrm"]
    monkeypatch.setattr(deadlines, "GROUP", 3)
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    core = italy.gateway.core
    async with core.database.begin() as connection:
        row = (await connection.execute(select(outbox).where(outbox.c.id == message))).one()
        late: dict[str, Any] = dict(row._mapping)
        del late["position"]
        late |= {"receipt_by": core.now() - timedelta(days=5), "state": "undelivered"}
        for number in range(6):
            fresh = {"id": uuid4(), "stream_number": 1000 + number}
            await connection.execute(insert(outbox).values(**late | fresh))
        await connection.execute(
            update(outbox)
            .where(outbox.c.id == message)
            .values(receipt_by=core.now() - timedelta(hours=1))
        )

    raised = [await italy.parts.deadlines.run_once() for _ in range(4)]

    assert str(message) in await open_alarms(italy, "receipt-missing")
    assert raised == [3, 3, 1, 0]
    async with core.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(alarm)) == 7


async def delivered_long_ago(made: World) -> str:
    """A referral that Albania stored a week ago, and has not filed."""
    italy, albania = made["it.nrm"], made["al.nrm"]
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await italy.push()
    channel = albania.gateway.channel
    assert isinstance(channel, Mailbox)
    await channel.visit()
    await albania.push()
    await italy.pull()
    week = italy.gateway.core.now() - timedelta(days=7)
    async with italy.gateway.core.database.begin() as connection:
        await connection.execute(
            update(outbox).where(outbox.c.id == message).values(created_at=week)
        )
        await connection.execute(update(fact).where(fact.c.envelope == message).values(at=week))
    return str(message)


async def test_a_case_that_is_delivered_and_not_filed_is_an_alarm_until_it_is(
    two: World,
) -> None:
    italy = two["it.nrm"]
    message = await delivered_long_ago(two)
    await italy.parts.deadlines.run_once()
    assert await open_alarms(italy, "filing-overdue") == [message]

    await two.settle()
    await italy.parts.deadlines.run_once()
    assert await open_alarms(italy, "filing-overdue") == []


async def test_nobody_is_asked_why_a_withdrawn_case_was_not_filed(two: World) -> None:
    italy = two["it.nrm"]
    message = await delivered_long_ago(two)
    await italy.parts.deadlines.run_once()
    assert await open_alarms(italy, "filing-overdue") == [message]

    async with italy.gateway.core.database.read() as connection:
        [grant] = (await connection.execute(select(outbox.c.grant).distinct())).scalars()
    await italy.parts.withdrawals.order(grant)
    await italy.parts.deadlines.run_once()
    assert await open_alarms(italy, "filing-overdue") == []
