"""What the hub remembers of participants beside the directory: incarnation, channel, quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, case, delete, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import DIRECTORY, PARTICIPANT, QUARANTINE


class Newest(NamedTuple):
    """What every process must know before it decides anything."""

    version: int
    """`TrustedDirectory.order` of the newest directory that any process has seen."""
    revocations: int
    """How many revocations were recorded."""


async def live_incarnations(
    connection: AsyncConnection, participants: Iterable[str], now: datetime
) -> tuple[dict[str, str], Newest]:
    """The incarnation that holds each participant's lease now, and the newest directory.

    Both in one question, since every batch of submissions asks it.
    """
    rows = await connection.execute(
        select(
            DIRECTORY.c.version,
            DIRECTORY.c.revocations,
            PARTICIPANT.c.id,
            PARTICIPANT.c.incarnation,
        )
        .select_from(DIRECTORY)
        .outerjoin(
            PARTICIPANT,
            and_(
                one_of(connection, PARTICIPANT.c.id, participants),
                PARTICIPANT.c.incarnation_until > now,
            ),
        )
        .where(DIRECTORY.c.one == 1)
    )
    found, newest = {}, Newest(0, 0)
    for row in rows:
        newest = Newest(int(row.version), int(row.revocations))
        if row.id is not None:
            found[row.id] = row.incarnation
    return found, newest


async def lease_incarnation(
    connection: AsyncConnection,
    participant: str,
    incarnation: str,
    *,
    now: datetime,
    until: datetime,
) -> bool:
    """Take or renew the lease; False while another incarnation lives."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(PARTICIPANT)
        .values(id=participant, incarnation=incarnation, incarnation_until=until, seen_at=now)
        .on_conflict_do_update(
            index_elements=["id"],
            set_={"incarnation": incarnation, "incarnation_until": until, "seen_at": now},
            where=or_(
                PARTICIPANT.c.incarnation.is_(None),
                PARTICIPANT.c.incarnation == incarnation,
                PARTICIPANT.c.incarnation_until <= now,
            ),
        )
        .returning(PARTICIPANT.c.id)
    )
    return (await connection.execute(statement)).first() is not None


async def incarnation_of(connection: AsyncConnection, participant: str) -> str | None:
    """The incarnation that last held the participant's lease."""
    found: str | None = await connection.scalar(
        select(PARTICIPANT.c.incarnation).where(PARTICIPANT.c.id == participant)
    )
    return found


async def set_channel(
    connection: AsyncConnection, participant: str, channel: str, now: datetime
) -> None:
    """Say over which channel the relay serves a participant: `mailbox` or `amqp`."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(
        dialect.insert(PARTICIPANT)
        .values(id=participant, channel=channel, seen_at=now)
        .on_conflict_do_update(index_elements=["id"], set_={"channel": channel, "seen_at": now})
    )


async def channel_of(connection: AsyncConnection, participant: str) -> str:
    """The participant's channel; the mailbox unless it chose otherwise."""
    found = await connection.scalar(
        select(PARTICIPANT.c.channel).where(PARTICIPANT.c.id == participant)
    )
    return str(found or "mailbox")


async def access_generations(connection: AsyncConnection) -> dict[str, int]:
    """Which password each participant's RabbitMQ user has; those that are not named have the first."""
    rows = await connection.execute(
        select(PARTICIPANT.c.id, PARTICIPANT.c.access).where(PARTICIPANT.c.access > 0)
    )
    return {row.id: row.access for row in rows}


async def renew_access(connection: AsyncConnection, participant: str, now: datetime) -> None:
    """Give the participant's RabbitMQ user another password."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(
        dialect.insert(PARTICIPANT)
        .values(id=participant, access=1, seen_at=now)
        .on_conflict_do_update(index_elements=["id"], set_={"access": PARTICIPANT.c.access + 1})
    )


# --- the directory's version ---------------------------------------------------------------


async def newest_directory(connection: AsyncConnection) -> Newest:
    """The newest directory that any process of this hub has seen."""
    row = (
        await connection.execute(
            select(DIRECTORY.c.version, DIRECTORY.c.revocations).where(DIRECTORY.c.one == 1)
        )
    ).first()
    return Newest(0, 0) if row is None else Newest(int(row.version), int(row.revocations))


async def saw_directory(
    connection: AsyncConnection, version: int, digest: bytes, now: datetime
) -> bool:
    """Record a directory by its `order`; True if it is newer than any before."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(DIRECTORY)
        .values(one=1, version=version, digest=digest, seen_at=now)
        .on_conflict_do_update(
            index_elements=["one"],
            set_={"version": version, "digest": digest, "seen_at": now},
            where=DIRECTORY.c.version < version,
        )
        .returning(case((DIRECTORY.c.version == version, 1), else_=0))
    )
    return (await connection.execute(statement)).first() is not None


# --- quarantine ----------------------------------------------------------------------------


async def quarantine(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """Keep what is suspect, as it came, for a person to look at."""
    await connection.execute(insert(QUARANTINE).values(**row))


async def quarantined(connection: AsyncConnection, limit: int) -> list[AnyRow]:
    """The newest suspects, without their bytes."""
    rows = await connection.execute(
        select(
            QUARANTINE.c.id,
            QUARANTINE.c.claimed_kid,
            QUARANTINE.c.claimed_by,
            QUARANTINE.c.code,
            QUARANTINE.c.digest,
            QUARANTINE.c.recorded_at,
        )
        .order_by(QUARANTINE.c.id.desc())
        .limit(limit)
    )
    return list(rows)


async def forget_quarantine(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete suspects recorded before a moment; how many that were."""
    old = (
        select(QUARANTINE.c.id)
        .where(QUARANTINE.c.recorded_at < before)
        .order_by(QUARANTINE.c.id)
        .limit(limit)
    )
    done = await connection.execute(
        delete(QUARANTINE).where(QUARANTINE.c.recorded_at < before, QUARANTINE.c.id.in_(old))
    )
    return done.rowcount
