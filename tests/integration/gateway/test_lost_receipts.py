"""What was stated about our messages and lost on its way is asked for, and only that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from broker.gateway.network import lost_receipts
from broker.gateway.store.tables import outbox
from broker.hub.store.deliveries import EVIDENCE_ITEM
from broker.hub.store.tables import DELIVERY
from schemas.errors import NotFound
from tests.support.gateways import Side, World, world


@pytest.fixture
async def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(lost_receipts, "PATIENCE", timedelta())
    async with world(tmp_path / "network") as made:
        yield made


async def state(side: Side, message: UUID) -> str:
    async with side.gateway.core.database.read() as connection:
        found = await connection.scalar(select(outbox.c.state).where(outbox.c.id == message))
        return str(found)


async def lose(two: World) -> None:
    """What RabbitMQ has confirmed and then lost: the hub has nothing more to hand over."""
    async with two.at_hub.database.begin() as connection:
        await connection.execute(delete(DELIVERY).where(DELIVERY.c.item == EVIDENCE_ITEM))


def asked(side: Side) -> list[Any]:
    """For what the hub was asked, by path."""
    return [one.url.path for one in side.line.requests if one.url.path.startswith("/envelopes/")]


async def test_a_receipt_that_the_queue_lost_is_fetched_from_the_hubs_records(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    await two.settle()
    sent = [(await italy.refer("al.nrm", grant)).id for _ in range(3)]
    await italy.push()
    await albania.pull()
    await albania.push()
    await lose(two)
    await two.settle()
    assert {await state(italy, one) for one in sent} == {"submitted"}
    await two.at_hub.sequencer.run_once()  # a statement is given out with its proof

    assert await italy.parts.lost_receipts.run_once() > 0

    assert {await state(italy, one) for one in sent} == {"filed"}
    # What has come to its end is asked about no more.
    italy.line.requests.clear()
    assert await italy.parts.lost_receipts.run_once() == 0
    assert asked(italy) == []


async def test_a_receipt_under_no_signed_head_yet_is_fetched_in_the_next_round(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await italy.push()
    await albania.pull()
    await albania.push()
    await lose(two)
    await two.settle()
    await two.at_hub.sequencer.run_once()

    async def not_yet(**_named: object) -> None:
        raise NotFound

    with monkeypatch.context() as early:
        early.setattr(italy.gateway.core.hub, "proof", not_yet)
        assert await italy.parts.lost_receipts.run_once() == 0
    assert await state(italy, sent) == "submitted"

    assert await italy.parts.lost_receipts.run_once() > 0

    assert await state(italy, sent) == "filed"


async def test_while_nothing_was_lost_asking_changes_nothing(two: World) -> None:
    italy = two["it.nrm"]
    sent = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await italy.push()
    before = await state(italy, sent)

    assert await italy.parts.lost_receipts.run_once() == 0

    assert (before, await state(italy, sent)) == ("submitted", "submitted")


async def test_however_much_waits_everything_is_asked_about(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_receipts, "MOST", 2)
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    sent = [(await italy.refer("al.nrm", grant)).id for _ in range(5)]
    await italy.push()
    italy.line.requests.clear()

    for _ in range(3):
        await italy.parts.lost_receipts.run_once()

    assert {f"/envelopes/{one}" for one in sent} <= set(asked(italy))
