"""The queue of what still has to be handed over, envelopes and evidence alike.

A claim is a lease: when it runs out before the item is done, say because the process died, the
item is due again. So an item may be handed over twice and is never lost; gateways drop the
second copy by its id. Rows are deleted when their work is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, bindparam, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from broker.hub.store.envelopes import Stored, stored
from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import DELIVERY, PARTICIPANT
from broker.hub.store.writing import Change, Writing
from schemas.envelope import Lane

ENVELOPE_ITEM = "envelope"
PASSING_ITEM = "passing"
"""An envelope that nothing may hold back, as it is queued; once claimed it is an envelope."""
EVIDENCE_ITEM = "evidence"
_PLACE = (DELIVERY.c.recipient, DELIVERY.c.lane, DELIVERY.c.id)
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to hand over, as it was signed."""

    delivery: int
    recipient: str
    lane: Lane
    kind: str
    """`envelope` or `evidence`."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed delivery."""

    id: int
    item: str
    object_id: UUID
    attempts: int
    recipient: str
    lane: str
    evidence: bytes | None = None
    """The evidence as it was signed, if it was loaded with the claim."""
    envelope: Stored | None = None
    """The envelope, if it was."""


def _kind(item: str) -> str:
    return ENVELOPE_ITEM if item == PASSING_ITEM else item


def _loaded(row: AnyRow) -> Claim:
    return Claim(
        id=row.delivery,
        item=_kind(row.item),
        object_id=row.object_id,
        attempts=row.attempts,
        recipient=row.reader,
        lane=row.way,
        evidence=row.evidence,
        envelope=None if row.sender is None else stored(row),
    )


def queued(
    *, recipient: str, lane: Lane, item: str, object_id: UUID, due_at: datetime, **more: Any
) -> dict[str, Any]:
    """A row for `send`."""
    return {
        "recipient": recipient,
        "lane": lane.value,
        "item": item,
        "object_id": object_id,
        "due_at": due_at,
        "grant_id": None,
        "attempts": 0,
        **more,
    }


async def send(
    connection: AsyncConnection, writing: Writing, rows: Sequence[Mapping[str, Any]]
) -> dict[UUID, int]:
    """Queue items with whatever else the transaction writes; their deliveries, on PostgreSQL."""
    writing.insert(DELIVERY, rows)
    wanted = (DELIVERY.c.object_id, DELIVERY.c.id) if rows else ()
    return {row[0]: row[1] for row in await writing.send(connection, returning=wanted)}


