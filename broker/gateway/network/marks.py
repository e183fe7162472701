"""Our word on how far each of our streams has gone, signed, so that the hub can leave nothing out.

A mark covers the numbers below everything that is still to be sent or in doubt. Of those, the ones
that never reached the hub are void, and so are those whose end we hold and whose time is nearly
over: the recipient may have forgotten them. All others it must find.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.outbox import UNSENT
from broker.gateway.store.tables import doubt, outbox, stream
from keys.statements.high_water import sign_high_water
from schemas.base import ParticipantId
from schemas.envelope import Lane
from schemas.high_water import MAX_RANGES, HighWater

SETTLED = frozenset({"delivered", "filed", "read", "refused", "stopped", "failed"})
"""States that the recipient stated, or that the hub closed with a tombstone."""
MARGIN = timedelta(days=2)
"""Longer than the day between two comparisons."""


class Marks:
    """Makes marks, and hands them in when they say something new."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._said: dict[tuple[ParticipantId, Lane], tuple[object, datetime]] = {}

    async def say(self, partner: ParticipantId, lane: Lane) -> None:
        """Hand in the mark of one stream, if it changed or is a day old.

        Raises:
            Unavailable: The hub does not answer.
        """
        core, now = self._core, self._core.now()
        async with core.database.read() as connection:
            made = await self._made(connection, partner, lane, now)
        if made is None:
            return
        place, content = (partner, lane), (made.upto, made.over)
        said = self._said.get(place)
        if said is not None and said[0] == content and now - said[1] < timedelta(days=1):
            return
        await core.hub.say_high_water(sign_high_water(made, core.signer))
        self._said[place] = (content, now)

    async def _made(
        self, connection: AsyncConnection, partner: ParticipantId, lane: Lane, now: datetime
    ) -> HighWater | None:
        row = (
            await connection.execute(
                select(stream.c.last_number, stream.c.base).where(
                    stream.c.recipient == partner, stream.c.lane == lane.value
                )
            )
        ).first()
        if row is None or row.last_number <= row.base:
            return None
        sent = await connection.execute(
            select(
                outbox.c.stream_number,
                outbox.c.state,
                outbox.c.expires_at,
                outbox.c.submitted_at,
                doubt.c.message.label("doubt"),
            )
            .outerjoin(doubt, doubt.c.message == outbox.c.id)
            .where(
                outbox.c.recipient == partner,
                outbox.c.lane == lane.value,
                outbox.c.stream_number > row.base,
            )
            .order_by(outbox.c.stream_number)
        )
        expected, upto = [], row.last_number
        for one in sent:
            if one.state in UNSENT or one.doubt is not None:
                upto = one.stream_number - 1
                break
            past = one.state in SETTLED and one.expires_at <= now + MARGIN
            if one.submitted_at is not None and not past:
                expected.append(one.stream_number)
        over, upto = _ranges_without(expected, upto)
        return HighWater(
            by=self._core.participant,
            to=partner,
            lane=lane,
            incarnation=self._core.incarnation,
            upto=upto,
            over=over,
            issued_at=now,
        )


def _ranges_without(expected: list[int], upto: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """What lies between the expected numbers, and how far that goes within the limit."""
    found: list[tuple[int, int]] = []
    at = 0
    for number in [*expected, upto + 1]:
        if number > at + 1:
            if len(found) == MAX_RANGES:
                return tuple(found), at
            found.append((at + 1, number - 1))
        at = number
    return tuple(found), upto
