"""A later version changes the case that was filed; the case system never gets a second one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from adapters.base import CaseRecord
from adapters.systems.files import FilesSystem
from broker.gateway.store.tables import inbox
from schemas.consent import Purpose
from tests.support.gateways import Side, World

SECTIONS = {
    "case_admin": {"status": "Active"},
    "demographics_language": {"primary_language": "sqi"},
}


async def exchange(one: Side, other: Side) -> None:
    await one.push()
    await other.pull()


def cases(side: Side) -> list[CaseRecord]:
    system = side.gateway.core.adapter
    assert isinstance(system, FilesSystem)
    names = sorted(path.name for path in (Path(system.root) / "in").glob("*.csv"))
    return [case for name in names if (case := system.read(name)) is not None]


async def state_of(side: Side, business_id: UUID) -> tuple[str, str | None]:
    async with side.gateway.core.database.read() as connection:
        row = (
            await connection.execute(select(inbox).where(inbox.c.business_id == business_id))
        ).one()
    return row.state, row.code


async def amended(italy: Side, grant: UUID, first: Any, replaces: UUID) -> Any:
    return await italy.send(
        type="referral.amend",
        to="al.nrm",
        case_ref="CASE-1",
        grant=grant,
        purpose=Purpose.PROTECTION,
        thread=first.thread,
        sections={"case_admin": {"status": "FollowUp"}},
        body={"replaces": str(replaces)},
    )


async def test_an_amended_referral_changes_its_case_as_a_whole(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(SECTIONS))
    first = await italy.refer("al.nrm", grant, sections=SECTIONS)
    await exchange(italy, albania)
    second = await amended(italy, grant, first, first.business_id)
    await exchange(italy, albania)

    (case,) = cases(albania)
    assert case.sections == {"case_admin": {"status": "FollowUp"}}
    assert await state_of(albania, second.business_id) == ("filed", None)

    await italy.parts.withdrawals.order(grant, [])
    for _ in range(2):
        await exchange(italy, albania)
        await exchange(albania, italy)
    assert cases(albania) == []


async def test_a_correction_changes_only_what_was_wrong(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(SECTIONS))
    first = await italy.refer("al.nrm", grant, sections=SECTIONS)
    await exchange(italy, albania)
    await italy.send(
        type="rectify.notice",
        to="al.nrm",
        case_ref="CASE-1",
        grant=grant,
        purpose=Purpose.PROTECTION,
        sections={"demographics_language": {"primary_language": "eng"}},
        body={"corrects": str(first.business_id), "sections": ["demographics_language"]},
    )
    await exchange(italy, albania)
    (case,) = cases(albania)
    assert case.sections == {
        "case_admin": {"status": "Active"},
        "demographics_language": {"primary_language": "eng"},
    }


async def test_a_version_of_what_is_not_here_makes_no_case(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm", sections=tuple(SECTIONS))
    first = await italy.refer("al.nrm", grant, sections=SECTIONS)
    await exchange(italy, albania)
    stray = await amended(italy, grant, first, uuid4())
    await exchange(italy, albania)
    (case,) = cases(albania)
    assert case.sections == SECTIONS
    assert await state_of(albania, stray.business_id) == ("failed", "not-found")
