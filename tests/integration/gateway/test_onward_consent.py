"""What is passed on is never more than what the person gave."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.gateway.send.drafts import ConsentDraft
from broker.gateway.store.tables import grant as grant_table
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import ConsentScope
from tests.support.gateways import Side, World


async def received(made: World) -> UUID:
    """A grant of Italy's, with a referral that reached Albania under it."""
    grant = await made["it.nrm"].consent("al.nrm")
    await made["it.nrm"].refer("al.nrm", grant)
    await made.settle()
    return grant


async def until_of(side: Side, grant: UUID) -> date:
    async with side.gateway.core.database.read() as connection:
        found: date = (
            await connection.execute(select(grant_table.c.until).where(grant_table.c.id == grant))
        ).scalar_one()
        return found


def onward(source: UUID, until: date, purpose: Purpose = Purpose.PROTECTION) -> ConsentDraft:
    return ConsentDraft(
        to="al.shelter",
        case_ref="AL-1",
        scopes=(ScopeGrant(purpose=purpose, section="case_admin"),),
        principal="pseudonym-1",
        valid_until=until,
        language="sqi",
        notice="invented-1",
        derived_from=source,
    )


async def test_a_derived_grant_never_outlives_its_source(three: World) -> None:
    albania, grant = three["al.nrm"], await received(three)
    until = await until_of(albania, grant)
    with pytest.raises(ConsentScope) as refused:
        await albania.parts.consents.give(onward(grant, until + timedelta(days=1)))
    assert refused.value.where == ("valid_until",)
    assert await albania.parts.consents.give(onward(grant, until))


async def test_a_derived_grant_keeps_the_purpose_of_its_source(three: World) -> None:
    albania, grant = three["al.nrm"], await received(three)
    until = await until_of(albania, grant)
    with pytest.raises(ConsentScope) as refused:
        await albania.parts.consents.give(onward(grant, until, Purpose.CASE_TRANSFER))
    assert refused.value.where == ("scopes.case_admin",)
