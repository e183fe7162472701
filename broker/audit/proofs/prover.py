"""Proofs that a leaf is in the log: one statement for most of them, whatever the log's size.

What is read may be kept, since it never changes: a tile that was read at some width begins the
same at every later one. So a `Prover` remembers tiles, the most recently used ones and no more,
and the head that it proved to last. The statement that finds a leaf also brings the leaf's own
tile, and tells whether that head is still the one to prove to.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Label, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.merkle import HASH_SIZE, evaluate, inclusion_plan
from broker.audit.log.note import Signed, parse_signature
from broker.audit.log.store import LogTables, load_tiles
from broker.audit.log.tiles import WIDTH, Tile, lookup_in, split, tiles_of, width
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.proof import cosignatures, newest_lines
from broker.audit.proofs.tlog_proof import format_proof
from schemas.audit import Opening
from schemas.base import b64u
from schemas.errors import NotFound

TILES = 1024
"""How many are remembered: 8 MiB. All above the leaves, up to 60 million of them, and some."""

RECENT = 256
"""Cosignatures among which a witnessed head is looked for; some minutes of all countries."""

UNSETTLED = 64
"""Cosignatures that may be committed in another order than they were numbered in."""


@dataclass(frozen=True)
class LogProof:
    """A leaf, where it stands, and the text that proves it (C2SP tlog-proof)."""

    index: int
    size: int
    leaf: bytes
    text: str


class _Marks(NamedTuple):
    """What changes whenever another head could be the one to prove to."""

    checkpoint: int | None
    cosignature: int | None
    recent: int


@dataclass(frozen=True)
class _Head:
    """The newest head that meets a policy; the one to prove any leaf to that it has."""

    marks: _Marks
    policy: Policy | None
    size: int
    note: str

    def answers(self, index: int, policy: Policy | None, marks: _Marks) -> bool:
        return index < self.size and policy is self.policy and marks == self.marks


class Prover:
    """Proves from one log's tables. Any number of tasks may use it; one process, one prover."""

    def __init__(self, tables: LogTables, *, tiles: int = TILES) -> None:
        self._tables = tables
        self._most = tiles
        self._tiles: OrderedDict[Tile, bytes] = OrderedDict()
        self._head: _Head | None = None

    @property
    def remembered(self) -> tuple[Tile, ...]:
        """The tiles that it need not ask the database for."""
        return tuple(self._tiles)

    async def inclusion(
        self, connection: AsyncConnection, leaf_hash: bytes, *, policy: Policy | None = None
    ) -> LogProof:
        """Prove that a leaf is in the log.

        Proves to the newest checkpoint that has the leaf and the policy's quorum of witnesses; if
        there is none yet, to the one with the most witnesses.

        Raises:
            NotFound: No entry has this hash; it may still be pending, for at most a minute.
        """
        entry, tile = self._tables.entry, self._tables.tile
        own_tile = and_(tile.c.level == 0, tile.c.idx == entry.c.seq // WIDTH)
        row = (
            await connection.execute(
                select(entry.c.seq, entry.c.body, tile.c.hashes, *self._marks())
                .select_from(entry.outerjoin(tile, own_tile))
                .where(entry.c.leaf_hash == leaf_hash)
                .order_by(entry.c.seq)
                .limit(1)
            )
        ).first()
        if row is None:
            raise NotFound("the log has no such leaf yet")
        index, body, hashes, *marks = tuple(row)
        if hashes is not None:
            self._remember(Tile(0, index // WIDTH), hashes)
        size, note = await self._head_for(connection, index, policy, _Marks._make(marks))
        path = await self.path_to(connection, index, size)
        return LogProof(index, size, body, format_proof(index, path, note))

    async def path_to(self, connection: AsyncConnection, index: int, size: int) -> list[bytes]:
        """The inclusion proof of one entry in the log at a size (RFC 6962, 2.1.1)."""
        plan = inclusion_plan(index, size)
        wanted = {tile: width(tile, size) for tile in tiles_of(plan)}
        found = {tile: self._recall(tile, count) for tile, count in wanted.items()}
        missing = [tile for tile, hashes in found.items() if hashes is None]
        if missing:
            loaded = await load_tiles(connection, self._tables, missing, size)
            for tile, hashes in loaded.items():
                self._remember(tile, b"".join(hashes))
            found.update(loaded)
        return evaluate(plan, lookup_in({tile: hashes or [] for tile, hashes in found.items()}))

    async def best_checkpoint(
        self, connection: AsyncConnection, index: int, policy: Policy | None
    ) -> tuple[int, str]:
        """The head to prove an entry to, with its co-signatures: (size, note). See `inclusion`."""
        marks = (await connection.execute(select(*self._marks()))).one()
        return await self._head_for(connection, index, policy, _Marks._make(marks))

    # --- the head -------------------------------------------------------------------------

    def _marks(self) -> list[Label[int]]:
        checkpoint, cosignature = self._tables.checkpoint.c.id, self._tables.cosignature.c.id
        newest = select(func.max(cosignature)).scalar_subquery()
        recent = select(func.count(cosignature)).where(cosignature > newest - UNSETTLED)
        return [
            select(func.max(checkpoint)).scalar_subquery().label("checkpoint"),
            newest.label("cosignature"),
            recent.scalar_subquery().label("recent"),
        ]

    async def _head_for(
        self, connection: AsyncConnection, index: int, policy: Policy | None, marks: _Marks
    ) -> tuple[int, str]:
        known = self._head
        if known is not None and known.answers(index, policy, marks):
            return known.size, known.note
        witnessed = None
        if policy is not None and policy.witnesses:
            witnessed = await self._best_witnessed(connection, index, policy)
        table = self._tables.checkpoint
        query = select(table.c.size, table.c.note).order_by(table.c.id.desc()).limit(1)
        if witnessed is None:
            row = (await connection.execute(query.where(table.c.size > index))).one()
            size, note = row.size, row.note + await cosignatures(connection, self._tables, row.size)
            met = policy is None or not policy.witnesses
        else:
            size, lines, met = witnessed
            row = (await connection.execute(query.where(table.c.size == size))).one()
            note = row.note + newest_lines(lines)
        if met:
            # Only then no older head could be a better one for an older leaf.
            self._head = _Head(marks, policy, size, note)
        return size, note

    async def _best_witnessed(
        self, connection: AsyncConnection, index: int, policy: Policy
    ) -> tuple[int, list[str], bool] | None:
        table = self._tables.cosignature
        # Years of cosignatures follow an old leaf; the newest are as good as any.
        rows = await connection.execute(
            select(table.c.size, table.c.line)
            .where(table.c.size > index)
            .order_by(table.c.size.desc(), table.c.id.desc())
            .limit(RECENT)
        )
        known = {(key.name, key.key_id): key for key in policy.witness_keys}
        best, most = None, 0
        for size, group in groupby(rows, key=lambda row: int(row.size)):
            lines = [row.line for row in group]
            places = ((line.name, line.key_id) for line in map(parse_signature, lines))
            # Each was verified before it was stored.
            signed = {Signed(known[place], None) for place in places if place in known}
            if policy.is_met(list(signed)):
                return size, lines[::-1], True
            if len(signed) > most:
                best, most = (size, lines[::-1], False), len(signed)
        return best

    # --- the tiles ------------------------------------------------------------------------

    def _recall(self, tile: Tile, count: int) -> list[bytes] | None:
        packed = self._tiles.get(tile, b"")
        if len(packed) < count * HASH_SIZE:
            return None
        self._tiles.move_to_end(tile)
        return split(packed[: count * HASH_SIZE])

    def _remember(self, tile: Tile, packed: bytes) -> None:
        if len(packed) > len(self._tiles.get(tile, b"")):
            self._tiles[tile] = packed
        self._tiles.move_to_end(tile)
        while len(self._tiles) > self._most:
            self._tiles.popitem(last=False)


def proof_file(
    *,
    evidence: bytes,
    opening: Opening,
    proof: LogProof,
    directory_version: int,
    keys: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """One delivery's proof as a file that verifies for ever, offline (`broker.audit.proofs.verify`).

    Args:
        evidence: The evidence JWS, exactly as it was signed.
        keys: Public keys `{"kid", "participant", "alg", "jwk"}` that signed the evidence, for a
            reader who has no directory at hand; the verdict says when it had to believe them.
    """
    content = {
        "evidence": evidence.decode(),
        "leaf": b64u(proof.leaf),
        "opening": opening.to_dict(),
        "proof": proof.text,
        "directory_version": directory_version,
        "keys": list(keys),
    }
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"
