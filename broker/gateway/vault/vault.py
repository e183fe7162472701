"""Keeping, reading, erasing: see the package. Keys first, ciphertexts under them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Table, and_, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.together import insert_missing, insert_together
from broker.gateway.store.vault_tables import NO_GRANT, VaultTables
from broker.gateway.vault.cipher import KEY_BYTES, WRAPPED_BYTES, aad_of, seal, unseal
from broker.gateway.vault.epoch_keys import KeyProvider
from schemas.errors import NotFound

_T = TypeVar("_T")

_BATCH = 200
"""Rows per statement: far below SQLite's and PostgreSQL's limits on parameters."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """Something to be kept: its plaintext and what its key belongs to."""

    case_id: str
    section: str
    grant: UUID | None
    plaintext: bytes

    def __repr__(self) -> str:
        return f"<NewItem {len(self.plaintext)} bytes>"


class _EpochGone(NotFound):
    """The epoch's key is not in custody any more."""


_Owner = tuple[str, str, str]
"""(case, section, grant) as in the tables."""


class Vault:
    """The gateway's store of plaintext. All methods work inside the caller's transaction and
    never commit, but for `scrub` and those of epochs."""

    def __init__(self, database: Database, tables: VaultTables, epoch_keys: KeyProvider) -> None:
        self._database = database
        self._tables = tables
        self._epoch_keys = epoch_keys
        epoch, item, item_key, case_key = (
            tables.epoch,
            tables.item,
            tables.item_key,
            tables.case_key,
        )
        self._epoch = Lookup(select(epoch.c.epoch).with_for_update(), epoch.c.id)
        self._epoch_shared = Lookup(select(epoch.c.epoch).with_for_update(read=True), epoch.c.id)
        # With the epoch in each row, since most often a key is asked for that is still to be made;
        # and one row with nothing else where there is none.
        self._case_keys_of = Lookup(
            lambda wanted: (
                select(
                    epoch.c.epoch.label("current"),
                    *(case_key.c[name] for name in ("case_id", "epoch", "wrapped")),
                )
                .select_from(epoch.outerjoin(case_key, wanted))
                .where(epoch.c.id == 1)
                .with_for_update(read=True, of=epoch)
            ),
            case_key.c.case_id,
        )
        self._items_of = Lookup(
            select(
                item,
                item_key.c.wrapped.label("item_wrapped"),
                case_key.c.wrapped.label("case_wrapped"),
                case_key.c.epoch,
            )
            .join(
                item_key,
                and_(
                    item_key.c.case_id == item.c.case_id,
                    item_key.c.section == item.c.section,
                    item_key.c.grant_id == item.c.grant_id,
                ),
            )
            .join(case_key, case_key.c.case_id == item.c.case_id),
            item.c.ref,
        )

    # --- keep and read ----------------------------------------------------------------------

    async def store(
        self,
        connection: AsyncConnection,
        case_id: str,
        section: str,
        grant: UUID | None,
        plaintext: bytes,
    ) -> str:
        """Keep one item; returns the reference under which `read` finds it."""
        item = NewItem(case_id, section, grant, plaintext)
        return (await self.store_many(connection, [item]))[0]

    async def store_many(self, connection: AsyncConnection, items: Sequence[NewItem]) -> list[str]:
        """Keep several items with as few statements as one; references in the same order."""
        refs, rows = await self.prepare_many(connection, items)
        await insert_together(connection, *rows)
        return refs

    async def prepare_many(
        self, connection: AsyncConnection, items: Sequence[NewItem]
    ) -> tuple[list[str], tuple[tuple[Table, list[dict[str, Any]]], ...]]:
        """As `store_many`, but leaves it to the caller to insert the rows in the same transaction,
        with what else there is to insert."""
        if not items:
            return [], ()
        owners = [(item.case_id, item.section, _grant_text(item.grant)) for item in items]
        keys, key_rows = await self._item_keys(connection, dict.fromkeys(owners))
        rows: list[dict[str, Any]] = []
        for item, owner in zip(items, owners, strict=True):
            ref = str(uuid.uuid4())
            sealed = seal(keys[owner], item.plaintext, aad_of("vault_item", ref, *owner))
            case_id, section, grant = owner
            rows.append(
                {
                    "ref": ref,
                    "case_id": case_id,
                    "section": section,
                    "grant_id": grant,
                    "sealed": sealed,
                }
            )
        refs = [row["ref"] for row in rows]
        return refs, ((self._tables.item_key, key_rows), (self._tables.item, rows))

    async def read(self, connection: AsyncConnection, ref: str) -> bytes:
        """The plaintext of one item.

        Raises:
            NotFound: No such item, or it was erased, or its epoch's key was destroyed.
            VaultTampered: A ciphertext or a key does not belong to its row.
        """
        return (await self.read_many(connection, [ref]))[ref]

    async def read_many(self, connection: AsyncConnection, refs: Iterable[str]) -> dict[str, bytes]:
        """The plaintexts of several items; see `read`."""
        wanted = list(dict.fromkeys(refs))
        try:
            return await self._read_many(connection, wanted)
        except _EpochGone:
            # A rotation ended between our reading the key and opening it: it is wrapped anew.
            return await self._read_many(connection, wanted)

    async def _read_many(self, connection: AsyncConnection, wanted: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for batch in _batches(wanted):
            for row in await self._items_of(connection, batch):
                owner = (row.case_id, row.section, row.grant_id)
                key = self._open_case_key(row.case_id, row.epoch, row.case_wrapped)
                key = unseal(key, row.item_wrapped, aad_of("vault_item_key", "", *owner))
                found[row.ref] = unseal(key, row.sealed, aad_of("vault_item", row.ref, *owner))
        if len(found) != len(wanted):
            raise NotFound("not in the vault")
        return found

    # --- erase ------------------------------------------------------------------------------

    async def erase_case(self, connection: AsyncConnection, case_id: str) -> int:
        """Destroy a case's key and all under it; returns how many items were erased.

        Call `scrub` after the commit, and only then say that it is erased.
        """
        tables = self._tables
        await _destroy_keys(connection, tables.case_key, tables.case_key.c.case_id == case_id)
        return await self._erase_where(
            connection, tables.item_key.c.case_id == case_id, tables.item.c.case_id == case_id
        )

    async def erase_grant(self, connection: AsyncConnection, grant: UUID) -> int:
        """Destroy all that was received under one grant, in whatever case."""
        item_key = self._tables.item_key
        return await self._erase_owned(connection, item_key.c.grant_id == _grant_text(grant))

    async def erase(
        self, connection: AsyncConnection, case_id: str, section: str, grant: UUID | None
    ) -> int:
        """Destroy one section of one case under one grant, and nothing else."""
        owner = (case_id, section, _grant_text(grant))
        item_key, item = self._tables.item_key, self._tables.item
        return await self._erase_where(
            connection,
            and_(
                item_key.c.case_id == owner[0],
                item_key.c.section == owner[1],
                item_key.c.grant_id == owner[2],
            ),
            and_(
                item.c.case_id == owner[0],
                item.c.section == owner[1],
                item.c.grant_id == owner[2],
            ),
        )

    async def erase_sections(
        self, connection: AsyncConnection, grant: UUID, sections: Iterable[str]
    ) -> int:
        """Destroy some sections of all that was received under a grant (a narrowed consent)."""
        wanted = list(sections)
        grant_id = _grant_text(grant)
        item_key = self._tables.item_key
        return await self._erase_owned(
            connection, and_(item_key.c.grant_id == grant_id, item_key.c.section.in_(wanted))
        )

    async def erase_items(self, connection: AsyncConnection, refs: Iterable[str]) -> int:
        """Destroy these items, and every key that sealed one of them.

        Several messages of a case may share the key of (case, section, grant). What stays under such
        a key is sealed anew under a fresh one. References that lead nowhere any more are no error.
        """
        item, item_key = self._tables.item, self._tables.item_key
        erased = 0
        for batch in _batches(sorted(set(refs))):
            rows = await connection.execute(
                select(item.c.case_id, item.c.section, item.c.grant_id, item.c.ref).where(
                    item.c.ref.in_(padded(batch))
                )
            )
            going: dict[_Owner, set[str]] = {}
            for row in rows:
                going.setdefault((row.case_id, row.section, row.grant_id), set()).add(row.ref)
            for owner, some in sorted(going.items()):
                keys = tuple_(item_key.c.case_id, item_key.c.section, item_key.c.grant_id) == owner
                same = tuple_(item.c.case_id, item.c.section, item.c.grant_id) == owner
                staying = list(
                    await connection.scalars(
                        select(item.c.ref).where(same, item.c.ref.not_in(padded(sorted(some))))
                    )
                )
                kept = await self._read_many(connection, staying)
                erased += await self._erase_where(connection, keys, same) - len(staying)
                await self._keep_on(connection, owner, kept)
        return erased

    async def _keep_on(
        self, connection: AsyncConnection, owner: _Owner, kept: Mapping[str, bytes]
    ) -> None:
        """Seal items anew, under the references that they had and a key that never was."""
        if not kept:
            return
        keys, rows = await self._item_keys(connection, {owner: None})
        case_id, section, grant = owner
        sealed = [
            {
                "ref": ref,
                "case_id": case_id,
                "section": section,
                "grant_id": grant,
                "sealed": seal(keys[owner], plain, aad_of("vault_item", ref, *owner)),
            }
            for ref, plain in kept.items()
        ]
        await insert_together(
            connection, (self._tables.item_key, rows), (self._tables.item, sealed)
        )

    async def _erase_owned(self, connection: AsyncConnection, keys: ColumnElement[bool]) -> int:
        """Destroy these keys and what they seal, found by its owner and not by a walk over all."""
        item_key, item = self._tables.item_key, self._tables.item
        owned = select(item_key.c.case_id, item_key.c.section, item_key.c.grant_id).where(keys)
        owner = tuple_(item.c.case_id, item.c.section, item.c.grant_id)
        erased = await connection.execute(delete(item).where(owner.in_(owned)))
        await _destroy_keys(connection, item_key, keys)
        return erased.rowcount

    async def _erase_where(
        self,
        connection: AsyncConnection,
        keys: ColumnElement[bool],
        items: ColumnElement[bool],
    ) -> int:
        await _destroy_keys(connection, self._tables.item_key, keys)
        erased = await connection.execute(delete(self._tables.item).where(items))
        return erased.rowcount

    async def scrub(self) -> None:
        """Remove what was erased from the files too, as far as the database allows it.

        Raises:
            StorageUnavailable: A reader held the old pages all the while; call again.
        """
        await self._database.scrub(*(table.name for table in self._tables.all))

    # --- epochs -----------------------------------------------------------------------------

    async def current_epoch(self) -> int:
        """The epoch under whose key new case keys are wrapped."""
        async with self._database.begin() as connection:
            return await self._current_epoch(connection)

    async def epoch_begun(self, *, now: datetime) -> datetime:
        """When it began; that is now if nobody wrote it down."""
        epoch = self._tables.epoch
        async with self._database.begin() as connection:
            await self._current_epoch(connection, exclusively=True)
            begun: datetime | None = await connection.scalar(select(epoch.c.begun_at))
            if begun is None:
                begun = now
                await connection.execute(update(epoch).values(begun_at=now))
        return begun

    async def rotate_epoch(self, *, now: datetime | None = None) -> int:
        """Begin a new epoch and destroy the keys of all earlier ones; returns the new epoch.

        Safe to repeat: interrupted anywhere, nothing is lost, and the next run finishes it.
        """
        new = await self.begin_epoch(now=now)
        await self.destroy_old_epochs()
        return new

    async def begin_epoch(self, *, now: datetime | None = None) -> int:
        """Wrap every living case key anew, under the key of a new epoch; returns that epoch.

        Backups from before still open, until `destroy_old_epochs`.
        """
        tables = self._tables
        async with self._database.begin() as connection:
            new = await self._current_epoch(connection, exclusively=True) + 1
            await asyncio.to_thread(self._epoch_keys.create, new)
            after = ""
            while True:
                rows = (
                    await connection.execute(
                        select(tables.case_key)
                        .where(tables.case_key.c.case_id > after, tables.case_key.c.epoch != new)
                        .order_by(tables.case_key.c.case_id)
                        .limit(_BATCH)
                        .with_for_update()
                    )
                ).all()
                if not rows:
                    break
                after = rows[-1].case_id
                for row in rows:
                    await self._rewrap(connection, row, new)
            await connection.execute(update(tables.epoch).values(epoch=new, begun_at=now))
        await self.scrub()
        return new

    async def destroy_old_epochs(self) -> None:
        """Destroy the keys of all epochs but the present one: no backup from before it opens.

        No case key is wrapped under an old one: beginning an epoch moved them all in the same
        transaction. Had that destroyed the keys before its commit, a crash would have cost the cases.
        """
        for epoch in range(1, await self.current_epoch()):
            await asyncio.to_thread(self._epoch_keys.destroy, epoch)

    async def _rewrap(self, connection: AsyncConnection, row: Row[Any], epoch: int) -> None:
        key = self._open_case_key(row.case_id, row.epoch, row.wrapped)
        await connection.execute(
            update(self._tables.case_key)
            .where(self._tables.case_key.c.case_id == row.case_id)
            .values(epoch=epoch, wrapped=self._wrap_case_key(row.case_id, epoch, key))
        )

    async def _current_epoch(
        self, connection: AsyncConnection, *, exclusively: bool = False
    ) -> int:
        # Shared by those who make case keys, exclusive to a rotation: no case key can be wrapped
        # under an epoch whose key is about to be destroyed.
        epoch = self._tables.epoch
        query = self._epoch if exclusively else self._epoch_shared
        current = await query(connection, [1])
        if not current:
            await connection.execute(
                insert_for(connection, epoch).values(id=1, epoch=1).on_conflict_do_nothing()
            )
            await asyncio.to_thread(self._epoch_keys.create, 1)
            current = await query(connection, [1])
        return int(current[0].epoch)

    # --- keys -------------------------------------------------------------------------------

    async def _item_keys(
        self, connection: AsyncConnection, owners: Mapping[_Owner, None]
    ) -> tuple[dict[_Owner, bytes], list[dict[str, Any]]]:
        """The keys of all these owners, and the rows of those that are still to be inserted."""
        cases, new = await self._case_keys(connection, dict.fromkeys(owner[0] for owner in owners))
        # A case that this transaction made has no item keys yet, and nobody else can make one
        # before we have committed.
        known = [owner for owner in owners if owner[0] not in new]
        keys = await self._load_item_keys(connection, known, cases)
        missing = [owner for owner in owners if owner not in keys]
        made = {owner: os.urandom(KEY_BYTES) for owner in missing}
        rows = [
            {
                "case_id": owner[0],
                "section": owner[1],
                "grant_id": owner[2],
                "wrapped": seal(cases[owner[0]], key, aad_of("vault_item_key", "", *owner)),
            }
            for owner, key in sorted(made.items())
        ]
        contested = [row for row in rows if row["case_id"] not in new]
        inserted = await insert_missing(connection, self._tables.item_key, contested)
        keys |= {owner: key for owner, key in made.items() if owner[0] in new or owner in inserted}
        # Another transaction made the rest between our reading and our writing.
        others = [owner for owner in missing if owner not in keys]
        keys |= await self._load_item_keys(connection, others, cases)
        return keys, [row for row in rows if row["case_id"] in new]

    async def _load_item_keys(
        self,
        connection: AsyncConnection,
        owners: Sequence[_Owner],
        cases: Mapping[str, bytes],
    ) -> dict[_Owner, bytes]:
        table = self._tables.item_key
        found: dict[_Owner, bytes] = {}
        for batch in _batches(owners):
            rows = await connection.execute(
                select(table).where(
                    tuple_(table.c.case_id, table.c.section, table.c.grant_id).in_(padded(batch))
                )
            )
            for row in rows:
                owner = (row.case_id, row.section, row.grant_id)
                aad = aad_of("vault_item_key", "", *owner)
                found[owner] = unseal(cases[row.case_id], row.wrapped, aad)
        return found

    async def _case_keys(
        self, connection: AsyncConnection, cases: Mapping[str, None]
    ) -> tuple[dict[str, bytes], set[str]]:
        """The keys of all these cases, and which of them were made just now."""
        try:
            keys, epoch = await self._load_case_keys(connection, list(cases))
        except _EpochGone:
            keys, epoch = await self._load_case_keys(connection, list(cases))
        missing = [case for case in cases if case not in keys]
        if not missing:
            return keys, set()
        if epoch is None:
            epoch = await self._current_epoch(connection)
        made = {case: os.urandom(KEY_BYTES) for case in missing}
        inserted = await insert_missing(
            connection,
            self._tables.case_key,
            [
                {
                    "case_id": case,
                    "epoch": epoch,
                    "wrapped": self._wrap_case_key(case, epoch, key),
                }
                for case, key in sorted(made.items())
            ],
        )
        new = {row[0] for row in inserted}
        keys |= {case: made[case] for case in new}
        others = [case for case in missing if case not in new]
        return keys | (await self._load_case_keys(connection, others))[0], new

    async def _load_case_keys(
        self, connection: AsyncConnection, cases: Sequence[str]
    ) -> tuple[dict[str, bytes], int | None]:
        """The keys there are, and the epoch of now, which stays until this transaction ends; None
        if the vault was never used."""
        found: dict[str, bytes] = {}
        current = None
        for batch in _batches(cases):
            for row in await self._case_keys_of(connection, batch):
                current = row.current
                if row.case_id is not None:
                    found[row.case_id] = self._open_case_key(row.case_id, row.epoch, row.wrapped)
        return found, current

    def _wrap_case_key(self, case_id: str, epoch: int, key: bytes) -> bytes:
        return seal(self._epoch_key(epoch), key, aad_of("vault_case_key", str(epoch), case_id))

    def _open_case_key(self, case_id: str, epoch: int, wrapped: bytes) -> bytes:
        aad = aad_of("vault_case_key", str(epoch), case_id)
        return unseal(self._epoch_key(epoch), wrapped, aad)

    def _epoch_key(self, epoch: int) -> bytes:
        key = self._epoch_keys.key(epoch)
        if key is None:
            raise _EpochGone("the key of this epoch was destroyed")
        return key


async def _destroy_keys(
    connection: AsyncConnection, table: Table, where: ColumnElement[bool]
) -> None:
    # Overwritten in place first, so that the page that is written holds zeros where the key was.
    await connection.execute(update(table).where(where).values(wrapped=bytes(WRAPPED_BYTES)))
    await connection.execute(delete(table).where(where))


def _grant_text(grant: UUID | None) -> str:
    return NO_GRANT if grant is None else str(grant)


def _batches(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
