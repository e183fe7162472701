"""What is known of grants is fresh only when the whole feed of withdrawals was read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.client.results import GrantChange, GrantChanges
from broker.gateway.consent import knowing
from broker.gateway.consent import withdrawal as withdrawals
from broker.gateway.receive import judging
from broker.gateway.send.statements import compose_statement
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.store.tables import inbox, outbox, quarantine
from schemas.errors import CannotOpen
from tests.support.gateways import Side, World


def small_pages(side: Side, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the hub's pages held only so many changes."""
    hub = side.gateway.core.hub
    ask = hub.grant_changes

    async def page(after: int) -> GrantChanges:
        whole = await ask(after)
        if len(whole.changes) <= size:
            return whole
        some = whole.changes[:size]
        return GrantChanges(changes=some, cursor=some[-1].cursor, as_of=whole.as_of)

    monkeypatch.setattr(hub, "grant_changes", page)


async def withdrawn_behind_its_back(made: World, count: int) -> list[UUID]:
    """Grants that Albania knows and of whose withdrawal it has not heard."""
    italy, albania = made["it.nrm"], made["al.nrm"]
    grants = [await italy.consent("al.nrm", case_ref=f"CASE-{number}") for number in range(count)]
    await made.settle(1)
    for grant in grants:
        await italy.parts.withdrawals.order(grant)
    await italy.push()
    albania.parts.grants._fresh_at = None
    return grants


async def states(side: Side) -> list[Any]:
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(grant_table.c.state))).scalars())


async def test_after_more_than_one_page_every_withdrawal_is_in_force_before_we_are_fresh(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    albania = two["al.nrm"]
    await withdrawn_behind_its_back(two, 5)
    small_pages(albania, 2, monkeypatch)
    await albania.parts.receiver.follow_withdrawals()
    assert albania.parts.grants.is_fresh()
    assert await states(albania) == ["withdrawn"] * 5


async def test_who_cannot_read_the_feed_to_its_end_stays_stale_and_goes_on_from_there(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    albania = two["al.nrm"]
    await withdrawn_behind_its_back(two, 3)
    small_pages(albania, 2, monkeypatch)
    monkeypatch.setattr(knowing, "MAX_PAGES", 1)
    await albania.parts.receiver.follow_withdrawals()
    assert not albania.parts.grants.is_fresh()
    assert (await states(albania)).count("withdrawn") == 2

    for _ in range(2):
        await albania.parts.receiver.follow_withdrawals()
    assert albania.parts.grants.is_fresh()
    assert await states(albania) == ["withdrawn"] * 3


async def sealed_to(
    made: World, addressee: str, by: str, grant: UUID, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """A withdrawal that is signed by one, of a grant, and sealed to somebody else."""
    side = made[by]

    def elsewhere(core: Any, **fields: Any) -> Any:
        return compose_statement(core, **{**fields, "to": addressee})

    with monkeypatch.context() as patch:
        patch.setattr(withdrawals, "compose_statement", elsewhere)
        ordered = await side.parts.withdrawals.order(grant)
    async with side.gateway.core.database.read() as connection:
        query = select(outbox.c.envelope).where(outbox.c.id == ordered.message)
        return bytes((await connection.execute(query)).scalar_one())


def fed(side: Side, grant: UUID, raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the hub's feed held this withdrawal."""
    change = GrantChange(cursor=1, grant=grant, envelope=raw)

    async def page(after: int) -> GrantChanges:
        changes = (change,) if after < 1 else ()
        return GrantChanges(changes=changes, cursor=1, as_of=side.gateway.core.now())

    monkeypatch.setattr(side.gateway.core.hub, "grant_changes", page)


async def test_a_withdrawal_of_the_feed_is_obeyed_whoever_it_is_addressed_to(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await three.settle()
    raw = await sealed_to(three, "al.shelter", "it.nrm", grant, monkeypatch)
    fed(albania, grant, raw, monkeypatch)

    for _ in range(2):  # the feed may say it again
        await albania.parts.receiver.follow_withdrawals()
    while await albania.parts.erasing.run_once():
        pass
    assert await states(albania) == ["withdrawn"]
    async with albania.gateway.core.database.read() as connection:
        kept = select(inbox.c.state).where(inbox.c.type == "referral.request")
        assert list((await connection.execute(kept)).scalars()) == ["erased"]
        assert list((await connection.execute(select(quarantine.c.code))).scalars()) == []


async def test_a_withdrawal_that_does_not_open_is_obeyed_all_the_same(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    albania = two["al.nrm"]
    await withdrawn_behind_its_back(two, 1)

    def shut(*_args: Any) -> Any:
        raise CannotOpen("casework")

    monkeypatch.setattr(judging, "unpack", shut)
    await albania.parts.receiver.follow_withdrawals()
    assert await states(albania) == ["withdrawn"]


async def test_a_withdrawal_of_the_feed_by_a_stranger_changes_nothing(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy, shelter = three["it.nrm"], three["al.shelter"]
    grant = await italy.consent("al.nrm")
    await italy.push()
    async with italy.gateway.core.database.read() as connection:
        query = select(grant_table.c.statement).where(grant_table.c.id == grant)
        statement = bytes((await connection.execute(query)).scalar_one())
    await shelter.parts.grants.keep_statement(grant, statement)
    raw = await sealed_to(three, "al.nrm", "al.shelter", grant, monkeypatch)
    fed(italy, grant, raw, monkeypatch)

    await italy.parts.receiver.follow_withdrawals()
    assert await states(italy) == ["live"]
    async with italy.gateway.core.database.read() as connection:
        codes = list((await connection.execute(select(quarantine.c.code))).scalars())
    assert codes == ["forbidden"]
