"""After erasure: every byte of a case is looked for in every file, and the log still verifies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from broker.audit.bundle.export import export_log
from broker.audit.log.store import LogTables
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.verify import verify_log
from broker.cli.commands.trust.keys import renew
from broker.cli.homes.identity import open_identity
from broker.database import Database
from broker.gateway.home import rename_database
from broker.gateway.settings import VaultSettings
from broker.gateway.store.tables import erasure, log
from broker.gateway.store.tables import vault as vault_tables
from broker.gateway.vault import Vault
from broker.hub.ending import erasing
from broker.hub.store.tables import ENVELOPE, LOG, PAYLOAD
from keys.rotation import STANDARD
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import unseal_envelope
from schemas.directory import KeyUse
from schemas.errors import CannotOpen, NotFound
from tests.support.copies import back_up, put_back
from tests.support.gateways import CASE, Side, World, close

CANARY = "Invented-Canary-4711"
SECTIONS = {"case_admin": {**CASE["case_admin"], "case_owner": CANARY}}


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
        old = Vault(restored, vault_tables, core.vault.keys._epoch_keys)
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
        "sealed": ("unknown", None),
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


async def test_what_somebody_recorded_opens_until_the_keys_of_its_time_are_destroyed(
    two: World, tmp_path: Path
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    home = two.network.participants["al.nrm"].home
    database = f"sqlite+aiosqlite:///{home / 'gateway.sqlite3'}"
    grant = await italy.consent("al.nrm")
    await two.settle()
    await asyncio.to_thread(back_up, database, tmp_path / "backup")
    sent = await italy.refer("al.nrm", grant, sections=SECTIONS)
    await two.settle()
    recorded = await column(two.at_hub.database, PAYLOAD.c.raw, PAYLOAD.c.envelope_id == sent.id)
    await italy.parts.withdrawals.order(grant)
    await two.settle()

    assert CANARY.encode() in opened(albania, recorded)
    custody, entry = open_identity(home).custody, albania.gateway.core.self_entry()
    last = max(key.not_after for key in entry.keys if key.use is KeyUse.SEAL)
    # As `referral keys rotate` does: a successor in time, and later the old ones' end.
    _, made, entry = renew(custody, entry, last - STANDARD.overlap)
    assert made
    assert await albania.parts.epochs.run_once() == 0
    assert (await attested(italy, "al.nrm"))["sealed"] == ("unknown", None)
    renew(custody, entry, last + STANDARD.grace)
    assert await albania.parts.epochs.run_once() == 1
    assert await albania.parts.epochs.run_once() == 0
    await two.settle()

    assert (await attested(italy, "al.nrm"))["sealed"] == ("erased", None)
    with pytest.raises(CannotOpen):
        opened(albania, recorded)
    # Nor does it open for a gateway that has never heard of the message or of its erasure.
    await close(two.sides.pop("al.nrm"))
    await asyncio.to_thread(put_back, database, tmp_path / "backup")
    await asyncio.to_thread(rename_database, home)
    albania = await two.open("al.nrm")
    with pytest.raises(CannotOpen):
        opened(albania, recorded)
    await albania.parts.receiver.envelopes([bytes(raw) for raw in recorded], "test")
    await albania.pull()
    assert found([home], {"the text": [CANARY.encode()]}) == set()


def opened(side: Side, recorded: Iterable[bytes]) -> bytes:
    """What this gateway's keys make of sealed bytes, whatever consent says."""
    core = side.gateway.core
    [raw] = recorded
    envelope = verify_envelope(parse_envelope(bytes(raw)), core.trusted(), now=core.now())
    return b"".join(unseal_envelope(envelope, core.custody, None).values())


async def one_more(side: Side, hub: Any) -> None:
    await side.gateway.core.log.sequencer.run_once()
    await hub.sequencer.run_once()


async def attested(side: Side, by: str) -> dict[str, tuple[str, int | None]]:
    async with side.gateway.core.database.read() as connection:
        rows = await connection.execute(select(erasure).where(erasure.c.by == by))
        return {row.store: (row.outcome, row.epoch) for row in rows}
