"""Grants and what became of them. A grant's row is the lock that orders withdrawal and hand-over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import GRANT, GRANT_CHANGE
from broker.rules.header import GrantView

_FEED_LOCK = 7_201_504_922
"""Makes the feed's numbers grow in the order of commits, so that a reader misses none."""

_MOST_DERIVED = 16
"""How many hands a consent may pass through; the depth to which a withdrawal follows them."""

_VIEW = (
    GRANT.c.id,
    GRANT.c.giver,
    GRANT.c.recipient,
    GRANT.c.scopes,
    GRANT.c.removed,
    GRANT.c.valid_from,
    GRANT.c.until,
    GRANT.c.withdrawn,
)


def view(
    giver: str,
    recipient: str,
    scopes: str,
    removed: str,
    valid_from: date,
    until: date,
    withdrawn: bool,
) -> GrantView:
    """A grant's row as the rules see it."""
    return GrantView(
        giver=giver,
        recipient=recipient,
        scopes=frozenset(scopes.split()),
        removed=frozenset(removed.split()),
        valid_from=valid_from,
        until=until,
        withdrawn=withdrawn,
    )


async def views(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, GrantView]:
    """Grants by id, held FOR SHARE until the caller's transaction ends."""
    wanted = set(ids)
    if not wanted:
        return {}
    rows = await connection.execute(
        select(*_VIEW)
        .where(one_of(connection, GRANT.c.id, wanted))
        .order_by(GRANT.c.id)
        .with_for_update(read=True)
    )
    return {row[0]: view(*row[1:]) for row in rows}


async def views_unlocked(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, GrantView]:
    """Grants by id as they are just now; nothing may be decided by them but to stop."""
    rows = await connection.execute(select(*_VIEW).where(one_of(connection, GRANT.c.id, ids)))
    return {row[0]: view(*row[1:]) for row in rows}


async def lock(connection: AsyncConnection, ids: Iterable[UUID]) -> None:
    """Hold grants, and those derived from them, FOR UPDATE: nothing is handed over meanwhile."""
    wanted = sorted(set(ids))
    for grant in wanted:
        for one in (grant, *await derived(connection, grant)):
            await connection.execute(select(GRANT.c.id).where(GRANT.c.id == one).with_for_update())


async def derived(connection: AsyncConnection, grant: UUID) -> list[UUID]:
    """Grants that pass on what was received under this one, at any distance, in order of id."""
    found: set[UUID] = set()
    edge = [grant]
    for _ in range(_MOST_DERIVED):
        rows = await connection.execute(
            select(GRANT.c.id).where(one_of(connection, GRANT.c.derived_from, edge))
        )
        edge = [one for one in rows.scalars() if one not in found and one != grant]
        if not edge:
            break
        found.update(edge)
    return sorted(found)


async def withdraw(
    connection: AsyncConnection, grant: UUID, *, scopes: frozenset[str], now: datetime
) -> list[UUID]:
    """Take back scopes, or with none named the whole grant and all that derive from it.

    Returns:
        The grants of which nothing may travel any more as before.
    """
    row = (
        await connection.execute(select(GRANT.c.scopes, GRANT.c.removed).where(GRANT.c.id == grant))
    ).one()
    removed = frozenset(row.removed.split()) | scopes
    if scopes and removed < frozenset(row.scopes.split()):
        await connection.execute(
            update(GRANT)
            .where(GRANT.c.id == grant)
            .values(removed=" ".join(sorted(removed)), changed_at=now)
        )
        return [grant]
    ended = [grant, *await derived(connection, grant)]
    await connection.execute(
        update(GRANT)
        .where(one_of(connection, GRANT.c.id, ended))
        .values(withdrawn=True, changed_at=now)
    )
    return ended


async def taken_back_since(connection: AsyncConnection, since: datetime) -> list[UUID]:
    """Grants that were narrowed or withdrawn since a moment."""
    rows = await connection.execute(
        select(GRANT.c.id).where(
            GRANT.c.changed_at >= since, or_(GRANT.c.withdrawn, GRANT.c.removed != "")
        )
    )
    return list(rows.scalars())


async def add_change(connection: AsyncConnection, grant: UUID, raw: bytes, now: datetime) -> None:
    """Append a withdrawal to the feed of changes."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_FEED_LOCK})"))
    await connection.execute(insert(GRANT_CHANGE).values(grant_id=grant, raw=raw, recorded_at=now))


async def changes(
    connection: AsyncConnection, party: str, *, after: int, limit: int
) -> tuple[list[AnyRow], int]:
    """Withdrawals of grants that `party` is party to, in order; and how far the feed was read."""
    # The end before the rows: what is committed between the two statements comes in this page or
    # in the next one, and is never stepped over.
    end = int(await connection.scalar(select(func.max(GRANT_CHANGE.c.cursor))) or 0)
    rows = await connection.execute(
        select(GRANT_CHANGE.c.cursor, GRANT_CHANGE.c.grant_id, GRANT_CHANGE.c.raw)
        .join(GRANT, GRANT.c.id == GRANT_CHANGE.c.grant_id)
        .where(
            GRANT_CHANGE.c.cursor > after,
            or_(GRANT.c.giver == party, GRANT.c.recipient == party),
        )
        .order_by(GRANT_CHANGE.c.cursor)
        .limit(limit)
    )
    found = list(rows)
    if len(found) == limit:
        return found, int(found[-1].cursor)
    return found, max(after, end, *(one.cursor for one in found))


async def find(connection: AsyncConnection, grant: UUID) -> AnyRow | None:
    """One grant as registered."""
    return (await connection.execute(select(GRANT).where(GRANT.c.id == grant))).first()


async def register(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """Store a new grant."""
    await connection.execute(insert(GRANT).values(**row))
