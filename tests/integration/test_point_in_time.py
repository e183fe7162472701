"""PostgreSQL put back to a moment from a base backup and archived WAL: the same as any older copy, and
better, since more of the archive brings back what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from broker.gateway.home import rename_database
from broker.gateway.store.tables import inbox
from broker.gateway.store.tables import vault as vault_tables
from broker.hub.health import reasons_not_ready
from schemas.errors import NotFound
from tests.support.gateways import Side, World, always_the_newest_head, close, column, world
from tests.support.pitr import ArchivingPostgreSQL


@pytest.fixture
def server() -> Iterator[ArchivingPostgreSQL]:
    made = ArchivingPostgreSQL.temporary()
    try:
        made.start()
        yield made
    finally:
        made.close()


async def put_back(two: World, server: ArchivingPostgreSQL, until: str | None) -> Side:
    """As an operator does, at the hub and at Albania's gateway, which share a cluster here."""
    await two.stop_hub()
    await close(two.sides.pop("al.nrm"))
    await asyncio.to_thread(server.recover, until=until)
    await asyncio.to_thread(rename_database, two.network.participants["al.nrm"].home)
    await two.start_hub()
    always_the_newest_head(two.at_hub)
    return await two.open("al.nrm")


async def readable(side: Side, refs: list[str]) -> list[bool]:
    """Which of these the vault opens."""
    found = []
    async with side.gateway.core.database.read() as connection:
        for ref in refs:
            try:
                found.append(bool(await side.gateway.core.vault.read(connection, ref)))
            except NotFound:
                found.append(False)
    return found


async def test_a_moment_is_an_older_copy_and_more_of_the_archive_brings_everything_back(
    server: ArchivingPostgreSQL, tmp_path: Path
) -> None:
    hub, gateway = (server.create_database(name) for name in ("hub", "gateway"))
    async with world(tmp_path / "network", hub_database=hub, databases={"al.nrm": gateway}) as two:
        always_the_newest_head(two.at_hub)
        italy, albania = two["it.nrm"], two["al.nrm"]
        grant = await italy.consent("al.nrm")

        async def arrives() -> UUID:
            sent: UUID = (await italy.refer("al.nrm", grant)).id
            await two.settle()
            await two.at_hub.sequencer.run_once()
            return sent

        in_backup = await arrives()
        await asyncio.to_thread(server.base_backup)
        in_archive = await arrives()
        refs = await column(albania, vault_tables.item.c.ref)
        moment = await asyncio.to_thread(server.sql, "SELECT clock_timestamp()")
        lost = await arrives()
        core = albania.gateway.core
        await core.vault.begin_epoch(now=core.now())
        await core.vault.keys.destroy_old_epochs()
        assert all(await readable(albania, refs))
        await asyncio.to_thread(server.archive_all)

        # To the moment: the hub sees that it has signed more, and neither signs nor accepts.
        albania = await put_back(two, server, moment)
        ids = await column(albania, inbox.c.id)
        assert {in_backup, in_archive} <= set(ids)
        assert lost not in ids
        assert "log-set-back" in await reasons_not_ready(two.at_hub)
        # What is from before the epoch whose key is gone opens no more, by whichever way it came back.
        assert not any(await readable(albania, refs))

        # All of the archive: every head that was signed is there again, and nothing was lost.
        albania = await put_back(two, server, None)
        assert await reasons_not_ready(two.at_hub) == []
        assert all(await readable(albania, refs))
        later = await arrives()
        ids = await column(albania, inbox.c.id)
        assert {in_backup, in_archive, lost, later} <= set(ids)
        assert len(ids) == len(set(ids))
        assert await albania.parts.reconciling.run_once() == 0
