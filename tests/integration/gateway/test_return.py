"""A return through two gateways: an option that is left, and one that is taken and alarms on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from broker.gateway import threads
from broker.gateway.store.tables import inbox, outbox
from schemas.consent import Purpose
from schemas.errors import NotPermitted
from tests.support.examples import ASSESSED, BODIES
from tests.support.gateways import CASE, World, open_alarms

SECTIONS: dict[str, Any] = {"return_travel": {}}


class Talk:
    """One thread that both sides speak in."""

    def __init__(self, made: World, grant: UUID) -> None:
        self.made, self.grant = made, grant
        self.thread: UUID | None = None

    async def say(self, by: str, name: str, *, under: bool = False, **body: Any) -> UUID:
        side = self.made[by]
        covered = {"grant": self.grant, "purpose": Purpose.RETURN_PLANNING} if under else {}
        stored = await side.send(
            type=name,
            to="al.nrm" if by == "it.nrm" else "it.nrm",
            case_ref="CASE-1",
            thread=self.thread,
            body={**BODIES[name], **body},
            **covered,
            **({"sections": SECTIONS} if name in ("return.plan.propose", "travel.notice") else {}),
            **({"sections": CASE} if name == "referral.early_notice" else {}),
        )
        self.thread = stored.thread
        await self.made.settle(2)
        return stored.id

    async def states(self) -> set[str]:
        assert self.thread is not None
        found = set()
        for side in self.made.sides.values():
            async with side.gateway.core.database.read() as connection:
                found.add((await threads.require(connection, self.thread)).state)
        return found


async def early_notice(two: World) -> Talk:
    grant = await two["it.nrm"].consent(
        "al.nrm",
        sections=("case_admin", "return_travel"),
        purpose=Purpose.RETURN_PLANNING,
    )
    talk = Talk(two, grant)
    await talk.say("it.nrm", "referral.early_notice", under=True)
    await talk.say("al.nrm", "referral.received")
    return talk


async def test_an_early_notice_is_left_again_without_a_word_of_blame(two: World) -> None:
    talk = await early_notice(two)
    assert await talk.states() == {"early_notified"}
    await talk.say("it.nrm", "return.decision", decision="stay")
    assert await talk.states() == {"stay_chosen"}
    for side in two.sides.values():
        await side.parts.deadlines.run_once()
        assert await open_alarms(side) == []


async def test_who_does_not_arrive_is_missing_on_both_sides_until_received(two: World) -> None:
    talk = await early_notice(two)
    await talk.say("al.nrm", "risk.assessment.joint", valid_until=ASSESSED)
    with pytest.raises(NotPermitted):
        await talk.say("it.nrm", "departure.confirm", under=True)
    await talk.say("it.nrm", "return.decision", decision="return")
    await talk.say("it.nrm", "return.plan.propose", under=True)
    await talk.say("al.nrm", "return.plan.agree")
    await talk.say("it.nrm", "travel.notice", under=True)
    left = await talk.say("it.nrm", "departure.confirm", under=True)
    assert await talk.states() == {"departed"}

    for side in two.sides.values():
        late = side.gateway.core.now() - timedelta(minutes=1)
        async with side.gateway.core.database.begin() as connection:
            for table in (outbox, inbox):
                await connection.execute(
                    update(table).where(table.c.id == left).values(answer_by=late, look_at=late)
                )
        await side.parts.deadlines.run_once()
        assert await open_alarms(side) == ["arrival-missing"]
    assert await talk.states() == {"missing_alert"}

    await talk.say("al.nrm", "arrival.handover.confirm")
    await talk.say("al.nrm", "return.completed")
    assert await talk.states() == {"follow_up"}
    for side in two.sides.values():
        await side.parts.deadlines.run_once()
        assert await open_alarms(side) == []
