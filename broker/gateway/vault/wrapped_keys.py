"""The keys between custody and the items: a case's under the epoch's, an item's under its case's.

They lie in the vault's tables, wrapped. A rotation wraps every case key anew; who makes a case key
meanwhile waits for it, so that none is wrapped under an epoch whose key is about to be destroyed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.together import insert_missing
from broker.gateway.store.vault_tables import VaultTables
from broker.gateway.vault.cipher import KEY_BYTES, aad_of, seal, unseal
from broker.gateway.vault.epoch_keys import KeyProvider
from schemas.errors import NotFound

_T = TypeVar("_T")

BATCH = 200
"""Rows per statement: far below SQLite's and PostgreSQL's limits on parameters."""

Owner = tuple[str, str, str]
"""Whose key it is: (case, section, grant) as in the tables."""


class EpochGone(NotFound):
    """The epoch's key is not in custody any more."""


class WrappedKeys:
    """The keys of cases and items, inside the caller's transaction; epochs in transactions of
    their own."""

    def __init__(self, database: Database, tables: VaultTables, epoch_keys: KeyProvider) -> None:
        self._database = database
        self._tables = tables
        self._epoch_keys = epoch_keys
        epoch, case_key = tables.epoch, tables.case_key
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

    async def of_items(
        self, connection: AsyncConnection, owners: Mapping[Owner, None]
    ) -> tuple[dict[Owner, bytes], list[dict[str, Any]]]:
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

    def of_item(self, owner: Owner, *, epoch: int, case_wrapped: bytes, wrapped: bytes) -> bytes:
        """The key of one item, from its own row and its case's.

        Raises:
            EpochGone: A rotation has ended since the rows were read: read them again.
            VaultTampered: A key does not belong to its row.
        """
        case = self._open_case_key(owner[0], epoch, case_wrapped)
        return unseal(case, wrapped, aad_of("vault_item_key", "", *owner))

    async def _load_item_keys(
        self,
        connection: AsyncConnection,
        owners: Sequence[Owner],
        cases: Mapping[str, bytes],
    ) -> dict[Owner, bytes]:
        table = self._tables.item_key
        found: dict[Owner, bytes] = {}
        for batch in in_batches(owners):
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
        except EpochGone:
            keys, epoch = await self._load_case_keys(connection, list(cases))
        missing = [case for case in cases if case not in keys]
        if not missing:
            return keys, set()
        if epoch is None:
            epoch = await self._current(connection)
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
        for batch in in_batches(cases):
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
            raise EpochGone("the key of this epoch was destroyed")
        return key

    # --- epochs -----------------------------------------------------------------------------

    async def current_epoch(self) -> int:
        """The epoch under whose key new case keys are wrapped."""
        async with self._database.begin() as connection:
            return await self._current(connection)

    async def epoch_begun(self, *, now: datetime) -> datetime:
        """When it began; that is now if nobody wrote it down."""
        epoch = self._tables.epoch
        async with self._database.begin() as connection:
            await self._current(connection, exclusively=True)
            begun: datetime | None = await connection.scalar(select(epoch.c.begun_at))
            if begun is None:
                begun = now
                await connection.execute(update(epoch).values(begun_at=now))
        return begun

    async def begin_epoch(self, *, now: datetime | None = None) -> int:
        """Wrap every living case key anew, under the key of a new epoch; returns that epoch.

        Backups from before still open, until `destroy_old_epochs`. What the old wrapping leaves in
        the database's files is for the caller to scrub.
        """
        tables = self._tables
        async with self._database.begin() as connection:
            new = await self._current(connection, exclusively=True) + 1
            await asyncio.to_thread(self._epoch_keys.create, new)
            after = ""
            while True:
                rows = (
                    await connection.execute(
                        select(tables.case_key)
                        .where(tables.case_key.c.case_id > after, tables.case_key.c.epoch != new)
                        .order_by(tables.case_key.c.case_id)
                        .limit(BATCH)
                        .with_for_update()
                    )
                ).all()
                if not rows:
                    break
                after = rows[-1].case_id
                for row in rows:
                    await self._rewrap(connection, row, new)
            await connection.execute(update(tables.epoch).values(epoch=new, begun_at=now))
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

    async def _current(self, connection: AsyncConnection, *, exclusively: bool = False) -> int:
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


def in_batches(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    """As many at once as one statement takes."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