async def insert_many(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Queue items: recipient, lane, item, object_id, grant_id, due_at."""
    if rows:
        await connection.execute(insert(DELIVERY), list(rows))


async def claim_due(
    connection: AsyncConnection,
    *,
    recipient: str,
    lane: str,
    now: datetime,
    lease: timedelta,
    limit: int,
) -> list[Claim]:
    """Claim one participant's due items of one lane: first attempts, then the least often tried.

    Otherwise what is never acknowledged, once there is a page of it, would hold up all the rest.
    Claims may run side by side: each gets its own items, and none waits for another. The caller
    commits before anything leaves the process.

    Args:
        now: The process's clock, so that tests can turn it.
        lease: How long the claimer may take with the whole batch.

    Returns:
        Oldest first.
    """
    route = (recipient, lane)
    found = await _claim_some(connection, route, _FIRST, now=now, lease=lease, limit=limit)
    if len(found) < limit:
        rest = limit - len(found)
        found += await _claim_some(connection, route, _AGAIN, now=now, lease=lease, limit=rest)
    return sorted(found, key=lambda item: item.id)


_FIRST = DELIVERY.c.attempts == 0
_AGAIN = DELIVERY.c.attempts > 0
_HELD = DELIVERY.c.item == ENVELOPE_ITEM


async def _claim_some(
    connection: AsyncConnection,
    route: tuple[str, str],
    *which: ColumnElement[bool],
    now: datetime,
    lease: timedelta,
    limit: int,
) -> list[Claim]:
    if limit <= 0:
        return []
    recipient, lane = route
    # Along the index where there may be a backlog; what was tried before is little, and is sorted.
    order = (DELIVERY.c.attempts, DELIVERY.c.id) if any(one is _AGAIN for one in which) else _PLACE
    # A CTE, not a subquery: PostgreSQL may run a subquery again for each row it tries, and would
    # then claim more than `limit`.
    due = (
        select(DELIVERY.c.id)
        .where(
            # See `_CLAIM` for why rows are compared whole.
            tuple_(*_PLACE) > tuple_(literal(recipient), literal(lane), literal(0, BigInteger)),
            tuple_(*_PLACE) < tuple_(literal(recipient), literal(lane), literal(_LAST, BigInteger)),
            DELIVERY.c.due_at <= bindparam("now", type_=DELIVERY.c.due_at.type),
            *which,
        )
        .order_by(*order)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claim = (
        update(DELIVERY)
        .where(DELIVERY.c.id.in_(select(due.c.id)))
        .values(
            due_at=bindparam("until", type_=DELIVERY.c.due_at.type),
            attempts=DELIVERY.c.attempts + 1,
        )
        .returning(
            DELIVERY.c.id,
            DELIVERY.c.item,
            DELIVERY.c.object_id,
            DELIVERY.c.attempts,
            DELIVERY.c.recipient,
            DELIVERY.c.lane,
        )
    )
    rows = await connection.execute(claim, {"now": now, "until": now + lease, "most": limit})
    return [
        Claim(row.id, _kind(row.item), row.object_id, row.attempts, row.recipient, row.lane)
        for row in rows
    ]


async def has_due(connection: AsyncConnection, *, recipient: str, lane: str, now: datetime) -> bool:
    """True if a claim would find something; a read, so that waiting costs no write."""
    found = await connection.execute(
        select(DELIVERY.c.id)
        .where(
            DELIVERY.c.recipient == recipient,
            DELIVERY.c.lane == lane,
            DELIVERY.c.due_at <= now,
        )
        .limit(1)
    )
    return found.first() is not None


async def mark_relayed(connection: AsyncConnection, ids: Sequence[int], due_at: datetime) -> None:
    """These are in RabbitMQ; look again at `due_at` unless evidence comes first."""
    if ids:
        await connection.execute(
            update(DELIVERY)
            .where(one_of(connection, DELIVERY.c.id, ids))
            .values(relayed=True, due_at=due_at)
        )


async def give_back(connection: AsyncConnection, ids: Sequence[int], now: datetime) -> None:
    """These were claimed and could not be handed over: they are due again."""
    if ids:
        await connection.execute(
            update(DELIVERY).where(one_of(connection, DELIVERY.c.id, ids)).values(due_at=now)
        )


async def release(connection: AsyncConnection, recipient: str, lane: str, now: datetime) -> None:
    """What a participant's mailbox had leased of one lane is due again: the caller has none of it."""
    await connection.execute(
        update(DELIVERY)
        .where(
            DELIVERY.c.recipient == recipient,
            DELIVERY.c.lane == lane,
            DELIVERY.c.attempts > 0,
            DELIVERY.c.due_at > now,
            ~DELIVERY.c.relayed,
        )
        .values(due_at=now)
    )


async def in_window(connection: AsyncConnection, recipient: str, lane: str, now: datetime) -> int:
    """How many envelopes of a participant's lane are in RabbitMQ and have time for a receipt."""
    found = await connection.scalar(
        select(func.count()).where(
            DELIVERY.c.recipient == recipient,
            DELIVERY.c.lane == lane,
            DELIVERY.c.item == ENVELOPE_ITEM,
            DELIVERY.c.relayed,
            DELIVERY.c.due_at > now,
        )
    )
    return int(found or 0)


async def routes_due(connection: AsyncConnection, now: datetime) -> list[tuple[str, str]]:
    """Participants on RabbitMQ for whom something is due, with its lane; urgent lanes first."""
    due = (
        select(DELIVERY.c.id)
        .where(DELIVERY.c.recipient == PARTICIPANT.c.id, DELIVERY.c.due_at <= now)
        .correlate(PARTICIPANT)
    )
    rows = await connection.execute(
        select(PARTICIPANT.c.id).where(PARTICIPANT.c.channel == "amqp", due.exists())
    )
    found = list(rows.scalars())
    return [(participant, lane) for lane in ("urgent", "routine") for participant in found]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was published since the relay last claimed."""

    envelopes: Sequence[int] = ()
    """Looked at again at `again`, unless evidence comes first."""
    evidence: Sequence[int] = ()
    """Needs no further attempt."""
    again: datetime | None = None


_CLAIM = """
WITH relayed AS (
    UPDATE delivery SET relayed = true, due_at = $2::timestamptz WHERE id IN (
        SELECT id FROM delivery WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
), finished AS (
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE id = ANY($3::bigint[]) FOR UPDATE SKIP LOCKED)
), route AS (
    SELECT p.id AS recipient, l.lane, $4::bigint - (SELECT count(*) FROM (
            SELECT 1 FROM delivery WHERE (recipient, lane, id) > (p.id, l.lane, 0)
                AND (recipient, lane, id) < (p.id, l.lane, 9223372036854775807)
                AND item = 'envelope' AND attempts > 0 AND due_at > $5::timestamptz
            ORDER BY recipient, lane, id LIMIT $4::bigint) AS given) AS room
    FROM participant p CROSS JOIN (VALUES ('urgent'), ('routine')) AS l(lane)
    WHERE p.channel = 'amqp'
), first AS (
    SELECT d.id, r.recipient, r.lane
    FROM (SELECT * FROM route WHERE room > 0 ORDER BY lane DESC, random()) AS r
    CROSS JOIN LATERAL (
        SELECT id FROM delivery WHERE (recipient, lane, id) > (r.recipient, r.lane, 0)
            AND (recipient, lane, id) < (r.recipient, r.lane, 9223372036854775807)
            AND item = 'envelope' AND attempts = 0 AND due_at <= $5::timestamptz
        ORDER BY recipient, lane, id LIMIT least(r.room, $7::bigint) FOR UPDATE SKIP LOCKED
    ) AS d
    LIMIT $7::bigint
), again AS (
    SELECT d.id FROM (
        SELECT recipient, lane, room - $8::bigint - (SELECT count(*) FROM first AS f
            WHERE f.recipient = route.recipient AND f.lane = route.lane) AS room
        FROM route WHERE room > $8::bigint ORDER BY lane DESC, random()) AS r
    CROSS JOIN LATERAL (
        SELECT id FROM delivery WHERE (recipient, lane, id) > (r.recipient, r.lane, 0)
            AND (recipient, lane, id) < (r.recipient, r.lane, 9223372036854775807)
            AND item = 'envelope' AND attempts > 0 AND due_at <= $5::timestamptz
            AND NOT id = ANY($1::bigint[])
        ORDER BY attempts, id LIMIT greatest(0, r.room) FOR UPDATE SKIP LOCKED
    ) AS d
    LIMIT greatest(0, $7::bigint - (SELECT count(*) FROM first))
), passing AS (
    SELECT d.id FROM (SELECT * FROM route ORDER BY lane DESC, random()) AS r
    CROSS JOIN LATERAL (
        SELECT id FROM delivery WHERE (recipient, lane, id) > (r.recipient, r.lane, 0)
            AND (recipient, lane, id) < (r.recipient, r.lane, 9223372036854775807)
            AND item <> 'envelope' AND due_at <= $5::timestamptz
            AND NOT id = ANY($1::bigint[]) AND NOT id = ANY($3::bigint[])
        ORDER BY recipient, lane, id LIMIT $7::bigint FOR UPDATE SKIP LOCKED
    ) AS d
    LIMIT $7::bigint
), claimed AS (
    UPDATE delivery SET due_at = $6::timestamptz, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM first UNION ALL SELECT id FROM again UNION ALL SELECT id FROM passing)
    RETURNING id, recipient, lane, item, object_id, attempts
)
SELECT c.id AS delivery, c.item, c.object_id, c.attempts, c.recipient AS reader, c.lane AS way,
    v.raw AS evidence, e.*, p.raw, p.scopes, p.to_keys
