"""The failure table: at each durable write on the way, die before it or just after it, restart.

Of what was stored nothing may be lost, and nothing may be filed twice, wherever it happens. What is
to be erased is erased as it was ordered, and that is attested once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Set
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.send.sender import Stored
from broker.gateway.store.tables import (
    erasure,
    erasure_order,
    inbox,
    outbox,
    receipt,
)
from broker.gateway.store.tables import vault as vault_tables
from schemas.evidence import Fact
from tests.support.gateways import LEASE, TWO_SECTIONS, Side, World, world

PART = "demographics_language"
MOST_WRITES = 25
"""More than there are on the way; the table ends by itself."""


class Killed(BaseException):
    """The process ends here. Not an `Exception`: nothing can handle a kill -9."""


class Assassin:
    """Kills at the n-th transaction of one gateway."""

    def __init__(self, side: Side, at: int, *, persisted: bool) -> None:
        self._left = at
        self._persisted = persisted
        self.struck = False
        database: Any = side.gateway.core.database
        begin = database.begin

        @contextlib.asynccontextmanager
        async def killing() -> AsyncIterator[AsyncConnection]:
            self._left -= 1
            strike = self._left == 0
            async with begin() as connection:
                yield connection
                if strike and not self._persisted:
                    self.struck = True
                    raise Killed
            if strike:
                self.struck = True
                raise Killed

        database.begin = killing


async def books_balance(two: World) -> None:
    """Everything that the sender has on disk is filed once at the recipient, and both know."""
    async with two["it.nrm"].gateway.core.database.read() as connection:
        sent = (
            await connection.execute(
                select(outbox.c.business_id, outbox.c.state).where(
                    outbox.c.type == "referral.request"
                )
            )
        ).all()
    folder = two.network.participants["al.nrm"].home / "htcds" / "in"
    filed = Counter(path.stem for path in folder.glob("*.csv"))
    assert {row.state for row in sent} <= {"filed"}
    assert filed == Counter({str(row.business_id): 1 for row in sent})
    async with two["al.nrm"].gateway.core.database.read() as connection:
        received = list((await connection.execute(select(inbox.c.id))).scalars())
        facts = Counter(
            (row.envelope, row.fact)
            for row in await connection.execute(select(receipt.c.envelope, receipt.c.fact))
        )
    assert len(received) == len(set(received))
    assert set(facts.values()) <= {1}


@pytest.mark.parametrize("persisted", [False, True], ids=["not-persisted", "persisted"])
@pytest.mark.parametrize("victim", ["it.nrm", "al.nrm"])
async def test_dying_at_any_durable_write_loses_and_doubles_nothing(
    tmp_path: Path, victim: str, persisted: bool
) -> None:
    async with world(tmp_path / "network") as two:
        struck = 0
        for at in range(1, MOST_WRITES):
            grant = await two["it.nrm"].consent("al.nrm")
            assassin = Assassin(two[victim], at, persisted=persisted)
            with contextlib.suppress(Killed, asyncio.CancelledError, BaseExceptionGroup):
                await two["it.nrm"].refer("al.nrm", grant)
                await two.settle(2)
            await two.open(victim)
            await two[victim].parts.outbox.reconcile()
            await asyncio.sleep(LEASE)  # what the dead one had taken comes again
            await two.settle()
            await books_balance(two)
            if not assassin.struck:
                break
            struck += 1

        assert 4 <= struck < MOST_WRITES - 1


@pytest.mark.parametrize(
    ("cause", "persisted"),
    [("withdrawal", True), ("notice", False)],
    ids=["withdrawal-persisted", "notice-not-persisted"],
)
async def test_dying_at_any_durable_write_of_an_erasure_erases_what_was_ordered_and_attests_once(
    tmp_path: Path, cause: str, persisted: bool
) -> None:
    async with world(tmp_path / "network") as two:
        italy, struck = two["it.nrm"], 0
        cases: list[tuple[str, UUID, Stored]] = []
        for at in range(1, MOST_WRITES):
            case = f"CASE-{at}"
            grant = await italy.consent("al.nrm", case, sections=tuple(TWO_SECTIONS))
            sent = await italy.refer("al.nrm", grant, case_ref=case, sections=TWO_SECTIONS)
            cases.append((case, grant, sent))
        await two.settle(2)
        for at, (case, grant, sent) in enumerate(cases, start=1):
            if cause == "withdrawal":
                order = (await italy.parts.withdrawals.order(grant)).message
            else:
                body = {"ground": "no_longer_needed", "sections": [PART]}
                order = (
                    await italy.send(type="erase.notice", to="al.nrm", case_ref=case, body=body)
                ).id
            assassin = Assassin(two["al.nrm"], at, persisted=persisted)
            with contextlib.suppress(Killed, asyncio.CancelledError, BaseExceptionGroup):
                await two.settle(2)
            await two.open("al.nrm")
            await asyncio.sleep(LEASE)
            await two.settle(2)
            left = set() if cause == "withdrawal" else TWO_SECTIONS.keys() - {PART}
            await is_erased_but_for(left, two, sent)
            await is_attested_once(two, order, grant if cause == "withdrawal" else order)
            if not assassin.struck:
                break
            struck += 1

        assert 10 <= struck < MOST_WRITES - 1


async def is_erased_but_for(left: Set[str], two: World, sent: Stored) -> None:
    """Of what was sent, exactly these sections are in the vault and in the case system."""
    albania = two["al.nrm"].gateway.core
    item = vault_tables.item
    folder = two.network.participants["al.nrm"].home / "htcds" / "in"
    async with albania.database.read() as connection:
        [case] = await connection.scalars(select(inbox.c.case_ref).where(inbox.c.id == sent.id))
        kept = await connection.scalars(
            select(item.c.section).where(
                item.c.case_id == f"it.nrm:{case}", item.c.section.in_(TWO_SECTIONS)
            )
        )
        assert sorted(kept) == sorted(left)
    filed = [albania.adapter.read(path.name) for path in folder.glob(f"{sent.business_id}*")]
    assert [set(one.sections) for one in filed if one is not None] == ([set(left)] if left else [])


async def is_attested_once(two: World, order: UUID, about: UUID) -> None:
    """One order, one signed fact, one answer; and whoever ordered it knows."""
    async with two["al.nrm"].gateway.core.database.read() as connection:
        states = await connection.scalars(
            select(erasure_order.c.state).where(erasure_order.c.message == order)
        )
        facts = await connection.scalars(
            select(receipt.c.fact).where(
                receipt.c.envelope == order, receipt.c.fact == Fact.ERASED.value
            )
        )
        assert (list(states), len(list(facts))) == (["erased"], 1)
    async with two["it.nrm"].gateway.core.database.read() as connection:
        answers = await connection.scalars(select(inbox.c.id).where(inbox.c.in_reply_to == order))
        assert len(list(answers)) == 1
        told = await connection.execute(
            select(erasure).where(erasure.c.about == about, erasure.c.by == "al.nrm")
        )
        said = {row.store: row.outcome for row in told}
        assert (said["vault"], said["case-system"]) == ("erased", "erased")


async def test_dying_between_filing_and_writing_it_down_files_once(tmp_path: Path) -> None:
    async with world(tmp_path / "network") as two:
        albania = two["al.nrm"]
        grant = await two["it.nrm"].consent("al.nrm")
        await two["it.nrm"].refer("al.nrm", grant)
        await two["it.nrm"].push()
        adapter: Any = albania.gateway.core.adapter
        file_many = adapter.file_many

        def filed_and_killed(cases: Any) -> Any:
            file_many(cases)
            raise Killed

        adapter.file_many = filed_and_killed
        with pytest.raises(Killed):
            await albania.pull()
        await two.open("al.nrm")
        await asyncio.sleep(LEASE)
        await two.settle()

        await books_balance(two)
