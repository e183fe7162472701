"""After erasure: every byte of a case is looked for in every file, and the log still verifies."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from broker.audit.bundle.export import export_log
from broker.audit.log.store import LogTables
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.verify import verify_log
from broker.database import Database
from broker.gateway.settings import VaultSettings
from broker.gateway.store.tables import erasure, log
from broker.gateway.store.tables import vault as vault_tables
from broker.gateway.vault import Vault
from broker.hub.ending import erasing
from broker.hub.store.tables import ENVELOPE, LOG, PAYLOAD
from schemas.errors import NotFound
from tests.support.gateways import CASE, Side, World, world

CANARY = "Invented-Canary-4711"
SECTIONS = {"case_admin": {**CASE["case_admin"], "case_owner": CANARY}}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network") as made:
        yield made


async def column(database: Database, wanted: Any, *where: Any) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(wanted).where(*where))).scalars())


async def traces(made: World, holder: Side) -> dict[str, list[bytes]]:
    """What of a case lies anywhere: in the clear, sealed in the vault, sealed at the hub."""
    database = holder.gateway.core.database
    tables = vault_tables
    to_albania = select(ENVELOPE.c.id).where(ENVELOPE.c.recipient == "al.nrm")
    return {
        "the text": [CANARY.encode()],
        "items": await column(database, tables.item.c.sealed),
        "item keys": await column(database, tables.item_key.c.wrapped),
        "envelopes": await column(
            made.hub.state.hub.database, PAYLOAD.c.raw, PAYLOAD.c.envelope_id.in_(to_albania)
        ),
    }


def found(folders: Iterable[Path], wanted: dict[str, list[bytes]]) -> set[str]:
    """Which of these are in any file, whole or any 32 bytes out of their middle."""
    files = [path.read_bytes() for one in folders for path in one.rglob("*") if path.is_file()]
    return {
        name
        for name, many in wanted.items()
        for data in many
        if any(data[len(data) // 3 :][:32] in file or data in file for file in files)
    }


async def exported(database: Database, tables: LogTables, folder: Path) -> bytes:
    await export_log(database, tables, folder)
    return (folder / "checkpoint").read_bytes()


async def test_nothing_of_an_erased_case_is_left_in_any_file_and_the_log_still_verifies(
    two: World, tmp_path: Path
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    hub, core = two.hub.state.hub, albania.gateway.core
    places = [two.network.participants["al.nrm"].home, two.network.hub.folder]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant, sections=SECTIONS)
    await two.settle()
    await core.log.sequencer.run_once()
    wanted = await traces(two, albania)
    refs = await column(core.database, vault_tables.item.c.ref)
    assert found(places, wanted) == wanted.keys()
    await core.vault.scrub()
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(two.network.participants["al.nrm"].home / "gateway.sqlite3", backup)
    logs = ((hub.database, LOG), (core.database, log))
    heads = [await exported(*one, tmp_path / f"log-{i}") for i, one in enumerate(logs)]

    await italy.parts.withdrawals.order(grant)
    await two.settle()
    await erasing.run_once(hub, [grant])
    core.settings = core.settings.model_copy(
        update={"vault": VaultSettings(rotate_every=timedelta(), old_epoch_kept=timedelta())}
    )
    gone = await attested(italy, "al.nrm")
    await core.vault.scrub()
    await hub.database.scrub()
    assert found(places, wanted) == set()

    assert await albania.parts.epochs.run_once() == 1
    await two.settle()
    restored = Database(f"sqlite+aiosqlite:///{backup}")
    try:
        old = Vault(restored, vault_tables, core.vault._epoch_keys)
        for ref in refs:
            async with restored.read() as connection:
                with pytest.raises(NotFound):
                    await old.read(connection, ref)
    finally:
        await restored.close()
    assert gone == {
        "vault": ("erased", None),
        "case-system": ("erased", None),
        "exports": ("unknown", None),
        "backups": ("unknown", 1),
    }
    assert (await attested(italy, "al.nrm"))["backups"] == ("erased", 1)
    assert await attested(italy, hub.id) == {
        "hub-payload": ("erased", None),
        "queue": ("erased", None),
    }
    keys = (two.network.hub.log_vkey, core.log.sequencer._signers[0].verifier.to_text())
    for i, one in enumerate(logs):
        await one_more(albania, hub)
        await exported(*one, tmp_path / f"log-{i}")
        policy = Policy.of_logs(keys[i])
        assert verify_log(tmp_path / f"log-{i}", policy, earlier=[heads[i]]).proven


async def one_more(side: Side, hub: Any) -> None:
    await side.gateway.core.log.sequencer.run_once()
    await hub.sequencer.run_once()


async def attested(side: Side, by: str) -> dict[str, tuple[str, int | None]]:
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(select(erasure).where(erasure.c.by == by))
        return {row.store: (row.outcome, row.epoch) for row in rows}