FROM claimed c LEFT JOIN envelope e ON c.item <> 'evidence' AND e.id = c.object_id
    LEFT JOIN LATERAL (SELECT raw, scopes, to_keys FROM payload
        WHERE envelope_id = e.id LIMIT 1) AS p ON true
    LEFT JOIN evidence v ON c.item = 'evidence' AND v.id = c.object_id
ORDER BY c.lane DESC, c.id
"""
"""Rows that somebody else holds are passed over: evidence about them is just being recorded.

Rows are compared whole, and sorted so, since then only the index over all three columns will do.
Told `recipient = ... ORDER BY id`, PostgreSQL may walk along all ids, others' backlogs included.
"""


async def claim_for_relay(
    connection: AsyncConnection,
    settled: Settled,
    *,
    now: datetime,
    lease: timedelta,
    window: int,
    limit: int,
) -> list[Claim]:
    """Settle what was published, and claim what is due for participants on RabbitMQ.

    Args:
        window: Envelopes of one participant's lane that may be given out without a receipt, a
            quarter of them only for the first time: what is never receipted leaves room. It holds
            back what a withdrawal could still stop: not evidence, nor withdrawals, nor alerts.
        limit: Claims of what the window holds back, and as many again of what passes it.

    Returns:
        Urgent ones first, else oldest first.
    """
    if connection.dialect.name == "postgresql":
        rows = await connection.exec_driver_sql(
            _CLAIM,
            (
                list(settled.envelopes),
                settled.again,
                list(settled.evidence),
                window,
                now,
                now + lease,
                limit,
                window // 4,
            ),
        )
        return [_loaded(row) for row in rows]
    if settled.again is not None:
        await mark_relayed(connection, settled.envelopes, settled.again)
    await done(connection, settled.evidence)
    claims: list[Claim] = []
    some = partial(_claim_some, connection, now=now, lease=lease)
    for route in await routes_due(connection, now):
        claims += await some(route, ~_HELD, limit=limit)
        room = min(limit, window - await in_window(connection, *route, now))
        first = await some(route, _HELD, _FIRST, limit=room)
        room -= len(first) + window // 4
        claims += first + await some(route, _HELD, _AGAIN, limit=room)
    claims.sort(key=lambda one: one.id)
    claims.sort(key=lambda one: one.lane, reverse=True)
    return claims


async def done(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """These need no further attempt."""
    if ids:
        await connection.execute(delete(DELIVERY).where(one_of(connection, DELIVERY.c.id, ids)))


async def acknowledge(connection: AsyncConnection, recipient: str, ids: Sequence[int]) -> int:
    """A participant has stored these; others' ids are passed over. How many were its own."""
    result = await connection.execute(
        delete(DELIVERY)
        .where(one_of(connection, DELIVERY.c.id, ids), DELIVERY.c.recipient == recipient)
        .returning(DELIVERY.c.id)
    )
    return len(result.all())


