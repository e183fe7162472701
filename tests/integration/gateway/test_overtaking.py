"""A message that overtakes the one that opens its thread waits for it, but not for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from broker.clock import TurnedClock
from broker.gateway.receive.receiver import Outcome
from broker.gateway.store.tables import outbox, receipt, seen, thread_event
from tests.support.gateways import World, column, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm") as made:
        await made.open("al.nrm", clock=TurnedClock())
        yield made


async def in_order(two: World) -> tuple[UUID, bytes, UUID, bytes]:
    """A referral and its cancellation, sealed and on their way; ids and bytes."""
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    first = await italy.refer("al.nrm", grant)
    cancel = await italy.send(
        type="referral.cancel.request",
        to="al.nrm",
        case_ref="CASE-1",
        thread=first.thread,
        body={"reason": "sent_in_error"},
    )
    await italy.push()
    await two["al.nrm"].parts.receiver.follow_withdrawals()
    [one] = await column(italy, outbox.c.envelope, outbox.c.id == first.id)
    [other] = await column(italy, outbox.c.envelope, outbox.c.id == cancel.id)
    return first.id, bytes(one), cancel.id, bytes(other)


async def test_it_is_kept_back_and_taken_once_the_thread_is_open(two: World) -> None:
    albania = two["al.nrm"]
    first, referral, later, cancel = await in_order(two)
    receive = albania.parts.receiver.envelopes

    assert await receive([cancel], "test") == [Outcome.EARLY]
    assert await column(albania, seen.c.id) == []
    assert await column(albania, receipt.c.position) == []
    assert await receive([referral], "test") == [Outcome.DONE]
    assert await receive([cancel], "test") == [Outcome.DONE]

    assert await column(albania, thread_event.c.message, thread_event.c.position == 0) == [first]
    assert await column(albania, thread_event.c.message, thread_event.c.position == 1) == [later]
    assert set(await column(albania, receipt.c.fact)) == {"delivered"}


async def test_in_one_batch_the_order_of_the_stream_counts(two: World) -> None:
    albania = two["al.nrm"]
    first, referral, later, cancel = await in_order(two)

    assert await albania.parts.receiver.envelopes([cancel, referral], "test") == [Outcome.DONE] * 2

    assert await column(albania, seen.c.id, seen.c.outcome == "delivered") == sorted([first, later])


async def test_if_the_thread_never_opens_it_is_refused_and_its_sender_hears(two: World) -> None:
    albania = two["al.nrm"]
    _, _, later, cancel = await in_order(two)
    patience = albania.gateway.core.settings.receive.overtaken
    clock = albania.gateway.core.clock
    assert isinstance(clock, TurnedClock)

    assert await albania.parts.receiver.envelopes([cancel], "test") == [Outcome.EARLY]
    clock.turn(patience - timedelta(seconds=1))
    assert await albania.parts.receiver.envelopes([cancel], "test") == [Outcome.EARLY]
    clock.turn(timedelta(seconds=2))
    assert await albania.parts.receiver.envelopes([cancel], "test") == [Outcome.DONE]

    assert await column(albania, seen.c.code, seen.c.id == later) == ["not-permitted"]
    assert await column(albania, receipt.c.fact, receipt.c.envelope == later) == ["refused"]


async def test_it_holds_up_nothing_else_of_its_batch(two: World) -> None:
    albania, italy = two["al.nrm"], two["it.nrm"]
    _, _, _, cancel = await in_order(two)
    grant = await italy.consent("al.nrm", case_ref="CASE-2")
    other = await italy.refer("al.nrm", grant)
    await italy.push()
    [raw] = await column(italy, outbox.c.envelope, outbox.c.id == other.id)

    outcomes = await albania.parts.receiver.envelopes([cancel, bytes(raw)], "test")

    assert outcomes == [Outcome.EARLY, Outcome.DONE]
    assert await column(albania, seen.c.id) == [other.id]
