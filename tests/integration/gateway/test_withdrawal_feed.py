"""What is known of grants is fresh only when the whole feed of withdrawals was read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.client.results import GrantChanges
from broker.gateway.consent import grants as consent
from broker.gateway.store.tables import grant as grant_table
from tests.support.gateways import Side, World, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        yield made


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
    albania.parts.consents._fresh_at = None
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
    assert albania.parts.consents.is_fresh()
    assert await states(albania) == ["withdrawn"] * 5


async def test_who_cannot_read_the_feed_to_its_end_stays_stale_and_goes_on_from_there(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    albania = two["al.nrm"]
    await withdrawn_behind_its_back(two, 3)
    small_pages(albania, 2, monkeypatch)
    monkeypatch.setattr(consent, "MAX_PAGES", 1)
    await albania.parts.receiver.follow_withdrawals()
    assert not albania.parts.consents.is_fresh()
    assert (await states(albania)).count("withdrawn") == 2

    for _ in range(2):
        await albania.parts.receiver.follow_withdrawals()
    assert albania.parts.consents.is_fresh()
    assert await states(albania) == ["withdrawn"] * 3
