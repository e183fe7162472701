"""The vault: what it keeps opens only where it belongs, and what it erased is gone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update

from broker.database import Database, new_metadata
from broker.gateway.store.vault_tables import VaultTables, create_vault, vault_tables
from broker.gateway.vault import EpochKeys, NewItem, Vault
from keys.custody import KdfCost, create_custody, open_custody
from keys.lifecycle import KeySet
from schemas.errors import NotFound, VaultTampered

CANARY = "Invented-Çanary-شخص".encode() * 40
GRANT = UUID("0194f3a0-0000-7000-8000-000000000001")


class Custody:
    """Where `EpochKeys` saves to; remembers, as a file would."""

    def __init__(self) -> None:
        self.saved: dict[int, bytes] = {}

    def save(self, keys: Mapping[int, bytes]) -> None:
        self.saved = dict(keys)


class Kept:
    """A vault with what tests look behind its back with."""

    def __init__(self, database: Database, tables: VaultTables, custody: Custody) -> None:
        self.database = database
        self.tables = tables
        self.custody = custody
        self.vault = Vault(database, tables, EpochKeys(custody.saved, custody.save))

    async def store(self, case: str, section: str, grant: UUID | None, data: bytes = CANARY) -> str:
        async with self.database.begin() as connection:
            return await self.vault.store(connection, case, section, grant, data)

    async def read(self, ref: str) -> bytes:
        async with self.database.read() as connection:
            return await self.vault.read(connection, ref)

    async def wrapped_keys(self) -> list[bytes]:
        async with self.database.read() as connection:
            found: list[bytes] = []
            for table in (self.tables.case_key, self.tables.item_key):
                found += (await connection.execute(select(table.c.wrapped))).scalars()
            return found


async def open_vault(url: str, custody: Custody) -> Kept:
    database = Database(url)
    tables = vault_tables(new_metadata())
    async with database.begin() as connection:
        await connection.run_sync(create_vault, tables)
    return Kept(database, tables, custody)


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[Kept]:
    """On both databases."""
    vault = await open_vault(database_url, Custody())
    yield vault
    await vault.database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.sqlite3"


@pytest.fixture
async def on_file(file: Path) -> AsyncIterator[Kept]:
    """On SQLite alone, where the bytes of the files can be looked at."""
    vault = await open_vault(f"sqlite+aiosqlite:///{file}", Custody())
    yield vault
    await vault.database.close()


def on_disk(file: Path) -> bytes:
    """Every byte of the database, its write-ahead log and whatever else lies beside it."""
    return b"".join(path.read_bytes() for path in sorted(file.parent.glob(file.name + "*")))


async def test_what_was_stored_is_read_and_never_lies_readable_on_disk(
    on_file: Kept, file: Path
) -> None:
    ref = await on_file.store("IT-DEMO-0001", "health_general", GRANT)
    assert await on_file.read(ref) == CANARY
    assert CANARY[:24] not in on_disk(file)


async def test_a_case_without_a_grant_is_kept_too(kept: Kept) -> None:
    ref = await kept.store("IT-DEMO-0001", "risk_security", None)
    assert await kept.read(ref) == CANARY


async def test_many_items_are_kept_in_one_go_and_come_back_in_order(kept: Kept) -> None:
    items = [
        NewItem(f"C-{n % 7}", f"section_{n % 3}", GRANT if n % 2 else None, b"%d" % n)
        for n in range(500)
    ]
    async with kept.database.begin() as connection:
        refs = await kept.vault.store_many(connection, items)
        found = await kept.vault.read_many(connection, refs)
    assert [found[ref] for ref in refs] == [item.plaintext for item in items]
    assert len(await kept.wrapped_keys()) == 7 + len(
        {(item.case_id, item.section, item.grant) for item in items}
    )


async def test_transactions_that_meet_on_a_new_case_agree_on_its_key(kept: Kept) -> None:
    refs = await asyncio.gather(
        *(kept.store("C-1", f"section_{n % 2}", GRANT, b"%d" % n) for n in range(16))
    )
    assert [await kept.read(ref) for ref in refs] == [b"%d" % n for n in range(16)]
    assert len(await kept.wrapped_keys()) == 1 + 2


async def test_cases_that_arrive_during_a_rotation_are_not_lost(kept: Kept) -> None:
    await kept.store("C-0", "identity_core", GRANT)

    async def arrive(n: int) -> str:
        await asyncio.sleep(0.002 * n)
        return await kept.store(f"C-{n}", "identity_core", GRANT)

    *refs, _, _ = await asyncio.gather(
        *(arrive(n) for n in range(24)), kept.vault.rotate_epoch(), asyncio.sleep(0)
    )
    assert sorted(kept.custody.saved) == [2]
    for ref in refs[:24]:
        assert await kept.read(str(ref)) == CANARY


async def test_a_ciphertext_moved_to_another_row_is_suspect(kept: Kept) -> None:
    one = await kept.store("C-1", "identity_core", GRANT, b"one")
    two = await kept.store("C-1", "identity_core", GRANT, b"two")
    item = kept.tables.item
    async with kept.database.begin() as connection:
        sealed = dict((await connection.execute(select(item.c.ref, item.c.sealed))).all())
        for ref, other in ((one, two), (two, one)):
            await connection.execute(
                update(item).where(item.c.ref == ref).values(sealed=sealed[other])
            )
    for ref in (one, two):
        with pytest.raises(VaultTampered):
            await kept.read(ref)


@pytest.mark.parametrize("table", ["case_key", "item_key"])
async def test_swapped_keys_are_suspect(kept: Kept, table: str) -> None:
    refs = [await kept.store(case, "identity_core", GRANT) for case in ("C-1", "C-2")]
    keys = getattr(kept.tables, table)
    async with kept.database.begin() as connection:
        rows = await connection.execute(select(keys.c.case_id, keys.c.wrapped))
        wrapped = {row.case_id: row.wrapped for row in rows}
        for case, other in (("C-1", "C-2"), ("C-2", "C-1")):
            await connection.execute(
                update(keys).where(keys.c.case_id == case).values(wrapped=wrapped[other])
            )
    for ref in refs:
        with pytest.raises(VaultTampered):
            await kept.read(ref)


async def test_a_row_relabelled_to_another_section_is_suspect(kept: Kept) -> None:
    ref = await kept.store("C-1", "identity_core", GRANT)
    await kept.store("C-1", "health_general", GRANT)
    item = kept.tables.item
    async with kept.database.begin() as connection:
        await connection.execute(
            update(item).where(item.c.ref == ref).values(section="health_general")
        )
    with pytest.raises(VaultTampered):
        await kept.read(ref)


async def test_a_truncated_ciphertext_is_suspect(kept: Kept) -> None:
    ref = await kept.store("C-1", "identity_core", GRANT)
    async with kept.database.begin() as connection:
        await connection.execute(update(kept.tables.item).values(sealed=b"short"))
    with pytest.raises(VaultTampered):
        await kept.read(ref)


async def test_erasing_takes_exactly_what_it_names(kept: Kept) -> None:
    other = uuid4()
    refs = {
        (case, section, grant): await kept.store(case, section, grant)
        for case in ("C-1", "C-2")
        for section in ("identity_core", "health_general")
        for grant in (GRANT, other, None)
    }

    async def left() -> set[tuple[str, str, UUID | None]]:
        found = set()
        for owner, ref in refs.items():
            try:
                await kept.read(ref)
                found.add(owner)
            except NotFound:
                pass
        return found

    async with kept.database.begin() as connection:
        assert await kept.vault.erase(connection, "C-1", "health_general", GRANT) == 1
    expected = refs.keys() - {("C-1", "health_general", GRANT)}
    assert await left() == expected

    async with kept.database.begin() as connection:
        erased = await kept.vault.erase_sections(connection, other, ["health_general"])
    assert erased == 2
    expected -= {(case, "health_general", other) for case in ("C-1", "C-2")}
    assert await left() == expected

    async with kept.database.begin() as connection:
        assert await kept.vault.erase_grant(connection, GRANT) == 3
    expected = {owner for owner in expected if owner[2] != GRANT}
    assert await left() == expected

    async with kept.database.begin() as connection:
        await kept.vault.erase_case(connection, "C-2")
    assert await left() == {owner for owner in expected if owner[0] != "C-2"}


async def test_erasing_twice_is_the_same_as_once(kept: Kept) -> None:
    await kept.store("C-1", "identity_core", GRANT)
    async with kept.database.begin() as connection:
        assert await kept.vault.erase_case(connection, "C-1") == 1
        assert await kept.vault.erase_case(connection, "C-1") == 0


async def test_after_erasing_neither_keys_nor_ciphertext_remain_in_the_files(
    on_file: Kept, file: Path
) -> None:
    gone = await on_file.store("C-1", "health_general", GRANT, CANARY * 60)
    keys_before = await on_file.wrapped_keys()
    stays = await on_file.store("C-2", "identity_core", GRANT)
    async with on_file.database.read() as connection:
        sealed = await connection.scalar(
            select(on_file.tables.item.c.sealed).where(on_file.tables.item.c.ref == gone)
        )
    assert sealed is not None
    assert all(key in on_disk(file) for key in keys_before)

    async with on_file.database.begin() as connection:
        await on_file.vault.erase_case(connection, "C-1")
    await on_file.vault.scrub()

    disk = on_disk(file)
    for key in keys_before:
        assert key not in disk
    for start in range(0, len(sealed) - 32, 997):
        assert sealed[start : start + 32] not in disk
    assert CANARY[:24] not in disk
    assert await on_file.read(stays) == CANARY


async def test_the_old_epoch_does_not_open_after_rotation_and_the_living_does(
    on_file: Kept, file: Path, tmp_path: Path
) -> None:
    erased = await on_file.store("C-1", "health_general", GRANT)
    living = await on_file.store("C-2", "identity_core", GRANT)
    await on_file.vault.scrub()
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(file, backup)

    async with on_file.database.begin() as connection:
        await on_file.vault.erase_case(connection, "C-1")
    assert await on_file.vault.rotate_epoch() == 2
    assert await on_file.read(living) == CANARY
    assert sorted(on_file.custody.saved) == [2]

    restored = await open_vault(f"sqlite+aiosqlite:///{backup}", on_file.custody)
    try:
        for ref in (erased, living):
            with pytest.raises(NotFound):
                await restored.read(ref)
    finally:
        await restored.database.close()


async def test_before_rotation_a_backup_still_opens_which_is_why_we_rotate(
    on_file: Kept, file: Path, tmp_path: Path
) -> None:
    ref = await on_file.store("C-1", "health_general", GRANT)
    await on_file.vault.scrub()
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(file, backup)
    async with on_file.database.begin() as connection:
        await on_file.vault.erase_case(connection, "C-1")
    restored = await open_vault(f"sqlite+aiosqlite:///{backup}", on_file.custody)
    try:
        assert await restored.read(ref) == CANARY
    finally:
        await restored.database.close()


async def test_a_rotation_that_dies_before_its_commit_loses_nothing(kept: Kept) -> None:
    ref = await kept.store("C-1", "identity_core", GRANT)

    class Dies(EpochKeys):
        def create(self, epoch: int) -> None:
            super().create(epoch)
            if epoch > 1:
                raise OSError("power cut")

    dying = Vault(kept.database, kept.tables, Dies(kept.custody.saved, kept.custody.save))
    with pytest.raises(Exception):  # noqa: B017, PT011 (which one depends on where it died)
        await dying.rotate_epoch()
    assert sorted(kept.custody.saved) == [1, 2]
    again = Vault(kept.database, kept.tables, EpochKeys(kept.custody.saved, kept.custody.save))
    assert await again.rotate_epoch() == 2
    async with kept.database.read() as connection:
        assert await again.read(connection, ref) == CANARY
    assert sorted(kept.custody.saved) == [2]


async def test_a_rotation_that_dies_after_its_commit_is_finished_by_the_next(
    kept: Kept,
) -> None:
    ref = await kept.store("C-1", "identity_core", GRANT)

    class Dies(EpochKeys):
        def destroy(self, epoch: int) -> None:
            raise OSError("power cut")

    dying = Vault(kept.database, kept.tables, Dies(kept.custody.saved, kept.custody.save))
    with pytest.raises(OSError, match="power cut"):
        await dying.rotate_epoch()
    again = Vault(kept.database, kept.tables, EpochKeys(kept.custody.saved, kept.custody.save))
    async with kept.database.read() as connection:
        assert await again.read(connection, ref) == CANARY
    assert await again.rotate_epoch() == 3
    assert sorted(kept.custody.saved) == [3]


async def test_new_cases_after_a_rotation_use_the_new_epoch(kept: Kept) -> None:
    await kept.store("C-1", "identity_core", GRANT)
    await kept.vault.rotate_epoch()
    ref = await kept.store("C-2", "identity_core", GRANT)
    async with kept.database.read() as connection:
        epochs = set((await connection.execute(select(kept.tables.case_key.c.epoch))).scalars())
    assert epochs == {2}
    assert await kept.read(ref) == CANARY


async def test_nothing_that_is_printed_shows_what_is_kept(kept: Kept) -> None:
    item = NewItem("C-1", "identity_core", GRANT, b"Invented Name")
    assert "Invented" not in repr(item)
    assert "C-1" not in repr(item)
    keys = EpochKeys({1: b"k" * 32}, kept.custody.save)
    assert "kkk" not in repr(keys)


async def test_epoch_keys_live_in_custody_and_die_there(kept: Kept, tmp_path: Path) -> None:
    uri = f"file:{tmp_path / 'keys.json'}"
    custody = create_custody(
        uri, KeySet(), b"invented passphrase", cost=KdfCost(memory_kib=64, iterations=1, lanes=1)
    )
    vault = Vault(kept.database, kept.tables, EpochKeys.in_custody(custody))
    async with kept.database.begin() as connection:
        ref = await vault.store(connection, "C-1", "identity_core", GRANT, CANARY)
    first = EpochKeys.in_custody(open_custody(uri, b"invented passphrase")).key(1)
    assert first is not None
    await vault.rotate_epoch()
    reopened = EpochKeys.in_custody(open_custody(uri, b"invented passphrase"))
    assert reopened.key(1) is None
    again = Vault(kept.database, kept.tables, reopened)
    async with kept.database.read() as connection:
        assert await again.read(connection, ref) == CANARY
