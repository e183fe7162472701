"""Transfers, exceptions, attachments, deadlines, questions: what two workers do with each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from broker.gateway import threads
from broker.gateway.receive.opening import open_attachment, open_message
from broker.gateway.send.drafts import ExceptionDraft, MessageDraft
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import (
    alarm,
    exception_request,
    exclusion,
    inbox,
    inbox_attachment,
    outbox,
)
from schemas.consent import Purpose
from schemas.errors import (
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ExceptionRefused,
    NotPermitted,
    PolicyRefused,
    RecipientUnknown,
    UnknownType,
)
from tests.support.gateways import CASE, Side, World, column

TODAY = datetime.now(UTC).date().isoformat()
MET = {"met_person": True, "met_on": TODAY, "worker_role": "case worker"}


async def owner(side: Side, thread: UUID) -> str | None:
    async with side.gateway.core.database.read() as connection:
        state = await threads.require(connection, thread)
    return state.owner(side.gateway.core.participant)


async def state_of(side: Side, thread: UUID) -> str:
    async with side.gateway.core.database.read() as connection:
        return (await threads.require(connection, thread)).state


async def test_a_case_has_one_owner_until_both_have_signed(two: World) -> None:
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
    thread = offer.thread

    async def say(side: Side, to: str, name: str, body: dict[str, Any], **more: Any) -> None:
        await side.send(type=name, to=to, case_ref="CASE-1", thread=thread, body=body, **more)
        await two.settle(2)
        seen = {await owner(italy, thread), await owner(albania, thread)}
        owners.append(seen)

    owners: list[set[str | None]] = []
    await two.settle(2)
    await say(albania, "it.nrm", "transfer.accept", {"worker_role": "case worker"})
    manifest = [{"kind": "section", "name": "case_admin"}]
    await say(italy, "al.nrm", "transfer.casefile", {"manifest": manifest}, **consented)
    await say(albania, "it.nrm", "transfer.casefile.ack", {"outcome": "complete"})
    with pytest.raises(NotPermitted):
        await albania.send(
            type="transfer.complete", to="it.nrm", case_ref="CASE-1", thread=thread, body=MET
        )
    await say(italy, "al.nrm", "transfer.complete", MET)
    signed = (await column(italy, outbox.c.business_id, outbox.c.type == "transfer.complete"))[0]
    await say(albania, "it.nrm", "transfer.complete", {**MET, "countersigns": str(signed)})

    assert owners[:-1] == [{"it.nrm"}] * 4
    assert owners[-1] == {"al.nrm"}
    assert await state_of(italy, thread) == await state_of(albania, thread) == "completed"
    filed = await column(albania, inbox.c.type, inbox.c.state == "filed")
    assert filed == ["transfer.casefile"]


def _alert(review: datetime) -> ExceptionDraft:
    return ExceptionDraft(
        message=MessageDraft(
            type="safety.alert",
            to="al.nrm",
            case_ref="CASE-1",
            purpose=Purpose.PROTECTION,
            sections={"risk_security": {}},
            body={
                "danger": "threat_to_life",
                "facts": "Invented facts.",
                "action": "protect",
                "emergency_contact": "duty officer +39 06 0000000",
            },
        ),
        code="vital_interest_life",
        reason="Invented reason.",
        review_by=review,
    )


async def test_an_exception_needs_two_different_workers(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    draft = _alert(datetime.now(UTC).replace(microsecond=0) + timedelta(days=1))
    proposal = await italy.parts.exceptions.propose(draft, worker="first")
    with pytest.raises(ExceptionRefused):
        await italy.parts.exceptions.approve(proposal, worker="first")
    await two.settle(1)
    assert await column(albania, inbox.c.id) == []

    sent = await italy.parts.exceptions.approve(proposal, worker="second")
    await two.settle()

    opened = await open_message(albania.parts, sent.id)
    assert (opened["exception"]["decided_by"], opened["exception"]["approved_by"]) == (
        "first",
        "second",
    )
    assert "exception-received" in await column(albania, alarm.c.code)
    with pytest.raises(ExceptionRefused):
        await italy.parts.exceptions.approve(proposal, worker="third")

    async def due() -> set[str]:
        await italy.parts.deadlines.run_once()
        open_ones = await column(italy, alarm.c.code, alarm.c.cleared_at.is_(None))
        return {"exception-review", "exception-untold"} & set(open_ones)

    past = datetime.now(UTC) - timedelta(minutes=1)
    async with italy.gateway.core.database.begin() as connection:
        await connection.execute(update(exception_request).values(review_by=past, tell_by=past))
    assert await due() == {"exception-review", "exception-untold"}
    await italy.parts.exceptions.told(proposal)
    assert await due() == {"exception-review"}


async def test_an_alert_without_its_exception_is_refused(two: World) -> None:
    draft = _alert(datetime.now(UTC)).message

    with pytest.raises(ExceptionRefused):
        await two["it.nrm"].send(**{name: getattr(draft, name) for name in draft.model_fields_set})


async def test_a_file_travels_sealed_and_comes_out_the_same(two: World, tmp_path: Path) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    content = b"invented report " * 20_000
    report = tmp_path / "report.pdf"
    report.write_bytes(content)
    grant = await italy.consent("al.nrm")
    attachment = {
        "path": str(report),
        "name": "report.pdf",
        "media_type": "application/pdf",
        "section": "case_admin",
    }
    sent = await italy.refer("al.nrm", grant, attachments=(attachment,))
    await two.settle()
    while await albania.parts.attachments.fetch_due():
        pass

    [digest] = await column(albania, inbox_attachment.c.digest)
    assert await open_attachment(albania.parts, sent.id, digest) == content
    home = two.network.participants["al.nrm"].home
    for path in home.glob("gateway.sqlite3*"):
        assert content[:64] not in path.read_bytes()


async def test_a_missing_receipt_is_an_alarm_that_goes_out_when_it_comes(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await italy.push()
    async with italy.gateway.core.database.begin() as connection:
        late = italy.gateway.core.now() - timedelta(minutes=1)
        await connection.execute(update(outbox).values(receipt_by=late))

    await italy.parts.deadlines.run_once()
    raised = await column(italy, alarm.c.code, alarm.c.cleared_at.is_(None))
    await two.settle()

    assert "receipt-missing" in raised
    assert await column(italy, alarm.c.code, alarm.c.cleared_at.is_(None)) == []


async def test_an_answer_that_is_not_given_in_time_is_an_alarm(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    sent = await italy.refer("al.nrm", grant)
    await two.settle()
    async with italy.gateway.core.database.begin() as connection:
        late = italy.gateway.core.now() - timedelta(minutes=1)
        await connection.execute(
            update(outbox).where(outbox.c.id == sent.id).values(answer_by=late, look_at=late)
        )
    await italy.parts.deadlines.run_once()
    open_alarms = await column(italy, alarm.c.code, alarm.c.cleared_at.is_(None))
    await albania.send(
        type="referral.accept",
        to="it.nrm",
        case_ref="CASE-1",
        thread=sent.thread,
        body={"worker_role": "case worker"},
    )
    await two.settle()

    assert open_alarms == ["answer-overdue"]
    assert await column(italy, alarm.c.code, alarm.c.cleared_at.is_(None)) == []
    assert await state_of(italy, sent.thread) == "accepted"


async def test_what_consent_does_not_cover_leaves_nothing_behind(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    sections = {**CASE, "demographics_language": {"interpreter_needed": True}}

    with pytest.raises(ConsentScope):
        await italy.refer("al.nrm", grant, sections=sections)

    assert await column(italy, outbox.c.type) == ["consent.record"]


async def test_each_refusal_before_sending_has_its_own_code(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    request = {"case_ref": "CASE-1", "body": {"services": ["safe_house"]}, "sections": CASE}
    with pytest.raises(ConsentMissing):
        await italy.send(
            type="referral.request", to="al.nrm", purpose=Purpose.PROTECTION, **request
        )
    with pytest.raises(NotPermitted, match="the gateway says this itself"):
        await italy.send(type="consent.withdraw", to="al.nrm", case_ref="CASE-1", grant=grant)
    with pytest.raises(UnknownType):
        await italy.send(type="referral.nonsense", to="al.nrm", case_ref="CASE-1")
    with pytest.raises(RecipientUnknown):
        await italy.refer("xk.nrm", grant)
    with pytest.raises((ConsentRecipient, PolicyRefused)):
        await italy.refer("al.shelter", grant)


async def test_whom_the_person_excludes_nothing_reaches_from_here(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    async with italy.gateway.core.database.begin() as connection:
        await upsert(
            connection,
            exclusion,
            {"about": "CASE-1", "participant": "al.nrm", "at": italy.gateway.core.now()},
            key=("about", "participant"),
        )

    with pytest.raises(PolicyRefused) as refused:
        await italy.refer("al.nrm", grant)

    assert (refused.value.code, refused.value.where) == ("policy", ())
