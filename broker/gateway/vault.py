"""Where plaintext rests: encrypted, under keys that can be destroyed one by one.

    epoch key (custody)  wraps  case key  wraps  item key of (case, section, grant)  seals  item

* Erasing a case, a grant, or one section of them destroys exactly their keys and ciphertexts.
* Rotating the epoch wraps the living case keys anew and destroys the old epoch key: every backup
  taken before is dead, including what had been erased since.
* Each ciphertext is bound to its table, row, case, section and grant: moved to another row, it is
  `VaultTampered`.

On SQLite, `scrub` after the commit leaves nothing of what was erased in the file or its
write-ahead log. On PostgreSQL the server keeps old row versions until they are vacuumed and pages
until they are reused, and its own log as long as it is configured to; there the promise is kept
by the epoch: after `rotate_epoch` none of those bytes opens. Copies that somebody made of the
custody file are beyond both. What we attest says no more than this.

AES-256-GCM throughout, with random 96-bit nonces: a key seals few values (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import asyncio
import os
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ColumnElement, Row, Table, and_, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import Database
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.together import insert_missing, insert_together
from broker.gateway.store.vault_tables import NO_GRANT, VaultTables
from schemas.errors import NotFound, StorageUnavailable, VaultTampered

_T = TypeVar("_T")

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_LABEL = b"referral-broker/1 vault\n"
_EPOCH = struct.Struct(f">I{KEY_BYTES}s")
_SCRUB_ATTEMPTS = 50
_SCRUB_PAUSE_SECONDS = 0.1
_BATCH = 200
"""Rows per statement: far below SQLite's and PostgreSQL's limits on parameters."""


class KeyProvider(Protocol):
    """The epoch keys, kept in custody and never in the database."""

    def key(self, epoch: int) -> bytes | None:
        """The key of an epoch (32 bytes), or None once it was destroyed or never was."""
        ...

    def create(self, epoch: int) -> None:
        """Make a random key for an epoch and store it durably; nothing to do if it exists."""
        ...

    def destroy(self, epoch: int) -> None:
        """Forget the key of an epoch durably; nothing to do if it is gone."""
        ...


class Secrets(Protocol):
    """Where custody keeps secrets by name (`keys.custody`)."""

    def has_secret(self, name: str) -> bool: ...
    def secret(self, name: str) -> bytes: ...
    def put_secret(self, name: str, value: bytes) -> None: ...


class EpochKeys:
    """Epoch keys in memory, handed to `save` whole after every change, before it takes effect."""

    def __init__(
        self, keys: Mapping[int, bytes], save: Callable[[Mapping[int, bytes]], None]
    ) -> None:
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError("an epoch key has 32 bytes")
        self._keys = dict(keys)
        self._save = save

    @classmethod
    def in_custody(cls, custody: Secrets, name: str = "vault-epochs") -> EpochKeys:
        """Epoch keys kept as one secret of a custody: destroyed by writing it without them."""
        stored = custody.secret(name) if custody.has_secret(name) else b""
        if len(stored) % _EPOCH.size:
            raise ValueError("not epoch keys")
        return cls(
            dict(_EPOCH.iter_unpack(stored)),
            lambda keys: custody.put_secret(
                name, b"".join(_EPOCH.pack(epoch, key) for epoch, key in sorted(keys.items()))
            ),
        )

    def __repr__(self) -> str:
        return f"<EpochKeys {sorted(self._keys)}>"

    def key(self, epoch: int) -> bytes | None:
        return self._keys.get(epoch)

    def create(self, epoch: int) -> None:
        if epoch not in self._keys:
            self._replace({**self._keys, epoch: os.urandom(KEY_BYTES)})

    def destroy(self, epoch: int) -> None:
        if epoch in self._keys:
            self._replace({at: key for at, key in self._keys.items() if at != epoch})

    def _replace(self, keys: dict[int, bytes]) -> None:
        self._save(keys)
        self._keys = keys


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
    """The gateway's store of plaintext. All methods but `scrub` and `rotate_epoch` work inside
    the caller's transaction and never commit."""

    def __init__(self, database: Database, tables: VaultTables, epoch_keys: KeyProvider) -> None:
        self._database = database
        self._tables = tables
        self._epoch_keys = epoch_keys

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
            sealed = _seal(keys[owner], item.plaintext, _aad("vault_item", ref, *owner))
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
        item, item_key, case_key = (
            self._tables.item,
            self._tables.item_key,
            self._tables.case_key,
        )
        found: dict[str, bytes] = {}
        for batch in _batches(wanted):
            rows = await connection.execute(
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
                .join(case_key, case_key.c.case_id == item.c.case_id)
                .where(item.c.ref.in_(padded(batch)))
            )
            for row in rows:
                owner = (row.case_id, row.section, row.grant_id)
                key = self._open_case_key(row.case_id, row.epoch, row.case_wrapped)
                key = _open(key, row.item_wrapped, _aad("vault_item_key", "", *owner))
                found[row.ref] = _open(key, row.sealed, _aad("vault_item", row.ref, *owner))
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
        async with self._database.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            if self._database.dialect != "sqlite":
                for table in self._tables.all:
                    await driver.execute(f"VACUUM {table.name}")
                return
            for _ in range(_SCRUB_ATTEMPTS):
                async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                    busy, _log, _done = await cursor.fetchone()
                if not busy:
                    return
                await asyncio.sleep(_SCRUB_PAUSE_SECONDS)
        raise StorageUnavailable("erased pages are still being read")

    # --- epochs -----------------------------------------------------------------------------

    async def rotate_epoch(self) -> int:
        """Begin a new epoch and destroy the keys of all earlier ones; returns the new epoch.

        Safe to repeat: interrupted anywhere, nothing is lost, and the next run finishes it.
        """
        tables = self._tables
        async with self._database.begin() as connection:
            old = await self._current_epoch(connection, exclusively=True)
            new = old + 1
            await asyncio.to_thread(self._epoch_keys.create, new)
            retired = {old}
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
                    retired.add(row.epoch)
                    await self._rewrap(connection, row, new)
            await connection.execute(update(tables.epoch).values(epoch=new))
        await self.scrub()
        # Only now: had we destroyed a key before the commit, a crash would have cost the cases.
        for epoch in sorted(retired | set(range(1, new))):
            await asyncio.to_thread(self._epoch_keys.destroy, epoch)
        return new

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
        query = select(epoch.c.epoch).with_for_update(read=not exclusively)
        current = await connection.scalar(query)
        if current is None:
            await connection.execute(
                insert_for(connection, epoch).values(id=1, epoch=1).on_conflict_do_nothing()
            )
            await asyncio.to_thread(self._epoch_keys.create, 1)
            current = await connection.scalar(query)
        return int(current or 1)

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
                "wrapped": _seal(cases[owner[0]], key, _aad("vault_item_key", "", *owner)),
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
                aad = _aad("vault_item_key", "", *owner)
                found[owner] = _open(cases[row.case_id], row.wrapped, aad)
        return found

    async def _case_keys(
        self, connection: AsyncConnection, cases: Mapping[str, None]
    ) -> tuple[dict[str, bytes], set[str]]:
        """The keys of all these cases, and which of them were made just now."""
        try:
            keys = await self._load_case_keys(connection, list(cases))
        except _EpochGone:
            keys = await self._load_case_keys(connection, list(cases))
        missing = [case for case in cases if case not in keys]
        if not missing:
            return keys, set()
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
        return keys | await self._load_case_keys(connection, others), new

    async def _load_case_keys(
        self, connection: AsyncConnection, cases: Sequence[str]
    ) -> dict[str, bytes]:
        table = self._tables.case_key
        found: dict[str, bytes] = {}
        for batch in _batches(cases):
            rows = await connection.execute(select(table).where(table.c.case_id.in_(padded(batch))))
            for row in rows:
                found[row.case_id] = self._open_case_key(row.case_id, row.epoch, row.wrapped)
        return found

    def _wrap_case_key(self, case_id: str, epoch: int, key: bytes) -> bytes:
        return _seal(self._epoch_key(epoch), key, _aad("vault_case_key", str(epoch), case_id))

    def _open_case_key(self, case_id: str, epoch: int, wrapped: bytes) -> bytes:
        aad = _aad("vault_case_key", str(epoch), case_id)
        return _open(self._epoch_key(epoch), wrapped, aad)

    def _epoch_key(self, epoch: int) -> bytes:
        key = self._epoch_keys.key(epoch)
        if key is None:
            raise _EpochGone("the key of this epoch was destroyed")
        return key


async def _destroy_keys(
    connection: AsyncConnection, table: Table, where: ColumnElement[bool]
) -> None:
    # Overwritten in place first, so that the page that is written holds zeros where the key was.
    await connection.execute(update(table).where(where).values(wrapped=bytes(_WRAPPED_BYTES)))
    await connection.execute(delete(table).where(where))


def _grant_text(grant: UUID | None) -> str:
    return NO_GRANT if grant is None else str(grant)


def _aad(table: str, row: str, *owner: str) -> bytes:
    """Length-prefixed, so that no two rows share it."""
    parts = [part.encode() for part in (table, row, *owner)]
    return _LABEL + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def _open(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise VaultTampered("a ciphertext is too short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
    except InvalidTag:
        raise VaultTampered("a ciphertext does not belong to its row") from None


def _batches(items: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