async def done_with(connection: AsyncConnection, objects: Iterable[UUID]) -> None:
    """Whatever was to be handed over of these objects, need not be."""
    await connection.execute(
        delete(DELIVERY).where(one_of(connection, DELIVERY.c.object_id, objects))
    )


def none_left_of(objects: Sequence[UUID]) -> Change:
    """The same, with whatever else the transaction writes."""

    async def delete_them(connection: AsyncConnection) -> None:
        await done_with(connection, objects)

    return Change(
        "DELETE FROM delivery WHERE object_id = ANY({0}::uuid[])", (list(objects),), delete_them
    )


async def take_waiting_under(
    connection: AsyncConnection, grants: Sequence[UUID], now: datetime
) -> list[UUID]:
    """Lock envelopes under these grants that nobody is handing over at this moment.

    What a relay or a mailbox holds right now is left to it: it reads the grant's row in its own
    transaction, which waits for ours, and then stops the envelope itself.
    """
    rows = await connection.execute(
        select(DELIVERY.c.object_id)
        .where(
            one_of(connection, DELIVERY.c.grant_id, grants),
            DELIVERY.c.item == ENVELOPE_ITEM,
            DELIVERY.c.due_at <= now,
        )
        .order_by(DELIVERY.c.id)
        .with_for_update(skip_locked=True)
    )
    return list(rows.scalars())


async def due_again(connection: AsyncConnection, after: datetime, now: datetime) -> int:
    """What is not due before `after`, which no lease reaches, is due now; how many there were."""
    again = update(DELIVERY).where(DELIVERY.c.due_at > after).values(due_at=now)
    return (await connection.execute(again)).rowcount


async def waiting(connection: AsyncConnection) -> list[tuple[str, str, int, datetime]]:
    """Recipient, lane, count of what waits, and when the last of it is due."""
    rows = await connection.execute(
        select(
            DELIVERY.c.recipient, DELIVERY.c.lane, func.count(), func.max(DELIVERY.c.due_at)
        ).group_by(DELIVERY.c.recipient, DELIVERY.c.lane)
    )
    return [(row[0], row[1], int(row[2]), row[3]) for row in rows]
