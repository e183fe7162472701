"""Evidence as it was signed, each with what opens its leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.store import add_leaves
from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import EVIDENCE, LOG
from broker.hub.store.writing import Writing


async def record(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store evidence and leave its leaves for the sequencer, in the caller's transaction."""
    if rows:
        await connection.execute(insert(EVIDENCE), list(rows))
        await add_leaves(connection, LOG, [row["leaf"] for row in rows])


def add(writing: Writing, rows: Sequence[Mapping[str, Any]]) -> None:
    """The same, with whatever else the transaction writes."""
    writing.insert(EVIDENCE, rows)
    writing.insert(LOG.leaf_pending, [{"body": row["leaf"]} for row in rows])


async def raw_of(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """The signed bytes by id."""
    rows = await connection.execute(
        select(EVIDENCE.c.id, EVIDENCE.c.raw).where(one_of(connection, EVIDENCE.c.id, ids))
    )
    return {row.id: row.raw for row in rows}


async def find(connection: AsyncConnection, evidence: UUID) -> AnyRow | None:
    """One evidence with its opening."""
    return (await connection.execute(select(EVIDENCE).where(EVIDENCE.c.id == evidence))).first()


async def forget(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete evidence recorded before a moment; the log keeps its leaves, which nobody can open.

    Facts are found by envelope and go with it: it never outlives what is stated about it.
    """
    old = (
        select(EVIDENCE.c.id)
        .where(EVIDENCE.c.recorded_at < before)
        .order_by(EVIDENCE.c.recorded_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list((await connection.execute(old)).scalars())
    if ids:
        await connection.execute(delete(EVIDENCE).where(one_of(connection, EVIDENCE.c.id, ids)))
    return len(ids)
