"""A backup put back, as docs/operations/restore.md says it: what is lost shows, and nothing is double."""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.gateway.home import rename_database
from broker.gateway.store.tables import alarm, inbox, outbox
from tests.support.copies import back_up, put_back
from tests.support.gateways import close, column, world


async def test_after_a_restore_every_loss_is_a_gap_no_withdrawal_is_missed_and_sending_goes_on(
    tmp_path: Path, database_url: str
) -> None:
    async with world(tmp_path / "network", databases={"al.nrm": database_url}) as two:
        italy, albania = two["it.nrm"], two["al.nrm"]
        home = two.network.participants["al.nrm"].home
        copy = tmp_path / "backup"
        withdrawn = await italy.consent("al.nrm")
        live = await italy.consent("al.nrm", "CASE-2")
        await two.settle()
        old = await italy.refer("al.nrm", withdrawn)
        await two.settle()

        await asyncio.to_thread(back_up, database_url, copy)
        lost = [(await italy.refer("al.nrm", live, case_ref="CASE-2")).id for _ in range(2)]
        await italy.parts.withdrawals.order(withdrawn)
        await two.settle()
        assert set(lost) <= set(await column(albania, inbox.c.id))
        before = albania.gateway.core.incarnation

        await close(two.sides.pop("al.nrm"))
        await asyncio.to_thread(put_back, database_url, copy)
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
