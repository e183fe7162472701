"""Agreements and who holds them suspended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import AGREEMENT, SUSPENSION
from broker.rules.header import AgreementView


def view(
    one: str, other: str, lanes: str, valid_from: date, valid_until: date, suspended: bool
) -> AgreementView:
    """An agreement's row as the rules see it."""
    return AgreementView(
        parties=frozenset((one, other)),
        valid_from=valid_from,
        valid_until=valid_until,
        lanes=frozenset(lanes.split()),
        suspended=suspended,
    )


async def views(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, AgreementView]:
    """Agreements by id, held FOR SHARE until the caller's transaction ends.

    Suspending updates the agreement's row too, so that it waits for us or we for it.
    """
    wanted = set(ids)
    if not wanted:
        return {}
    rows = await connection.execute(
        select(
            AGREEMENT.c.id,
            AGREEMENT.c.one,
            AGREEMENT.c.other,
            AGREEMENT.c.lanes,
            AGREEMENT.c.valid_from,
            AGREEMENT.c.valid_until,
            AGREEMENT.c.suspended,
        )
        .where(one_of(connection, AGREEMENT.c.id, wanted))
        .order_by(AGREEMENT.c.id)
        .with_for_update(read=True)
    )
    return {row[0]: view(*row[1:]) for row in rows}


async def find(connection: AsyncConnection, agreement: UUID) -> AnyRow | None:
    """One agreement as registered."""
    return (await connection.execute(select(AGREEMENT).where(AGREEMENT.c.id == agreement))).first()


async def of_party(connection: AsyncConnection, party: str) -> list[AnyRow]:
    """Every agreement of one participant, oldest first: `id`, `raw`."""
    rows = await connection.execute(
        select(AGREEMENT.c.id, AGREEMENT.c.raw)
        .where(or_(AGREEMENT.c.one == party, AGREEMENT.c.other == party))
        .order_by(AGREEMENT.c.registered_at, AGREEMENT.c.id)
    )
    return list(rows)


async def words(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, list[bytes]]:
    """Who said last what about holding each agreement, as it was signed."""
    found: dict[UUID, list[bytes]] = {}
    rows = await connection.execute(
        select(SUSPENSION.c.agreement_id, SUSPENSION.c.raw)
        .where(one_of(connection, SUSPENSION.c.agreement_id, set(ids)))
        .order_by(SUSPENSION.c.issued_at, SUSPENSION.c.by)
    )
    for agreement, raw in rows:
        found.setdefault(agreement, []).append(raw)
    return found


async def register(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """Store a new agreement."""
    await connection.execute(insert(AGREEMENT).values(**row))


async def suspend(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    """Record that a party suspends or resumes; an older statement than the last changes nothing.

    Returns:
        True if it was recorded.
    """
    agreement = row["agreement_id"]
    # The agreement's own row is the lock that submissions and hand-overs hold FOR SHARE.
    await connection.execute(
        select(AGREEMENT.c.id).where(AGREEMENT.c.id == agreement).with_for_update()
    )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(SUSPENSION)
        .values(**row)
        .on_conflict_do_update(
            index_elements=["agreement_id", "by"],
            set_={key: row[key] for key in ("suspended", "raw", "issued_at")},
            where=SUSPENSION.c.issued_at < row["issued_at"],
        )
        .returning(SUSPENSION.c.by)
    )
    changed = (await connection.execute(statement)).first() is not None
    held = (
        select(SUSPENSION.c.agreement_id)
        .where(SUSPENSION.c.agreement_id == agreement, SUSPENSION.c.suspended)
        .exists()
    )
    await connection.execute(
        update(AGREEMENT).where(AGREEMENT.c.id == agreement).values(suspended=held)
    )
    return changed
