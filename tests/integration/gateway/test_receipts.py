"""A receipt that cannot be given costs no other, and one that was lost is given again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from broker.gateway.consent.erasures import is_erased
from broker.gateway.store.tables import alarm, erasure, outbox, receipt, receipt_packet
from keys.signing import parse_jws
from schemas.bodies.consent import Onward
from schemas.errors import NotFound
from schemas.evidence import EVIDENCE_TYP, Erasure, Evidence, Store, StoreErasure
from tests.integration.gateway.test_withdrawal import column
from tests.support.gateways import World, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        yield made


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

    async def claims(_connection: Any, _grant: Any, at: Any) -> tuple[Onward, ...]:
        return tuple(
            Onward(participant=of, told_at=at, outcome=Erasure.ERASED, attested_at=at, stores=done)
            for of in ("it.nrm", "al.shelter")
        )

    albania.parts.erasing._onward = claims
    ordered = await italy.parts.withdrawals.order(grant)
    async with italy.gateway.core.database.begin() as connection:
        # The shelter's own word came first.
        await connection.execute(
            erasure.insert().values(
                grant=grant,
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
