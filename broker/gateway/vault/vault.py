"""Keeping, reading and erasing items: see the package. Keys first, ciphertexts under them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.gateway.store.bulk import padded
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.together import insert_together
from broker.gateway.store.vault_tables import NO_GRANT, VaultTables
from broker.gateway.vault.cipher import WRAPPED_BYTES, aad_of, seal, unseal
from broker.gateway.vault.epoch_keys import KeyProvider
from broker.gateway.vault.wrapped_keys import EpochGone, Owner, WrappedKeys, in_batches
from schemas.errors import NotFound


@dataclass(frozen=True, slots=True)
class NewItem:
    """Something to be kept: its plaintext and what its key belongs to."""

    case_id: str
    section: str
    grant: UUID | None
    plaintext: bytes

    def __repr__(self) -> str:
        return f"<NewItem {len(self.plaintext)} bytes>"


class Vault:
    """The gateway's store of plaintext. All methods work inside the caller's transaction and
    never commit, but for `scrub` and those of epochs. Its `keys` lie wrapped in the same database."""

    def __init__(self, database: Database, tables: VaultTables, epoch_keys: KeyProvider) -> None:
        self._database = database
        self._tables = tables
        self.keys = WrappedKeys(database, tables, epoch_keys)
        item, item_key, case_key = tables.item, tables.item_key, tables.case_key
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
        keys, key_rows = await self.keys.of_items(connection, dict.fromkeys(owners))
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
        except EpochGone:
            # A rotation ended between our reading the key and opening it: it is wrapped anew.
            return await self._read_many(connection, wanted)

    async def _read_many(self, connection: AsyncConnection, wanted: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for batch in in_batches(wanted):
            for row in await self._items_of(connection, batch):
                owner = (row.case_id, row.section, row.grant_id)
                key = self.keys.of_item(
                    owner,
                    epoch=row.epoch,
                    case_wrapped=row.case_wrapped,
                    wrapped=row.item_wrapped,
                )
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
        for batch in in_batches(sorted(set(refs))):
            rows = await connection.execute(
                select(item.c.case_id, item.c.section, item.c.grant_id, item.c.ref).where(
                    item.c.ref.in_(padded(batch))
                )
            )
            going: dict[Owner, set[str]] = {}
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
        self, connection: AsyncConnection, owner: Owner, kept: Mapping[str, bytes]
    ) -> None:
        """Seal items anew, under the references that they had and a key that never was."""
        if not kept:
            return
        keys, rows = await self.keys.of_items(connection, {owner: None})
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

    async def rotate_epoch(self, *, now: datetime | None = None) -> int:
        """Begin a new epoch and destroy the keys of all earlier ones; returns the new epoch.

        Safe to repeat: interrupted anywhere, nothing is lost, and the next run finishes it.
        """
        new = await self.begin_epoch(now=now)
        await self.keys.destroy_old_epochs()
        return new

    async def begin_epoch(self, *, now: datetime | None = None) -> int:
        """Wrap every living case key anew, under the key of a new epoch; returns that epoch.

        Backups from before still open, until the keys of old epochs are destroyed.
        """
        new = await self.keys.begin_epoch(now=now)
        await self.scrub()
        return new


async def _destroy_keys(
    connection: AsyncConnection, table: Table, where: ColumnElement[bool]
) -> None:
    # Overwritten in place first, so that the page that is written holds zeros where the key was.
    await connection.execute(update(table).where(where).values(wrapped=bytes(WRAPPED_BYTES)))
    await connection.execute(delete(table).where(where))


def _grant_text(grant: UUID | None) -> str:
    return NO_GRANT if grant is None else str(grant)
