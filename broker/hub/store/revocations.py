"""Revocations in the order in which they count, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow
from broker.hub.store.tables import DIRECTORY, REVOCATION


async def find(connection: AsyncConnection, revocation: UUID) -> AnyRow | None:
    """One revocation as recorded."""
    return (
        await connection.execute(select(REVOCATION).where(REVOCATION.c.id == revocation))
    ).first()


async def record(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """Record one; from the commit on, no process decides anything without knowing it.

    Returns:
        Its position. The directory's row is its lock, so positions are in the order of commits and
        whoever reads on from one misses none.
    """
    position = await connection.scalar(
        update(DIRECTORY)
        .where(DIRECTORY.c.one == 1)
        .values(revocations=DIRECTORY.c.revocations + 1)
        .returning(DIRECTORY.c.revocations)
    )
    await connection.execute(insert(REVOCATION).values(position=position, **row))
    return int(position or 0)


async def after(connection: AsyncConnection, position: int, limit: int) -> list[AnyRow]:
    """What was recorded after a position, in order."""
    rows = await connection.execute(
        select(REVOCATION.c.position, REVOCATION.c.raw)
        .where(REVOCATION.c.position > position)
        .order_by(REVOCATION.c.position)
        .limit(limit)
    )
    return list(rows)
