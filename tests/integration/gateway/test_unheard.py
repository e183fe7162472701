"""What was said and never heard: refused where it is written, or else it counts as not said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from broker.gateway import threads
from broker.gateway.store.tables import alarm, inbox, outbox, thread, thread_event
from keys.jws import sign_jws
from schemas.agreement import SUSPENSION_TYP, Suspension
from schemas.consent import Purpose
from schemas.errors import ConsentMissing, NotPermitted
from tests.support.gateways import CASE, Desk, Side, World, column

TODAY = datetime.now(UTC).date().isoformat()
MET = {"met_person": True, "met_on": TODAY, "worker_role": "case worker"}


async def states(two: World, id: UUID) -> set[str]:
    return {
        one
        for name in two.sides
        for one in await column(two[name], thread.c.state, thread.c.id == id)
    }


async def owners(two: World, id: UUID) -> set[str | None]:
    found = set()
    for side in two.sides.values():
        async with side.gateway.core.database.read() as connection:
            exchange = await threads.require(connection, id)
        found.add(exchange.owner(side.gateway.core.participant))
    return found


async def hold(side: Side, *, let_go: bool = False) -> None:
    """The agreement of these two is suspended at the hub; the other gateway does not know it yet."""
    core = side.gateway.core
    [agreement] = [
        one.content.id
        for one in side.parts.agreements._known.values()
        if set(one.content.parties) == {"it.nrm", "al.nrm"}
    ]
    content = Suspension(
        agreement=agreement,
        by=core.participant,
        action="resume" if let_go else "suspend",
        issued_at=core.now() + timedelta(seconds=let_go),
    )
    await core.hub.suspend(sign_jws(content.to_json(), typ=SUSPENSION_TYP, signer=core.signer))


async def test_what_would_answer_nothing_is_refused_before_it_moves_anything(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    assess = (Purpose.PROTECTION, ("risk_security",))
    grant = await italy.consent("al.nrm", purpose=assess[0], sections=assess[1])
    asked = await italy.send(
        type="risk.assessment.request",
        to="al.nrm",
        case_ref="CASE-1",
        grant=grant,
        purpose=assess[0],
        sections={"risk_security": {}},
        body={"sources": ["debt"]},
    )
    more: dict[str, Any] = {
        "type": "risk.assessment.joint",
        "to": "al.nrm",
        "case_ref": "CASE-1",
        "thread": asked.thread,
        "body": {"level": "low", "assessed_on": TODAY, "valid_until": TODAY},
    }
    with pytest.raises(ConsentMissing, match="name the grant") as refused:
        await italy.send(**more)
    assert refused.value.where == ("grant",)
    assert await column(italy, thread.c.state) == ["asked"]
    assert "risk.assessment.joint" not in await column(italy, outbox.c.type)

    # What the code says to do, does it.
    said = await italy.send(**more, grant=grant)
    await two.settle()
    assert await column(italy, outbox.c.state, outbox.c.id == said.id) == ["filed"]
    assert await states(two, asked.thread) == {"answered"}
    assert await column(albania, alarm.c.code) == []


async def test_what_was_given_up_is_shown_as_unheard_and_counts_as_not_said_once_it_can_go_no_more(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    asked = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    answer: dict[str, Any] = {
        "type": "referral.accept",
        "to": "it.nrm",
        "case_ref": "CASE-1",
        "thread": asked.thread,
        "body": {"worker_role": "case worker"},
    }
    desk = Desk(two, "al.nrm")

    async def seen() -> tuple[str, str]:
        shown = (await desk.get(f"/v1/threads/{asked.thread}")).json()
        assert shown["history"][0]["sent"] is None, "what the partner said is the partner's"
        return shown["state"], shown["history"][-1]["sent"]

    said = await albania.send(**answer)
    past = albania.gateway.core.now() - timedelta(hours=1)
    await change(albania, said.id, hard_stop_at=past)
    albania.line.cut = True
    await albania.parts.outbox.run_once()
    assert await seen() == ("accepted", "unknown")
    albania.line.cut = False
    await albania.parts.reconciling.run_once()
    await albania.parts.deadlines.run_once()
    assert await seen() == ("accepted", "failed"), "it may still be sent"

    await change(albania, said.id, expires_at=past)
    await albania.parts.deadlines.run_once()
    assert await seen() == ("delivered", "expired")
    assert await column(albania, alarm.c.code, alarm.c.cleared_at.is_(None)) == ["expired"]
    with pytest.raises(NotPermitted):
        await albania.parts.outbox.replay(said.id)

    await albania.send(**answer, replaces=said.id)
    await two.settle()
    assert await states(two, asked.thread) == {"accepted"}


async def change(side: Side, message: UUID, **values: Any) -> None:
    async with side.gateway.core.database.begin() as connection:
        await connection.execute(update(outbox).where(outbox.c.id == message).values(**values))


async def test_an_answer_that_the_hub_refuses_is_owed_again_and_a_question_is_a_draft_again(
    two: World,
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    sent = await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    answer: dict[str, Any] = {
        "type": "referral.accept",
        "to": "it.nrm",
        "case_ref": "CASE-1",
        "thread": sent.thread,
        "body": {"worker_role": "case worker"},
    }
    refused = await albania.send(**answer)
    assert await column(albania, thread.c.state) == ["accepted"]
    question: dict[str, Any] = {"services": ["safe_house"]}
    asked = await albania.send(type="capacity.query", to="it.nrm", case_ref="CASE-1", body=question)
    await hold(italy)
    await two.settle()
    assert await column(albania, outbox.c.code, outbox.c.id == refused.id) == ["no-agreement"]
    assert await states(two, sent.thread) == {"delivered"}
    assert await states(two, asked.thread) == {"draft"}
    assert await column(albania, thread_event.c.type, thread_event.c.unsaid) == [
        "referral.accept",
        "capacity.query",
    ]

    late = datetime.now(UTC) - timedelta(minutes=1)
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(
            update(inbox).where(inbox.c.id == sent.id).values(answer_by=late, look_at=late)
        )
    await albania.parts.deadlines.run_once()
    assert set(await column(albania, alarm.c.code)) == {"refused", "answer-owed"}

    await hold(italy, let_go=True)
    await albania.send(**answer)
    await two.settle()
    await albania.parts.deadlines.run_once()
    assert await states(two, sent.thread) == {"accepted"}
    open_alarms = await column(albania, alarm.c.code, alarm.c.cleared_at.is_(None))
    assert set(open_alarms) == {"refused"}


async def test_a_signature_that_the_hub_refuses_hands_nothing_over(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm", purpose=Purpose.CASE_TRANSFER)
    consented = {"grant": grant, "purpose": Purpose.CASE_TRANSFER, "sections": CASE}
    offer = await italy.send(
        type="transfer.offer",
        to="al.nrm",
        case_ref="CASE-1",
        body={"effective_date": TODAY, "new_worker_known": True, "risk_valid_until": TODAY},
        **consented,
    )

    async def say(side: Side, to: str, name: str, body: dict[str, Any], **more: Any) -> UUID:
        sent = await side.send(
            type=name, to=to, case_ref="CASE-1", thread=offer.thread, body=body, **more
        )
        await two.settle(2)
        return sent.business_id

    await two.settle(2)
    await say(albania, "it.nrm", "transfer.accept", {"worker_role": "case worker"})
    manifest = [{"kind": "section", "name": "case_admin"}]
    await say(italy, "al.nrm", "transfer.casefile", {"manifest": manifest}, **consented)
    await say(albania, "it.nrm", "transfer.casefile.ack", {"outcome": "complete"})
    signed = await say(italy, "al.nrm", "transfer.complete", MET)
    countersigned = {**MET, "countersigns": str(signed)}

    await hold(italy)
    await say(albania, "it.nrm", "transfer.complete", countersigned)
    assert await owners(two, offer.thread) == {"it.nrm"}
    assert await states(two, offer.thread) == {"met_person"}

    await hold(italy, let_go=True)
    await say(albania, "it.nrm", "transfer.complete", countersigned)
    assert await owners(two, offer.thread) == {"al.nrm"}
    assert await states(two, offer.thread) == {"completed"}
