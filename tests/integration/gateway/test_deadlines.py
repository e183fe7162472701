"""Whatever is late becomes an alarm, however much else is late."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, insert, select, update

from broker.gateway.deadlines import rounds
from broker.gateway.deadlines.answers import load
from broker.gateway.network.agreements import KnownAgreement
from broker.gateway.receive.mailbox import Mailbox
from broker.gateway.store.bulk import one_of
from broker.gateway.store.tables import alarm, evidence, fact, inbox, outbox
from keys.signing import verify_evidence
from schemas.agreement import AnswerDeadline
from schemas.clock import Standing
from schemas.evidence import Fact
from tests.support.gateways import Side, World


async def open_alarms(side: Side, code: str) -> list[str]:
    async with side.gateway.core.database.read() as connection:
        query = select(alarm.c.about).where(alarm.c.code == code, alarm.c.cleared_at.is_(None))
        return list((await connection.execute(query)).scalars())


async def test_old_lateness_never_hides_new_lateness(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy = two["it.nrm"]
    monkeypatch.setattr(rounds, "GROUP", 3)
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


async def put_back(made: World, message: UUID, span: timedelta) -> None:
    """Let this message, its exchange and all that is due about it have happened so long ago."""
    for side in made.sides.values():
        async with side.gateway.core.database.begin() as connection:
            for box, asked in ((outbox, outbox.c.created_at), (inbox, inbox.c.received_at)):
                row = (await connection.execute(select(box).where(box.c.id == message))).first()
                if row is not None:
                    asked_at, due = row._mapping[asked.name], row.answer_by
                    await connection.execute(
                        update(box)
                        .where(box.c.id == message)
                        .values(
                            {
                                asked.name: asked_at - span,
                                "answer_by": due - span,
                                "look_at": asked_at - span,
                            }
                        )
                    )


async def alarms_of(side: Side) -> dict[str, str | None]:
    await side.parts.deadlines.run_once()
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(
            select(alarm.c.code, alarm.c.role).where(alarm.c.cleared_at.is_(None))
        )
        return {row.code: row.role for row in rows}


async def test_both_sides_are_warned_then_the_deputies_are_told_and_an_answer_ends_it(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    assert await alarms_of(italy) == await alarms_of(albania) == {}

    await put_back(two, sent.id, timedelta(days=12))
    assert await alarms_of(italy) == await alarms_of(albania) == {"answer-due": None}

    await put_back(two, sent.id, timedelta(days=3))
    assert await alarms_of(italy) == {"answer-overdue": "deputy"}
    assert await alarms_of(albania) == {"answer-owed": "deputy"}
    assert await signed_by_us(italy, sent.id) == [Fact.OVERDUE]

    await albania.send(
        type="referral.accept",
        to="it.nrm",
        case_ref="CASE-1",
        thread=sent.thread,
        body={"worker_role": "case worker"},
    )
    await two.settle()
    assert await alarms_of(italy) == await alarms_of(albania) == {}


async def signed_by_us(side: Side, message: UUID) -> list[Fact]:
    """What this gateway says itself about its message, as verified against the directory."""
    core = side.gateway.core
    async with core.database.read() as connection:
        query = (
            select(evidence.c.raw)
            .join(fact, fact.c.evidence == evidence.c.id)
            .where(fact.c.envelope == message, fact.c.by == core.participant)
        )
        raws = list(await connection.scalars(query))
    told = [verify_evidence(raw, core.trusted(), now=core.now()).content for raw in raws]
    assert all(one.by == core.participant and one.to is None for one in told)
    return [stated.fact for one in told for stated in one.facts if stated.envelope == message]


async def test_a_question_stops_the_clock_on_both_sides(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    await albania.send(
        type="referral.clarify.request",
        to="it.nrm",
        case_ref="CASE-1",
        thread=sent.thread,
        body={"question": "An invented question?"},
    )
    await two.settle()
    await put_back(two, sent.id, timedelta(days=13, hours=23))
    assert "answer-overdue" not in await alarms_of(italy)
    assert "answer-owed" not in await alarms_of(albania)

    async with italy.gateway.core.database.read() as connection:
        [asked] = await load(connection, outbox, [sent.id])
    assert asked.read(asked.answer_by + timedelta(days=9)).standing is Standing.PAUSED


async def test_what_two_organisations_agreed_on_is_due_sooner_and_is_delivered(two: World) -> None:
    """The corridor's own deadline stands in the header; the other side holds it against the
    agreement and not against the catalogue alone."""
    italy, albania = two["it.nrm"], two["al.nrm"]
    for side in (italy, albania):
        known = side.parts.agreements._known
        for key, one in known.items():
            sooner = AnswerDeadline(type="referral.request", hours=48)
            content = one.content.model_copy(update={"deadlines": (sooner,)})
            known[key] = KnownAgreement(content, suspended=False)
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()

    async with albania.gateway.core.database.read() as connection:
        row = (await connection.execute(select(inbox).where(inbox.c.id == sent.id))).one()
    assert row.answer_by - row.received_at <= timedelta(hours=48)


async def test_a_round_reads_only_indexes_of_what_is_open(two: World) -> None:
    """Whatever lies in the boxes and has ended is not looked at again."""
    database = two["it.nrm"].gateway.core.database
    now = two["it.nrm"].gateway.core.now()
    asked = [
        (select(box.c.id).where(box.c.look_at <= now).order_by(box.c.look_at), f"ix_{name}_look_at")
        for name, box in (("outbox", outbox), ("inbox", inbox))
    ]
    late = one_of(outbox.c.state, rounds.UNRECEIPTED)
    asked.append((select(outbox.c.id).where(outbox.c.receipt_by < now, late), "ix_outbox_unrec"))
    unfiled = one_of(outbox.c.state, rounds.UNFILED), outbox.c.type.in_(rounds.FILED_TYPES)
    asked.append((select(outbox.c.id).where(*unfiled), "ix_outbox_unfiled"))
    async with database.read() as connection:
        for query, index in asked:
            text = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
            assert index in " ".join(str(row) for row in plan)
