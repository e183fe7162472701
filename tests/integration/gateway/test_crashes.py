"""The failure table: at each durable write on the way, die before it or just after it, restart.

Of what was stored nothing may be lost, and nothing may be filed twice, wherever it happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.tables import inbox, outbox, receipt
from tests.support.gateways import LEASE, Side, World, world

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
