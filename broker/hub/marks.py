"""High-water marks, kept for those they are meant for: the newest of each stream."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from broker.hub.intake.limiting import Limiter
from broker.hub.state import Hub
from broker.hub.store.tables import STREAM_MARK
from keys.statements.high_water import verify_high_water
from schemas.base import ParticipantId
from schemas.envelope import Lane
from schemas.errors import Forbidden, RateLimited, RecipientUnknown
from schemas.high_water import HighWater


async def keep(hub: Hub, limiter: Limiter, raw: bytes) -> HighWater:
    """Take a sender's mark; an older one than the last changes nothing.

    Raises:
        Forbidden, RecipientUnknown: By whom, or for whom, nothing may travel.
        RateLimited: Too many.
        Refused, Suspect: As `keys.statements.high_water.verify_high_water` says.
    """
    now, directory = hub.clock.now(), hub.directory.current()
    content = verify_high_water(raw, directory, now=now)
    author, reader = directory.participant(content.by), directory.participant(content.to)
    if author is None or author.suspended:
        raise Forbidden
    if reader is None or content.to == content.by:
        raise RecipientUnknown
    if not limiter.request(content.by):
        raise RateLimited
    row = {
        "sender": content.by,
        "recipient": content.to,
        "lane": content.lane.value,
        "incarnation": content.incarnation,
        "issued_at": content.issued_at,
        "raw": raw,
    }
    place = ("sender", "recipient", "lane", "incarnation")
    async with hub.database.begin() as connection:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        await connection.execute(
            dialect.insert(STREAM_MARK)
            .values(**row)
            .on_conflict_do_update(
                index_elements=place,
                set_={"issued_at": content.issued_at, "raw": raw},
                where=STREAM_MARK.c.issued_at < content.issued_at,
            )
        )
    return content


async def of(
    hub: Hub, *, sender: ParticipantId, recipient: ParticipantId, lane: Lane
) -> list[bytes]:
    """The newest mark of each incarnation of a stream, the newest incarnation first."""
    async with hub.database.read() as connection:
        rows = await connection.execute(
            select(STREAM_MARK.c.raw)
            .where(
                STREAM_MARK.c.sender == sender,
                STREAM_MARK.c.recipient == recipient,
                STREAM_MARK.c.lane == lane.value,
            )
            .order_by(STREAM_MARK.c.issued_at.desc())
            .limit(4)
        )
        return list(rows.scalars())
