"""Sending on PostgreSQL, where several transactions of one gateway run at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.gateway.network.evidence import EvidenceBook
from broker.gateway.send.composer import Composer
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Stored
from broker.gateway.store.tables import fact, outbox, thread, thread_event
from keys.binding import uuid7
from schemas.consent import Purpose
from schemas.errors import ConsentMissing
from schemas.evidence import Evidence, Fact, FactStatement, VerifiedEvidence
from tests.support.gateways import CASE, Side, World, waits, world


@pytest.fixture
async def two(tmp_path: Path, postgres_url: str) -> AsyncIterator[World]:
    databases = {"it.nrm": postgres_url}
    async with world(tmp_path / "network", "it.nrm", "al.nrm", databases=databases) as made:
        yield made


async def _row(side: Side, message: UUID) -> Any:
    async with side.gateway.core.database.read() as connection:
        return (await connection.execute(select(outbox).where(outbox.c.id == message))).one()


async def _evidence(side: Side, message: UUID, stated: Fact) -> VerifiedEvidence:
    core = side.gateway.core
    row, now = await _row(side, message), core.now()
    by = core.settings.hub.id if stated is Fact.SUBMITTED else row.recipient
    content = Evidence(
        id=uuid7(now),
        by=by,
        to=core.participant,
        issued_at=now,
        facts=(FactStatement(fact=stated, envelope=message, digest=row.digest, at=now),),
    )
    return VerifiedEvidence(raw=content.to_json(), signed_by="k" * 43, content=content)


@pytest.mark.parametrize(
    ("first", "second"), [(Fact.SUBMITTED, Fact.FILED), (Fact.FILED, Fact.SUBMITTED)]
)
async def test_of_two_evidences_kept_at_once_the_stronger_fact_stands(
    two: World, first: Fact, second: Fact
) -> None:
    italy = two["it.nrm"]
    core = italy.gateway.core
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    book = EvidenceBook(core)
    one, other = [await _evidence(italy, sent.id, stated) for stated in (first, second)]

    async def keep() -> None:
        async with core.database.begin() as connection:
            await book.keep(connection, [other])

    async with core.database.begin() as connection:
        await book.keep(connection, [one])
        later = asyncio.create_task(keep())
        while not later.done() and not await waits(italy):  # noqa: ASYNC110 (nothing tells us)
            await asyncio.sleep(0)
        assert not later.done()  # it waits for the facts of the first
    await later

    row = await _row(italy, sent.id)
    assert (row.state, row.submitted_at is not None) == ("filed", True)


async def test_what_is_handed_in_together_is_judged_each_for_itself(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    composer = Composer(italy.gateway.core, italy.parts.agreements)

    def draft(given: UUID | None) -> MessageDraft:
        return MessageDraft(
            type="referral.request",
            to="al.nrm",
            case_ref="CASE-1",
            grant=given,
            purpose=Purpose.PROTECTION,
            sections=CASE,
            body={"services": ["safe_house"]},
        )

    async def send(given: UUID | None) -> Stored:
        stored: Stored = await italy.parts.sender.send(await composer(draft(given)))
        return stored

    answers = await asyncio.gather(
        *(send(given) for given in (grant, None, grant, grant)), return_exceptions=True
    )

    assert isinstance(answers[1], ConsentMissing)
    stored = [answer for answer in answers if isinstance(answer, Stored)]
    rows = [await _row(italy, item.id) for item in stored]
    numbers = sorted(row.stream_number for row in rows)
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    async with italy.gateway.core.database.read() as connection:
        threads = [item.thread for item in stored]
        states = await connection.execute(select(thread.c.id).where(thread.c.id.in_(threads)))
        events = await connection.execute(
            select(thread_event.c.position).where(thread_event.c.thread.in_(threads))
        )
        assert len(states.all()) == 3
        assert list(events.scalars()) == [0, 0, 0]


async def test_what_is_stored_while_the_hub_is_there_leaves_at_once(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.push()
    working = asyncio.create_task(italy.parts.outbox.run())
    try:
        while not italy.parts.outbox.is_ready():  # noqa: ASYNC110 (it says so to nobody)
            await asyncio.sleep(0)
        sent = await italy.refer("al.nrm", grant)
        row = await _until(italy, sent.id, "submitted")
        assert row.attempts == 1

        italy.line.cut = True
        waiting = await italy.refer("al.nrm", grant)
        await _until(italy, waiting.id, "queued")
        assert not italy.parts.outbox.is_ready()
        italy.line.cut = False
        await _until(italy, waiting.id, "submitted")
    finally:
        working.cancel()
    async with italy.gateway.core.database.read() as connection:
        facts = await connection.execute(
            select(fact.c.fact).where(fact.c.envelope.in_([sent.id, waiting.id]))
        )
        assert list(facts.scalars()) == ["submitted", "submitted"]


async def _until(side: Side, message: UUID, state: str) -> Any:
    for _ in range(1000):
        row = await _row(side, message)
        if row.state == state:
            return row
        await asyncio.sleep(0.02)
    raise AssertionError(f"it is {row.state}")
