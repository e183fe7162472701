"""Queries on what we sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.tables import doubt, grant, outbox, outbox_attachment
from schemas.envelope import NEVER_HELD_BACK, Lane

UNSENT = ("queued", "sending")
WITH_HUB = ("submitted", "relayed")
FINAL = ("read", "refused", "stopped", "expired", "failed")

TOLD = case(
    (
        and_(outbox.c.state == "failed", exists().where(doubt.c.message == outbox.c.id)),
        literal("unknown"),
    ),
    else_=outbox.c.state,
).label("told")
"""The state as people are told it: `unknown` while we have given up, and the hub, which may have
taken it all the same, has not been asked yet."""


async def take_numbers(
    connection: AsyncConnection, *, recipient: str, lane: Lane, count: int
) -> int:
    """Take the next `count` numbers of a stream; returns the last of them.

    Two transactions never get the same one: the row stays locked until the end.
    """
    wanted = {"recipient": recipient, "lane": lane.value, "count": count}
    if connection.dialect.name == "postgresql":
        [row] = await fetch(connection, _TAKE.format("$1", "$2", "$3"), list(wanted.values()))
        return int(row[0])
    taken = await connection.execute(text(_TAKE.format(":recipient", ":lane", ":count")), wanted)
    return int(taken.scalar_one())


_TAKE = """
INSERT INTO stream (recipient, lane, last_number) VALUES ({}, {}, {})
ON CONFLICT (recipient, lane) DO UPDATE SET last_number = stream.last_number + excluded.last_number
RETURNING last_number
"""


async def with_business_ids(
    connection: AsyncConnection, business_ids: Sequence[UUID]
) -> Sequence[AnyRow]:
    """What was sent before about these."""
    if not business_ids:
        return []
    columns = (outbox.c.id, outbox.c.thread, outbox.c.business_id, outbox.c.type)
    query = select(*columns, outbox.c.recipient, outbox.c.state, outbox.c.request)
    rows = await connection.execute(query.where(outbox.c.business_id.in_(padded(business_ids))))
    return rows.all()


_FIRST = case((outbox.c.kind.in_([str(kind) for kind in NEVER_HELD_BACK]), 0), else_=1)
_LANE = case((outbox.c.lane == Lane.URGENT.value, 0), else_=1)


@cache
def _claim(dialect: str) -> Any:
    """One statement, built once: choose, mark, and return what was chosen."""
    has_files = exists().where(
        outbox_attachment.c.message == outbox.c.id, outbox_attachment.c.uploaded_at.is_(None)
    )
    chosen = (
        select(outbox.c.id)
        .outerjoin(grant, grant.c.id == outbox.c.grant)
        .where(
            outbox.c.state.in_(UNSENT),
            outbox.c.next_attempt_at <= bindparam("now", type_=outbox.c.next_attempt_at.type),
            or_(
                outbox.c.grant.is_(None),
                grant.c.id.is_(None),
                grant.c.registered_at.is_not(None),
                and_(grant.c.state == "withdrawn", outbox.c.kind == "withdrawal"),
            ),
        )
        .order_by(_FIRST, _LANE, outbox.c.position)
        .limit(bindparam("most", type_=Integer()))
    )
    if dialect == "postgresql":
        chosen = chosen.with_for_update(of=outbox, skip_locked=True)
    taken = chosen.cte("chosen")
    return (
        update(outbox)
        .where(outbox.c.id == taken.c.id)
        .values(state="sending", attempts=outbox.c.attempts + 1)
        .returning(*outbox.c, has_files.label("has_files"))
    )


async def claim_due(connection: AsyncConnection, *, now: datetime, limit: int) -> Sequence[AnyRow]:
    """Take what is due and mark it `sending`: withdrawals and safety first, then urgent.

    What travels under a grant of ours that the hub does not know yet waits for the registration.
    `has_files` of a row says that files of it are still to be uploaded.
    """
    statement = _claim(connection.dialect.name)
    rows = (await connection.execute(statement, {"now": now, "most": limit})).all()
    first = {str(kind) for kind in NEVER_HELD_BACK}
    return sorted(
        rows,
        key=lambda row: (row.kind not in first, row.lane != Lane.URGENT.value, row.position),
    )


async def get(connection: AsyncConnection, message: UUID) -> AnyRow | None:
    return (await connection.execute(select(outbox).where(outbox.c.id == message))).first()


_JUDGED = Lookup(
    select(
        outbox.c.id,
        outbox.c.digest,
        outbox.c.recipient,
        outbox.c.state,
        outbox.c.grant,
        outbox.c.thread,
        outbox.c.kind,
        outbox.c.position,
    )
    .order_by(outbox.c.id)
    .with_for_update(),
    outbox.c.id,
)


async def lock_many(connection: AsyncConnection, messages: Sequence[UUID]) -> dict[UUID, AnyRow]:
    """By id, locked to the end of the transaction; only the columns that receipts are judged by.

    Two evidences about one message may come at once, over the queue and in the hub's answer. Each
    must see the facts of the other before it says what stands. Locked in one order, so that they
    never wait for each other in a ring.
    """
    found: dict[UUID, AnyRow] = {}
    wanted = sorted(messages)
    for start in range(0, len(wanted), 512):
        rows = await _JUDGED(connection, wanted[start : start + 512])
        found |= {row.id: row for row in rows}
    return found


async def set_state(connection: AsyncConnection, message: UUID, state: str, **values: Any) -> None:
    await connection.execute(
        update(outbox).where(outbox.c.id == message).values(state=state, **values)
    )


async def give_up(connection: AsyncConnection, message: UUID, *, code: str) -> bool:
    """End what was never taken by the hub; False if it was, or has ended otherwise."""
    ended = await connection.execute(
        update(outbox)
        .where(outbox.c.id == message, outbox.c.state.in_(UNSENT))
        .values(state="failed", code=code)
    )
    return ended.rowcount > 0


async def take_up_again(
    connection: AsyncConnection, message: UUID, *, now: datetime, until: datetime
) -> None:
    """Try what we gave up once more, with the same bytes."""
    await connection.execute(
        update(outbox)
        .where(outbox.c.id == message, outbox.c.state == "failed")
        .values(state="queued", code=None, attempts=0, next_attempt_at=now, hard_stop_at=until)
    )


async def postpone(connection: AsyncConnection, message: UUID, until: datetime) -> None:
    """Back to the queue, with the same bytes."""
    await connection.execute(
        update(outbox)
        .where(outbox.c.id == message, outbox.c.state.in_(UNSENT))
        .values(state="queued", next_attempt_at=until)
    )


async def destroy_copies(
    connection: AsyncConnection, given: UUID, *, before: int | None = None
) -> int:
    """Destroy the sealed bytes of what went out under a grant that was taken back.

    Only of what will not be sent again with the same bytes; withdrawals and safety excepted.

    Args:
        before: Only what was stored before this position: under a narrowed grant, what came after
            the narrowing holds nothing that was taken back.
    """
    where = [
        outbox.c.grant == given,
        outbox.c.state.not_in(UNSENT),
        outbox.c.kind.not_in([str(kind) for kind in NEVER_HELD_BACK]),
        func.length(outbox.c.envelope) > 0,
        ~exists().where(doubt.c.message == outbox.c.id),
    ]
    if before is not None:
        where.append(outbox.c.position < before)
    gone = await connection.execute(update(outbox).where(*where).values(envelope=b""))
    return gone.rowcount


async def stop_under_grant(
    connection: AsyncConnection, given: UUID, *, code: str, only: set[UUID] | None = None
) -> list[AnyRow]:
    """Stop what was not handed to the hub yet, withdrawals and safety excepted."""
    where = [
        outbox.c.grant == given,
        outbox.c.state == "queued",
        outbox.c.kind.not_in([str(kind) for kind in NEVER_HELD_BACK]),
    ]
    if only is not None:
        where.append(outbox.c.id.in_(only))
    rows = await connection.execute(
        update(outbox)
        .where(*where)
        .values(state="stopped", code=code)
        .returning(outbox.c.id, outbox.c.digest, outbox.c.thread)
    )
    return list(rows.all())
