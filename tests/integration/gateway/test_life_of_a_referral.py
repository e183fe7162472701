"""The whole way, with a real hub, real seals and the files adapter; and what may go wrong on it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from broker.cli.demo.tamper import altered
from broker.gateway.receive.opening import open_message
from broker.gateway.receive.receiver import Incoming, Outcome
from broker.gateway.store.tables import (
    alarm,
    evidence,
    fact,
    inbox,
    opening,
    outbox,
    quarantine,
    receipt,
    seen,
    thread_event,
)
from broker.gateway.store.tables import thread as thread_table
from keys.binding import uuid7
from keys.jws import sign_jws
from schemas.base import unb64u
from schemas.errors import HubUnreachable, NotPermitted
from schemas.evidence import EVIDENCE_TYP, Evidence, Fact, FactStatement
from tests.support.gateways import Side, World, column, files


async def sent_state(side: Side, message: UUID) -> str:
    return str((await column(side, outbox.c.state, outbox.c.id == message))[0])


async def arrived_state(side: Side, message: UUID) -> str:
    return str((await column(side, inbox.c.state, inbox.c.id == message))[0])


async def referred(two: World) -> UUID:
    grant = await two["it.nrm"].consent("al.nrm")
    return (await two["it.nrm"].refer("al.nrm", grant)).id


async def raw_of(side: Side, message: UUID) -> bytes:
    return bytes((await column(side, outbox.c.envelope, outbox.c.id == message))[0])


async def test_a_referral_is_delivered_filed_and_read_and_the_sender_knows_each(two: World) -> None:
    message = await referred(two)
    await two.settle()
    opened = await open_message(two["al.nrm"].parts, message)
    await two.settle()

    assert opened["sections"]["case_admin"]["case_owner"] == "Invented worker"
    assert await sent_state(two["it.nrm"], message) == "read"
    stated = await column(two["it.nrm"], fact.c.fact, fact.c.envelope == message)
    assert {"submitted", "delivered", "filed", "read"} <= set(stated)
    assert len(files(two, "al.nrm")) == 1


async def test_many_receipts_travel_in_few_signatures(two: World) -> None:
    grant = await two["it.nrm"].consent("al.nrm")
    for _ in range(20):
        await two["it.nrm"].refer("al.nrm", grant)

    await two.settle()

    by_al = await column(two["it.nrm"], evidence.c.id, evidence.c.by == "al.nrm")
    owed = await column(two["al.nrm"], receipt.c.position)
    assert len(owed) >= 40
    assert len(by_al) <= 6


async def test_a_retry_sends_the_very_same_bytes(two: World) -> None:
    italy = two["it.nrm"]
    message = await referred(two)
    italy.line.lose_answers = True
    await italy.parts.outbox.run_once()
    italy.line.lose_answers = False
    await two.settle()

    bodies = [
        hashlib.sha256(request.content).digest()
        for request in italy.line.requests
        if request.url.path == "/envelopes"
    ]
    sent = hashlib.sha256(await raw_of(italy, message)).digest()
    assert bodies.count(sent) == 2
    assert await sent_state(italy, message) == "filed"
    assert len(files(two, "al.nrm")) == 1


async def test_with_the_hub_away_everything_waits_on_disk_and_then_arrives(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    italy.line.cut = True
    message = (await italy.refer("al.nrm", grant)).id
    for _ in range(5):
        await italy.parts.outbox.run_once()
    before = await sent_state(italy, message)
    italy = await two.open("it.nrm")
    await italy.parts.outbox.reconcile()
    await two.settle()

    assert before in ("queued", "sending")
    assert await sent_state(italy, message) == "filed"


async def test_a_message_that_never_gets_through_fails_with_its_bytes_kept(two: World) -> None:
    italy = two["it.nrm"]
    message = await referred(two)
    original = await raw_of(italy, message)
    async with italy.gateway.core.database.begin() as connection:
        long_ago = italy.gateway.core.now() - timedelta(days=1)
        await connection.execute(update(outbox).values(hard_stop_at=long_ago))
    italy.line.cut = True
    await italy.parts.outbox.run_once()
    await italy.parts.outbox.run_once()
    states = await column(italy, outbox.c.state)

    assert "failed" in states
    assert "send-failed" in await column(italy, alarm.c.code)
    italy.line.cut = False
    failed = await column(italy, outbox.c.id, outbox.c.state == "failed")
    for one in failed:
        await italy.parts.outbox.replay(one)
    await two.settle()
    assert await raw_of(italy, message) == original
    assert await sent_state(italy, message) == "filed"


async def test_only_what_failed_can_be_replayed(two: World) -> None:
    message = await referred(two)

    with pytest.raises(NotPermitted):
        await two["it.nrm"].parts.outbox.replay(message)


async def test_a_forged_rejection_changes_nothing(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await italy.push()
    digest = (await column(italy, outbox.c.digest, outbox.c.id == message))[0]
    now = italy.gateway.core.now()
    content = Evidence(
        id=uuid7(now),
        by="hub.main",
        to="it.nrm",
        issued_at=now,
        facts=(
            FactStatement(
                fact=Fact.REFUSED, envelope=message, digest=digest, at=now, code="policy"
            ),
        ),
    )
    forged = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=albania.gateway.core.signer)

    [outcome] = await italy.parts.receiver.receive([Incoming("evidence", forged)], "test")

    assert outcome is Outcome.QUARANTINED
    assert await sent_state(italy, message) == "submitted"


async def test_a_stranger_to_a_message_cannot_state_facts_about_it(two: World) -> None:
    """Albania may sign, but a message of somebody else is none of its business."""
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await italy.push()
    now = italy.gateway.core.now()
    content = Evidence(
        id=uuid7(now),
        by="al.nrm",
        to="it.nrm",
        issued_at=now,
        facts=(
            FactStatement(fact=Fact.EXPIRED, envelope=message, digest="A" * 43, at=now),
            FactStatement(fact=Fact.DELIVERED, envelope=message, digest="A" * 43, at=now),
        ),
    )
    raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=albania.gateway.core.signer)

    await italy.parts.receiver.receive([Incoming("evidence", raw)], "test")

    assert await sent_state(italy, message) == "submitted"
    assert "evidence-contradicts" in await column(italy, alarm.c.code)


async def test_of_many_concurrent_copies_one_is_handed_over(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await italy.push()
    raw = await raw_of(italy, message)
    await albania.parts.receiver.follow_withdrawals()

    outcomes = await asyncio.gather(
        *(albania.parts.receiver.envelopes([raw, raw], "test") for _ in range(5))
    )
    await two.settle()

    assert {outcome for pair in outcomes for outcome in pair} == {Outcome.DONE}
    assert await column(albania, inbox.c.id, inbox.c.id == message) == [message]
    delivered = await column(
        albania, receipt.c.position, receipt.c.envelope == message, receipt.c.fact == "delivered"
    )
    assert len(delivered) == 1
    assert len(files(two, "al.nrm")) == 1


async def test_the_same_id_with_other_bytes_is_suspect_and_the_good_one_stays(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await two.settle()
    payload = json.loads(unb64u(json.loads(await raw_of(italy, message))["payload"]))
    payload["pauses_clock"] = True
    other = sign_jws(
        json.dumps(payload).encode(),
        typ="referral-envelope+jws",
        signer=italy.gateway.core.signer,
    )

    [outcome] = await albania.parts.receiver.envelopes([other], "test")

    assert outcome is Outcome.QUARANTINED
    assert await arrived_state(albania, message) == "filed"
    assert await column(albania, quarantine.c.message) == [message]


async def test_tampered_bytes_are_kept_for_a_person_and_nobody_is_told(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await italy.push()
    bad = altered(await raw_of(italy, message))

    [outcome] = await albania.parts.receiver.envelopes([bad], "test")

    assert outcome is Outcome.QUARANTINED
    assert await column(albania, quarantine.c.raw) == [bad]
    assert await column(albania, receipt.c.position) == []
    assert "quarantined" in await column(albania, alarm.c.code)


async def test_nothing_is_unsealed_under_stale_consent_while_the_hub_is_away(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    message = await referred(two)
    await italy.push()
    raw = await raw_of(italy, message)
    albania.line.cut = True

    [outcome] = await albania.parts.receiver.envelopes([raw], "test")

    assert outcome is Outcome.LATER
    assert await column(albania, seen.c.id) == []
    with pytest.raises(HubUnreachable):
        await albania.parts.receiver.follow_withdrawals()


async def test_a_refusal_by_the_recipient_reaches_the_sender_with_its_code(two: World) -> None:
    """The thread is unknown in Albania, so its state machine does not have the message."""
    italy, albania = two["it.nrm"], two["al.nrm"]
    first = await referred(two)
    await two.settle()
    thread = (await column(italy, outbox.c.thread, outbox.c.id == first))[0]
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(thread_event.delete())
        await connection.execute(thread_table.delete())
    core = albania.gateway.core
    impatient = core.settings.receive.model_copy(update={"overtaken": timedelta()})
    core.settings = core.settings.model_copy(update={"receive": impatient})
    cancel = await italy.send(
        type="referral.cancel.request",
        to="al.nrm",
        case_ref="CASE-1",
        thread=thread,
        body={"reason": "sent_in_error"},
    )
    await two.settle()

    assert await sent_state(italy, cancel.id) == "refused"
    assert await column(italy, outbox.c.code, outbox.c.id == cancel.id) == ["not-permitted"]


async def test_every_decision_is_a_leaf_of_our_own_log(two: World) -> None:
    message = await referred(two)
    await two.settle()
    albania = two["al.nrm"]
    moved = await albania.gateway.core.log.sequencer.run_once()

    events = await column(albania, opening.c.event, opening.c.about == message)
    assert {"message:received", "message:filed"} <= set(events)
    assert moved == len(await column(albania, opening.c.leaf))


async def test_no_word_about_a_person_lies_in_the_database_outside_the_vault(two: World) -> None:
    canary = "Canary-Zuzana-4711"
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    sections = {"case_admin": {"status": "Active", "case_owner": canary}}
    await italy.refer("al.nrm", grant, sections=sections)
    await two.settle()

    for participant in ("it.nrm", "al.nrm"):
        home = two.network.participants[participant].home
        for path in home.glob("gateway.sqlite3*"):
            assert canary.encode() not in path.read_bytes(), path.name
    assert any(canary.encode() in path.read_bytes() for path in files(two, "al.nrm"))


async def test_numbers_of_a_stream_have_no_gap_and_no_repetition(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    await asyncio.gather(*(italy.refer("al.nrm", grant) for _ in range(10)))

    numbers = await column(italy, outbox.c.stream_number, outbox.c.lane == "routine")

    assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_the_recount_adds_up(two: World) -> None:
    for _ in range(3):
        await referred(two)
    await two.settle()

    async with two["al.nrm"].gateway.core.database.read() as connection:
        filed = await connection.scalar(select(func.count()).where(inbox.c.state == "filed"))
    assert filed == len(files(two, "al.nrm")) == 3
