"""A receipt that cannot be given costs no other, and one that was lost is given again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from broker.gateway.erasure.attested import is_erased
from broker.gateway.network.evidence import EvidenceBook
from broker.gateway.send import sender
from broker.gateway.store.tables import alarm, erasure, outbox, receipt, receipt_packet
from keys.jws import parse_jws
from schemas.bodies.consent import Onward
from schemas.errors import NotFound, StorageUnavailable
from schemas.evidence import EVIDENCE_TYP, Erasure, Evidence, Store, StoreErasure
from tests.support.gateways import World, column


async def test_a_fact_that_the_hub_refuses_costs_no_other_fact(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    sent = [(await italy.refer("al.nrm", grant)).id for _ in range(5)]
    bad, good = sent[2], {*sent} - {sent[2]}
    hub = albania.gateway.core.hub
    submit = hub.submit_evidence

    async def picky(raw: bytes) -> None:
        if str(bad) in str(json.loads(_payload(raw))):
            raise NotFound(where=("facts.envelope",))
        await submit(raw)

    monkeypatch.setattr(hub, "submit_evidence", picky)
    await two.settle(8)

    states = {key: await column(italy, outbox.c.state, outbox.c.id == key) for key in sent}
    assert {key: states[key] for key in good} == {key: ["filed"] for key in good}
    assert states[bad] != ["filed"]
    packets = await column(albania, receipt_packet.c.id, receipt_packet.c.state == "failed")
    refused = await column(albania, alarm.c.about, alarm.c.code == "receipt-refused")
    assert refused
    assert {*refused} < {str(packet) for packet in packets}


async def test_a_copy_of_a_message_whose_receipts_were_lost_is_receipted_again(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    message = (await italy.refer("al.nrm", grant)).id
    await italy.push()
    await albania.pull()
    raw = (await column(italy, outbox.c.envelope, outbox.c.id == message))[0]
    of_message = receipt.c.envelope == message

    await albania.parts.receiver.envelopes([raw, raw], "test")
    assert sorted(await column(albania, receipt.c.fact, of_message)) == ["delivered", "filed"]

    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(delete(receipt))
    await albania.parts.receiver.envelopes([raw, raw], "test")
    assert sorted(await column(albania, receipt.c.fact, of_message)) == ["delivered", "filed"]


async def test_two_copies_at_once_are_receipted_once(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    await two.settle(1)
    message = (await italy.refer("al.nrm", grant)).id
    raw = (await column(italy, outbox.c.envelope, outbox.c.id == message))[0]
    await albania.parts.receiver.envelopes([raw, raw], "test")
    assert await column(albania, receipt.c.fact, receipt.c.envelope == message) == ["delivered"]


async def test_nobody_attests_for_the_withdrawer_or_over_a_third_partys_own_word(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await two.settle()
    done = tuple(
        StoreErasure(store=store, outcome=Erasure.ERASED)
        for store in (Store.VAULT, Store.CASE_SYSTEM)
    )

    async def claims(_connection: Any, _order: Any, _grant: Any, at: Any) -> tuple[Onward, ...]:
        return tuple(
            Onward(participant=of, told_at=at, outcome=Erasure.ERASED, attested_at=at, stores=done)
            for of in ("it.nrm", "al.shelter")
        )

    albania.parts.erasing._attesting._onward = claims
    ordered = await italy.parts.withdrawals.order(grant)
    async with italy.gateway.core.database.begin() as connection:
        # The shelter's own word came first.
        await connection.execute(
            erasure.insert().values(
                about=grant,
                by="al.shelter",
                store="vault",
                outcome="kept",
                basis=None,
                at=italy.gateway.core.now(),
                message=ordered.message,
            )
        )
    await two.settle()

    assert await column(italy, erasure.c.store, erasure.c.by == "it.nrm") == []
    async with italy.gateway.core.database.read() as connection:
        assert not await is_erased(connection, grant, "al.shelter")
        kept = select(erasure.c.outcome).where(
            erasure.c.by == "al.shelter", erasure.c.store == "vault"
        )
        assert (await connection.execute(kept)).scalar_one() == "kept"


async def test_giving_up_never_overwrites_what_was_delivered(two: World) -> None:
    """The answer was lost, and the hub's receipt came over the other channel meanwhile."""
    italy = two["it.nrm"]
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await two.settle()
    async with italy.gateway.core.database.begin() as connection:
        row = (await connection.execute(select(outbox).where(outbox.c.id == message))).one()
        await italy.parts.outbox._give_up(connection, row, "unavailable")
    assert await column(italy, outbox.c.state, outbox.c.id == message) == ["filed"]
    assert await column(italy, alarm.c.code, alarm.c.code == "send-failed") == []


def _payload(raw: bytes) -> bytes:
    payload: bytes = parse_jws(raw, typ=EVIDENCE_TYP, limit=1 << 20).payload
    assert Evidence.from_json(payload)
    return payload


async def test_what_the_hub_answers_is_kept_soon_and_again_if_that_failed(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    core = italy.gateway.core
    monkeypatch.setattr(sender, "LEASE", timedelta(seconds=1))
    keep, tried = EvidenceBook.keep, []

    async def fails_once(book: EvidenceBook, *given: Any) -> set[UUID]:
        tried.append(given)
        if len(tried) == 1:
            raise StorageUnavailable("the disk is full for a moment")
        return await keep(book, *given)

    monkeypatch.setattr(EvidenceBook, "keep", fails_once)
    working = asyncio.create_task(italy.gateway.parts.outbox.run())
    try:
        await asyncio.sleep(0)
        await italy.push()  # the hub is there, and known to be
        tried.clear()
        message = (await italy.refer("al.nrm", grant)).id
        async with asyncio.timeout(20):
            while await column(italy, outbox.c.state, outbox.c.id == message) != ["submitted"]:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(core.news.of(message).wait(), 0.2)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    assert len(tried) > 1
