"""No agreement, no route: also for what is under way when it ends, and at the recipient too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from broker.gateway.network.agreements import KnownAgreement
from broker.gateway.receive.receiver import Incoming, Outcome
from broker.gateway.rights.asking import RightDraft
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.store.tables import inbox, outbox, seen
from keys.jws import sign_jws
from schemas.agreement import SUSPENSION_TYP, AnswerDeadline, Suspension
from schemas.envelope import Lane
from schemas.errors import NoAgreement
from tests.support.gateways import Side, World, register_agreement, world

ACCESS = {"identity_proved": True, "delivery": "handed_over"}


def known(side: Side) -> KnownAgreement:
    one: KnownAgreement
    (one,) = (
        each
        for each in side.parts.agreements._known.values()
        if set(each.content.parties) == {"it.nrm", "al.nrm"}
    )
    return one


def believe(side: Side, agreement: KnownAgreement) -> None:
    side.parts.agreements._known[agreement.content.id] = agreement


def statement(
    side: Side,
    agreement: UUID,
    action: Literal["suspend", "resume"],
    *,
    by: str | None = None,
    minute: int = 0,
) -> bytes:
    core = side.gateway.core
    content = Suspension(
        agreement=agreement,
        by=by or core.participant,
        action=action,
        issued_at=core.now() + timedelta(minutes=minute),
    )
    return sign_jws(content.to_json(), typ=SUSPENSION_TYP, signer=core.signer)


async def suspend(side: Side, agreement: UUID) -> None:
    await side.gateway.core.hub.suspend(statement(side, agreement, "suspend"))


async def under_way(two: World) -> Incoming:
    """A referral that the hub has handed over, and that is not received yet."""
    it = two["it.nrm"]
    grant = await it.consent("al.nrm")
    await two.settle()
    stored = await it.refer("al.nrm", grant)
    async with it.gateway.core.database.read() as connection:
        found = await connection.execute(select(outbox.c.envelope).where(outbox.c.id == stored.id))
        raw: bytes = found.scalar_one()
    return Incoming("envelope", bytes(raw))


async def verdict(side: Side, item: Incoming) -> tuple[list[Outcome], list[str | None], int]:
    """What it did with it: the outcome, the code that it will state, how much of it it keeps."""
    outcome = await side.parts.receiver.receive([item], "mailbox")
    async with side.gateway.core.database.read() as connection:
        codes = list(
            await connection.scalars(select(seen.c.code).where(seen.c.outcome == "refused"))
        )
        kept = len(list(await connection.scalars(
            select(inbox.c.id).where(inbox.c.type == "referral.request")
        )))  # fmt: skip
    return outcome, codes, kept


async def test_what_is_under_way_when_it_is_suspended_is_refused_by_the_recipient(
    two: World,
) -> None:
    item, al = await under_way(two), two["al.nrm"]
    await suspend(two["it.nrm"], known(al).content.id)
    await al.parts.agreements.refresh()
    assert await verdict(al, item) == ([Outcome.DONE], ["no-agreement"], 0)


async def test_a_hub_that_lies_can_neither_suspend_nor_let_go_what_a_partner_suspended(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, al = two["it.nrm"], two["al.nrm"]
    agreement = known(al).content.id
    hub = al.gateway.core.hub
    everything = await hub.agreements()

    async def told(*words: bytes) -> bool:
        async def agreements() -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
            return tuple((raw, words) for raw, _ in everything)

        monkeypatch.setattr(hub, "agreements", agreements)
        await al.parts.agreements.refresh()
        return known(al).suspended

    before = statement(it, agreement, "resume")
    assert not await told(statement(al, agreement, "suspend", by="it.nrm"))
    true = statement(it, agreement, "suspend", minute=1)
    assert await told(true)
    assert await told()
    assert await told(before)
    assert await told(statement(al, agreement, "resume", by="it.nrm", minute=2))
    assert await told(statement(al, agreement, "resume", minute=2))
    await al.parts.agreements.load()
    assert known(al).suspended
    assert not await told(true, statement(it, agreement, "resume", minute=2))
    assert not await told(true)


async def test_what_is_under_way_when_it_runs_out_is_refused_by_the_recipient(two: World) -> None:
    item, al = await under_way(two), two["al.nrm"]
    one = known(al)
    yesterday = (al.gateway.core.now() - timedelta(days=1)).date()
    content = one.content.model_copy(update={"valid_until": yesterday})
    believe(al, replace(one, content=content))
    assert await verdict(al, item) == ([Outcome.DONE], ["no-agreement"], 0)


@pytest.mark.parametrize(
    "terms", [{"types": ("transfer.*",)}, {"sections": ("identity_core",)}, {"purposes": ()}]
)
async def test_what_it_does_not_name_is_refused_by_sender_and_recipient_each_for_itself(
    two: World, terms: dict[str, object]
) -> None:
    item, it, al = await under_way(two), two["it.nrm"], two["al.nrm"]
    grant = await it.consent("al.nrm")
    for side in (it, al):
        one = known(side)
        believe(side, replace(one, content=one.content.model_copy(update=terms)))
    with pytest.raises(NoAgreement):
        await it.refer("al.nrm", grant)
    assert await verdict(al, item) == ([Outcome.DONE], ["no-agreement"], 0)


async def test_what_erases_and_freezes_gets_through_when_it_is_suspended(two: World) -> None:
    it, al = two["it.nrm"], two["al.nrm"]
    await it.refer("al.nrm", await it.consent("al.nrm"))
    await two.settle()
    await suspend(al, known(al).content.id)
    for side in (it, al):
        await side.parts.agreements.refresh()

    for kind, ground in (("restrict", "accuracy_contested"), ("erase", "no_longer_needed")):
        wanted = RightDraft.model_validate({"kind": kind, "case": "CASE-1", "ground": ground})
        await it.parts.asking.ask(wanted, worker="anna")
    with pytest.raises(NoAgreement):
        await it.send(type="access.request", to="al.nrm", case_ref="CASE-1", body=ACCESS)
    await two.settle()

    async with al.gateway.core.database.read() as connection:
        came = set(await connection.scalars(select(inbox.c.type).where(inbox.c.kind == "rights")))
    assert came == {"restrict.notice", "erase.notice"}


async def test_an_agreed_deadline_counts_if_it_is_sooner_than_the_usual_one(two: World) -> None:
    it = two["it.nrm"]
    one = known(it)
    sooner = (
        AnswerDeadline(type="referral.*", hours=3),
        AnswerDeadline(type="transfer.*", hours=1),
    )
    believe(it, replace(one, content=one.content.model_copy(update={"deadlines": sooner})))
    now = it.gateway.core.now()
    agreed = known(it)
    assert agreed.answer_by("referral.request", now + timedelta(days=2), now) == now + timedelta(
        hours=3
    )
    assert agreed.answer_by("referral.request", now, now) == now
    assert agreed.answer_by("referral.request", None, now) is None
    stored = await it.refer("al.nrm", await it.consent("al.nrm"))
    async with it.gateway.core.database.read() as connection:
        row = (await connection.execute(select(outbox).where(outbox.c.id == stored.id))).one()
    assert row.answer_by - row.created_at <= timedelta(hours=3, seconds=1)


async def consents_kept(side: Side) -> tuple[int, int]:
    """How many grants are kept, and how many messages wait to say so."""
    async with side.gateway.core.database.read() as connection:
        grants = list(await connection.scalars(select(grant_table.c.id)))
        sent = list(await connection.scalars(select(outbox.c.id)))
    return len(grants), len(sent)


async def test_a_consent_recorded_before_the_agreement_was_heard_of_asks_once_and_arrives(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, paired=()) as two:
        it, al = two["it.nrm"], two["al.nrm"]
        assert it.parts.agreements.partners() == []
        await register_agreement(two, "it.nrm", "al.nrm")
        grant = await it.consent("al.nrm")
        await al.parts.agreements.refresh()
        await two.settle()
        async with al.gateway.core.database.read() as connection:
            came = list(await connection.scalars(select(inbox.c.type)))
        assert came == ["consent.record"]
        await it.refer("al.nrm", grant)


async def test_without_an_agreement_a_consent_is_refused_when_it_is_recorded_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, paired=()) as two:
        it = two["it.nrm"]
        with pytest.raises(NoAgreement):
            await it.consent("al.nrm")
        assert await consents_kept(it) == (0, 0)

        it.line.cut = True  # it cannot be asked for either
        with pytest.raises(NoAgreement):
            await it.consent("al.nrm")
        it.line.cut = False
        assert await consents_kept(it) == (0, 0)


async def test_under_a_suspended_agreement_a_consent_is_refused_when_it_is_recorded(
    two: World,
) -> None:
    it = two["it.nrm"]
    await suspend(it, known(it).content.id)
    await it.parts.agreements.refresh()
    with pytest.raises(NoAgreement):
        await it.consent("al.nrm")
    assert await consents_kept(it) == (0, 0)


async def test_a_consent_travels_under_the_agreement_in_force_whatever_types_that_names(
    two: World,
) -> None:
    it = two["it.nrm"]
    one = known(it)
    content = one.content
    named = content.model_copy(update={"types": ("referral.*",)})
    later = content.model_copy(
        update={"id": uuid4(), "valid_until": content.valid_until + timedelta(days=9)}
    )
    believe(it, KnownAgreement(named, suspended=False))
    believe(it, KnownAgreement(later, suspended=True))
    found = it.parts.agreements.for_partner("al.nrm", "consent.record", Lane.ROUTINE)
    assert found is not None
    assert found[0] == content.id
