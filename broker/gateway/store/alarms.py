"""Alarms: what a person must look at. One row per thing and code, raised again if it recurs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.bulk import among, batches, padded
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.tables import alarm
from broker.telemetry import logger


async def raise_alarm(
    connection: AsyncConnection,
    code: str,
    about: object,
    *,
    now: datetime,
    role: str | None = None,
) -> None:
    """Raise an alarm inside the caller's transaction; an open one stays as it is.

    Args:
        role: Who is to act; nobody in particular if none is named.
    """
    statement = insert_for(connection, alarm).values(
        code=code, about=str(about)[:64], raised_at=now, cleared_at=None, role=role
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["code", "about"],
            set_={"raised_at": now, "cleared_at": None, "role": role},
            where=alarm.c.cleared_at.is_not(None),
        )
    )
    logger().error("alarm:raised", code=code)


async def alarmed(connection: AsyncConnection, messages: Iterable[UUID]) -> list[UUID]:
    """Those of these messages about which there is an open alarm: hardly ever any."""
    found: list[UUID] = []
    for batch in batches(list(messages)):
        rows = await connection.execute(_OPEN, {"abouts": padded([str(item) for item in batch])})
        found += [UUID(about) for about in rows.scalars()]
    return list(dict.fromkeys(found))


_OPEN = select(alarm.c.about).where(among(alarm.c.about, "abouts"), alarm.c.cleared_at.is_(None))


async def clear_alarms(
    connection: AsyncConnection, about: object, *codes: str, now: datetime
) -> None:
    """What was missing has come."""
    await clear_alarms_of(connection, [about], *codes, now=now)


async def clear_alarms_of(
    connection: AsyncConnection, about: Iterable[object], *codes: str, now: datetime
) -> None:
    """The same for several things at once."""
    abouts = padded([str(item)[:64] for item in about])
    if not abouts:
        return
    await connection.execute(
        update(alarm)
        .where(
            alarm.c.about.in_(abouts),
            alarm.c.code.in_(codes),
            alarm.c.cleared_at.is_(None),
        )
        .values(cleared_at=now)
    )
