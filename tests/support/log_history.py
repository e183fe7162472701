"""Whether a log in a database has one history: all that were ever its heads, and all its entries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy import select

from broker.audit.log.checkpoint import Checkpoint, open_checkpoint
from broker.audit.log.merkle import leaf_hash, verify_consistency
from broker.audit.log.note import Verifier
from broker.audit.log.store import LogTables, entries
from broker.audit.log.tiles import Edge
from broker.audit.proofs.proof import consistency
from broker.database import Database


async def stored(database: Database, tables: LogTables) -> list[bytes]:
    """All entries, in order."""
    async with database.read() as connection:
        return await entries(connection, tables, start=0, limit=10**6)


async def published(
    database: Database, tables: LogTables, keys: Sequence[Verifier]
) -> list[Checkpoint]:
    """All checkpoints ever, oldest first, each verified."""
    table = tables.checkpoint
    async with database.read() as connection:
        notes = list(
            (await connection.execute(select(table.c.note).order_by(table.c.id))).scalars()
        )
    return [open_checkpoint(note.encode(), keys).checkpoint for note in notes]


async def assert_one_history(
    database: Database, tables: LogTables, keys: Sequence[Verifier], chance: random.Random
) -> list[Checkpoint]:
    """Every checkpoint is a head of the entries as they are now, and proven to lead to others."""
    heads = await published(database, tables, keys)
    roots, edge = {0: Edge().root()}, Edge()
    for body in await stored(database, tables):
        list(edge.append(leaf_hash(body)))
        roots[edge.size] = edge.root()
    assert all(roots[head.size] == head.root for head in heads)
    pairs = [*pairwise(heads), *(sorted(chance.sample(heads, 2), key=_size) for _ in range(20))]
    async with database.read() as connection:
        for old, new in pairs:
            path = await consistency(connection, tables, old.size, new.size)
            assert verify_consistency(old.size, new.size, path, old.root, new.root)
    return heads


def _size(head: Checkpoint) -> int:
    return head.size
