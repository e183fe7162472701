"""No agreement, no route: also for what is under way when it ends, and at the recipient too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.gateway.agreements import KnownAgreement
from broker.gateway.receive.receiver import Incoming, Outcome
from broker.gateway.store.tables import inbox, outbox, seen
from keys.signing import sign_jws
from schemas.agreement import SUSPENSION_TYP, AnswerDeadline, Suspension
from schemas.errors import NoAgreement
from tests.support.gateways import Side, World, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def known(side: Side) -> KnownAgreement:
    return next(
        one
        for one in side.parts.agreements._known.values()
        if set(one.content.parties) == {"it.nrm", "al.nrm"}
    )


def believe(side: Side, agreement: KnownAgreement) -> None:
    side.parts.agreements._known[agreement.content.id] = agreement


async def suspend(side: Side, agreement: UUID) -> None:
    core = side.gateway.core
    statement = Suspension(
        agreement=agreement, by=core.participant, action="suspend", issued_at=core.now()
    )
    raw = sign_jws(statement.to_json(), typ=SUSPENSION_TYP, signer=core.signer)
    await core.hub.suspend(raw)


async def under_way(two: World) -> Incoming:
    """A referral that the hub has handed over, and that is not received yet."""
    it = two["it.nrm"]
    grant = await it.consent("al.nrm")
    await two.settle()
    stored = await it.refer("al.nrm", grant)
    async with it.gateway.core.database.read() as connection:
        raw = await connection.scalar(select(outbox.c.envelope).where(outbox.c.id == stored.id))
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
