"""Two hub processes on one PostgreSQL: side by side, without a leader."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from broker.clock import SystemClock
from broker.hub.store.tables import ENVELOPE, LOG
from schemas.evidence import Fact
from tests.support.hub import Client, World, listens, waits
from tests.support.waiting import until

NAMES = ("it.nrm", "al.nrm")


def by_way_of(client: Client, other: Client) -> Client:
    """The same participant, talking to the other hub."""
    return Client(client.party, client.world, other.http, client.incarnation, client.numbers)


async def test_the_same_envelope_at_both_at_once_is_accepted_once(
    tmp_path: Path, postgres_url: str
) -> None:
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving() as one, world.serving(state=tmp_path / "other") as two:
        it, al, agreement = await one.pair()
        there = by_way_of(it, two.client("it.nrm"))
        grant = await it.grant("al.nrm")
        for _ in range(10):
            sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))

            answers = await asyncio.gather(*(c.submit(sealed) for c in (it, there) * 3))
            repeated = await there.submit(sealed)

            # Who lost the race is told "later" or gets the same evidence, never a second one.
            assert {a.status_code for a in answers} <= {200, 201, 503}
            assert [a.status_code for a in answers].count(201) <= 1
            evidence = {a.content for a in answers if a.is_success}
            assert evidence == {repeated.content}
        items = await al.mailbox(limit=100)

    assert len(items) == 10


async def test_a_waiting_gateway_is_woken_by_the_other_hub(
    tmp_path: Path, postgres_url: str
) -> None:
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving() as one, world.serving(state=tmp_path / "other") as two:
        it, _, agreement = await one.pair()
        grant = await it.grant("al.nrm")
        elsewhere = two.client("al.nrm")
        for hub in (one.hub, two.hub):
            await until("both to hear each other", partial(listens, hub))
        waiting = asyncio.create_task(elsewhere.mailbox(wait=20))
        await until("Albania to wait", partial(waits, two.hub, "al.nrm"))

        await it.send("al.nrm", agreement=agreement, grant=grant)

        async with asyncio.timeout(10):
            items = await waiting

    assert len(items) == 1


async def test_a_hub_that_was_alone_for_long_tells_the_next_one_as_soon_as_it_is_there(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.hub.wake._GONE_AFTER", 0.2)
    monkeypatch.setattr("broker.hub.wake._HERE_EVERY", 0.05)
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving() as one:
        it, _, agreement = await one.pair()
        grant = await it.grant("al.nrm")
        await until("the first to be alone", one.hub.wake.is_alone)
        async with world.serving(state=tmp_path / "other") as two:
            waiting = asyncio.create_task(two.client("al.nrm").mailbox(wait=20))
            await until("Albania to wait", partial(waits, two.hub, "al.nrm"))
            await until("the other to be heard", lambda: not one.hub.wake.is_alone())

            await it.send("al.nrm", agreement=agreement, grant=grant)

            async with asyncio.timeout(10):
                items = await waiting
        await until("the first to be alone again", one.hub.wake.is_alone)

    assert len(items) == 1


async def test_withdrawals_and_messages_crossing_at_two_hubs_hand_nothing_over(
    tmp_path: Path, postgres_url: str
) -> None:
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving() as one, world.serving(state=tmp_path / "other") as two:
        it, al, agreement = await one.pair()
        there = by_way_of(it, two.client("it.nrm"))
        handed_over: list[dict[str, Any]] = []
        for _ in range(10):
            grant = await it.grant("al.nrm")
            messages = [
                it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)) for _ in range(4)
            ]
            withdrawal = it.withdrawal(grant, "al.nrm")

            *accepted, withdrawn = await asyncio.gather(
                *(it.submit(one) for one in messages), there.submit(withdrawal)
            )
            if withdrawn.status_code == 503:
                withdrawn = await there.submit(withdrawal)

            assert withdrawn.status_code in (200, 201)
            assert {a.status_code for a in accepted} <= {201, 403, 503}
            handed_over += await al.mailbox(limit=200)

    assert "envelope" not in {item["kind"] for item in handed_over}


async def test_both_sequence_one_log_and_no_leaf_is_lost_or_doubled(
    tmp_path: Path, postgres_url: str
) -> None:
    world = World(tmp_path, SystemClock(), database=postgres_url, names=NAMES)
    async with world.serving() as one, world.serving(state=tmp_path / "other") as two:
        it, al, agreement = await one.pair()
        there = by_way_of(it, two.client("it.nrm"))
        grant = await it.grant("al.nrm")
        sent = [it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)) for _ in range(60)]

        answers = await asyncio.gather(
            *((it if n % 2 else there).submit(each) for n, each in enumerate(sent))
        )
        receipts = [al.evidence("it.nrm", [(Fact.DELIVERED, each)]) for each in sent[:10]]
        await asyncio.gather(*(al.state_evidence(raw) for raw in receipts))
        await one.hub.sequencer.run_once()
        await two.hub.sequencer.run_once()
        async with one.hub.database.read() as connection:
            envelopes = await connection.scalar(select(func.count()).select_from(ENVELOPE))
            entries = await connection.scalar(select(func.count()).select_from(LOG.entry))
            hashes = await connection.scalar(
                select(func.count(func.distinct(LOG.entry.c.leaf_hash)))
            )
            pending = await connection.scalar(select(func.count()).select_from(LOG.leaf_pending))

    assert {a.status_code for a in answers} == {201}
    assert envelopes == 60
    # Directory, agreement, grant, sixty acceptances, ten receipts.
    assert entries == hashes == 1 + 1 + 1 + 60 + 10
    assert pending == 0
