"""A backup put back, as docs/operations/restore.md says it: what is lost shows, and nothing is double."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import select

from broker.gateway.home import rename_database
from broker.gateway.store.tables import alarm, inbox, outbox
from tests.support.gateways import Side, close, world


async def column(side: Side, wanted: Any, *where: Any) -> list[Any]:
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(wanted).where(*where))).scalars())


def vacuum_into(database: Path, copy: Path) -> None:
    connection = sqlite3.connect(database)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()


async def test_after_a_restore_every_loss_is_a_gap_no_withdrawal_is_missed_and_sending_goes_on(
    tmp_path: Path,
) -> None:
    async with world(tmp_path / "network") as two:
        italy, albania = two["it.nrm"], two["al.nrm"]
        home = two.network.participants["al.nrm"].home
        database, copy = home / "gateway.sqlite3", tmp_path / "backup.sqlite3"
        withdrawn = await italy.consent("al.nrm")
        live = await italy.consent("al.nrm", "CASE-2")
        await two.settle()
        old = await italy.refer("al.nrm", withdrawn)
        await two.settle()

        await asyncio.to_thread(vacuum_into, database, copy)
        lost = [(await italy.refer("al.nrm", live, case_ref="CASE-2")).id for _ in range(2)]
        await italy.parts.withdrawals.order(withdrawn)
        await two.settle()
        assert set(lost) <= set(await column(albania, inbox.c.id))
        before = albania.gateway.core.incarnation

        await close(two.sides.pop("al.nrm"))
        for left in home.glob("gateway.sqlite3*"):
            left.unlink()
        shutil.copy(copy, database)
        await asyncio.to_thread(rename_database, home)
        albania = await two.open("al.nrm")

        assert albania.gateway.core.incarnation != before
        await two.settle()
        # Withdrawn after the backup: known again before anything is opened, and destroyed again.
        states = await column(albania, inbox.c.state, inbox.c.id == old.id)
        assert states in (["stopped"], ["erased"])
        # What came after it is missing, and said to be.
        assert await albania.parts.reconciling.run_once() == 2
        gaps = await column(albania, alarm.c.about, alarm.c.code == "stream-gap")
        assert sorted(gaps) == sorted(map(str, lost))
        # The partner says it anew, and we speak under the new name.
        again = await italy.refer("al.nrm", live, case_ref="CASE-2")
        await two.settle()
        assert again.id in await column(albania, inbox.c.id)
        reply = await albania.consent("it.nrm", "CASE-9")
        sent = await albania.refer("it.nrm", reply, case_ref="CASE-9")
        await two.settle()
        assert await column(albania, outbox.c.state, outbox.c.id == sent.id) in (
            ["delivered"],
            ["filed"],
        )
