"""Everything that decisions rest on, asked at once: on PostgreSQL one statement, one round trip.

Agreements come before grants in it, as everywhere where their rows are locked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.hub.store import agreements, envelopes, grants, participants
from broker.hub.store.envelopes import Known, StreamKey
from broker.hub.store.participants import Newest
from broker.hub.store.sql import given
from broker.rules.header import AgreementView, GrantView

Route = tuple[str, str]
"""Recipient and lane."""


@dataclass
class Rules:
    """Agreements and grants, held FOR SHARE until the transaction ends; the newest directory."""

    agreements: dict[UUID, AgreementView]
    grants: dict[UUID, GrantView]
    newest: Newest
    """The directory without which nothing may be decided."""


@dataclass
class Decisive(Rules):
    """What submissions are decided by."""

    incarnations: dict[str, str]
    known: dict[UUID, Known]
    used: set[StreamKey]
    room: dict[Route, int]
    """Of participants on RabbitMQ, how many envelopes more a lane may be given just now."""


_RULES = f"""
WITH agreed AS (
    SELECT id, one, other, lanes, valid_from, valid_until, suspended FROM agreement
    WHERE id = ANY({given(1, "uuid")}) ORDER BY id FOR SHARE
), granted AS (
    SELECT id, giver, recipient, scopes, removed, valid_from, until, withdrawn FROM consent_grant
    WHERE id = ANY({given(2, "uuid")}) ORDER BY id FOR SHARE
)
SELECT (SELECT array_agg(agreed) FROM agreed), (SELECT array_agg(granted) FROM granted),
    (SELECT ROW(version, revocations) FROM directory_version WHERE one = 1)
"""  # noqa: S608 (our own words)

_MORE = f""",
    (SELECT array_agg(ROW(p.id, p.incarnation)) FROM participant p
        WHERE p.id = ANY({given(3, "text")}) AND p.incarnation_until > $4::timestamptz),
    (SELECT array_agg(ROW(e.id, e.digest, v.raw)) FROM envelope e
        JOIN evidence v ON v.id = e.evidence_id WHERE e.id = ANY({given(5, "uuid")})),
    (SELECT array_agg(k.place) FROM unnest({given(6, "text")}, {given(7, "text")},
            {given(8, "text")}, {given(9, "text")}, {given(10, "bigint")})
            WITH ORDINALITY AS k(sender, recipient, lane, incarnation, number, place)
        WHERE EXISTS (SELECT 1 FROM envelope e WHERE e.sender = k.sender
                AND e.recipient = k.recipient AND e.lane = k.lane
                AND e.incarnation = k.incarnation AND e.stream_number = k.number)
            OR EXISTS (SELECT 1 FROM stream s WHERE s.sender = k.sender
                AND s.recipient = k.recipient AND s.lane = k.lane
                AND s.incarnation = k.incarnation AND s.highest >= k.number)),
    (SELECT array_agg(ROW(r.recipient, r.lane, $13::bigint - (
            SELECT CASE WHEN bool_or(given.due_at <= $4::timestamptz) THEN $13::bigint
                ELSE count(*) END
            FROM (SELECT due_at FROM delivery WHERE (recipient, lane, id) > (r.recipient, r.lane, 0)
                AND (recipient, lane, id) < (r.recipient, r.lane, 9223372036854775807)
                AND item = 'envelope' ORDER BY recipient, lane, id LIMIT $13::bigint) AS given)))
        FROM unnest({given(11, "text")}, {given(12, "text")}) AS r(recipient, lane)
        JOIN participant p ON p.id = r.recipient AND p.channel = 'amqp')
"""  # noqa: S608 (our own words)
"""Numbers below the highest that retention folded away were all used. Where an envelope waits
already there is no room: what is new must not overtake it."""

_DECISIVE = _RULES + _MORE


async def rules(
    connection: AsyncConnection, *, agreed: Iterable[UUID], granted: Iterable[UUID]
) -> Rules:
    """What is asked again before a hand-over."""
    if connection.dialect.name != "postgresql":
        return Rules(
            agreements=await agreements.views(connection, agreed),
            grants=await grants.views(connection, granted),
            newest=await participants.newest_directory(connection),
        )
    [row] = await fetch(connection, _RULES, (list(agreed), list(granted)))
    return Rules(*_rules(row))


async def decisive(
    connection: AsyncConnection,
    *,
    agreed: Iterable[UUID],
    granted: Iterable[UUID],
    senders: Iterable[str],
    ids: Iterable[UUID],
    streams: Sequence[StreamKey],
    routes: Collection[Route] = (),
    window: int = 0,
    now: datetime,
) -> Decisive:
    """What submissions of these senders with these ids and stream numbers are decided by.

    Args:
        routes: What might be handed over at once; on SQLite there is room for nothing.
        window: Envelopes that may be given to a lane without a receipt.
    """
    if connection.dialect.name != "postgresql":
        incarnations, newest = await participants.live_incarnations(connection, senders, now)
        return Decisive(
            agreements=await agreements.views(connection, agreed),
            grants=await grants.views(connection, granted),
            newest=newest,
            incarnations=incarnations,
            known=await envelopes.known(connection, ids),
            used=await envelopes.used_numbers(connection, streams),
            room={},
        )
    columns = [[key[part] for key in streams] for part in range(5)]
    ways = [[route[part] for route in routes] for part in range(2)]
    arguments = (
        *(list(agreed), list(granted), list(senders), now, list(ids)),
        *(*columns, *ways, window),
    )
    [row] = await fetch(connection, _DECISIVE, arguments)
    return Decisive(
        *_rules(row),
        incarnations=dict(row[3] or ()),
        known={one[0]: Known(one[1], one[2]) for one in row[4] or ()},
        used={streams[place - 1] for place in row[5] or ()},
        room={(one[0], one[1]): one[2] for one in row[6] or ()},
    )


def _rules(row: Any) -> tuple[dict[UUID, AgreementView], dict[UUID, GrantView], Newest]:
    return (
        {one[0]: agreements.view(*one[1:]) for one in row[0] or ()},
        {one[0]: grants.view(*one[1:]) for one in row[1] or ()},
        Newest(*row[2]) if row[2] else Newest(0, 0),
    )
