"""Queries on what we sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, case, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.dialect import AnyRow, insert_for
from broker.gateway.store.tables import grant, outbox, outbox_attachment, stream
from schemas.envelope import NEVER_HELD_BACK, Lane

UNSENT = ("queued", "sending")
WITH_HUB = ("submitted", "relayed")
FINAL = ("read", "refused", "stopped", "expired", "failed")


async def take_numbers(
    connection: AsyncConnection, *, recipient: str, lane: Lane, count: int
) -> int:
    """Take the next `count` numbers of a stream; returns the last of them.

    Two transactions never get the same one: the row stays locked until the end.
    """
    statement = insert_for(connection, stream).values(
        recipient=recipient, lane=lane.value, last_number=count
    )
    counted = statement.on_conflict_do_update(
        index_elements=["recipient", "lane"],
        set_={"last_number": stream.c.last_number + count},
    ).returning(stream.c.last_number)
    return int((await connection.execute(counted)).scalar_one())


async def add(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    await connection.execute(insert(outbox), list(rows))


async def with_business_ids(
    connection: AsyncConnection, business_ids: Sequence[UUID]
) -> Sequence[AnyRow]:
    """What was sent before about these."""
    if not business_ids:
        return []
    columns = (outbox.c.id, outbox.c.thread, outbox.c.business_id, outbox.c.type)
    query = select(*columns, outbox.c.recipient, outbox.c.state)
    rows = await connection.execute(query.where(outbox.c.business_id.in_(business_ids)))
    return rows.all()


async def add_attachments(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(insert(outbox_attachment), list(rows))


_FIRST = case((outbox.c.kind.in_([str(kind) for kind in NEVER_HELD_BACK]), 0), else_=1)
_LANE = case((outbox.c.lane == Lane.URGENT.value, 0), else_=1)


async def claim_due(connection: AsyncConnection, *, now: datetime, limit: int) -> Sequence[AnyRow]:
    """Take what is due and mark it `sending`: withdrawals and safety first, then urgent.

    What travels under a grant of ours that the hub does not know yet waits for the registration.
    """
    chosen = (
        select(outbox.c.id)
        .outerjoin(grant, grant.c.id == outbox.c.grant)
        .where(
            outbox.c.state.in_(UNSENT),
            outbox.c.next_attempt_at <= now,
            or_(
                outbox.c.grant.is_(None),
                grant.c.id.is_(None),
                grant.c.registered_at.is_not(None),
                and_(grant.c.state == "withdrawn", outbox.c.kind == "withdrawal"),
            ),
        )
        .order_by(_FIRST, _LANE, outbox.c.position)
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        chosen = chosen.with_for_update(of=outbox, skip_locked=True)
    ids = [row.id for row in await connection.execute(chosen)]
    if not ids:
        return ()
    rows = await connection.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids))
        .values(state="sending", attempts=outbox.c.attempts + 1)
        .returning(*outbox.c)
    )
    order = {message: index for index, message in enumerate(ids)}
    return sorted(rows.all(), key=lambda row: order[row.id])


async def get(connection: AsyncConnection, message: UUID) -> AnyRow | None:
    return (await connection.execute(select(outbox).where(outbox.c.id == message))).first()


async def lock_many(connection: AsyncConnection, messages: Sequence[UUID]) -> dict[UUID, AnyRow]:
    """By id, locked to the end of the transaction; only the columns that receipts are judged by.

    Two evidences about one message may come at once, over the queue and in the hub's answer. Each
    must see the facts of the other before it says what stands. Locked in one order, so that they
    never wait for each other in a ring.
    """
    found: dict[UUID, AnyRow] = {}
    wanted = sorted(messages)
    for start in range(0, len(wanted), 500):
        rows = await connection.execute(
            select(
                outbox.c.id,
                outbox.c.digest,
                outbox.c.recipient,
                outbox.c.state,
                outbox.c.grant,
                outbox.c.thread,
            )
            .where(outbox.c.id.in_(wanted[start : start + 500]))
            .order_by(outbox.c.id)
            .with_for_update()
        )
        found |= {row.id: row for row in rows}
    return found


async def set_state(connection: AsyncConnection, message: UUID, state: str, **values: Any) -> None:
    await connection.execute(
        update(outbox).where(outbox.c.id == message).values(state=state, **values)
    )


async def postpone(connection: AsyncConnection, message: UUID, until: datetime) -> None:
    """Back to the queue, with the same bytes."""
    await connection.execute(
        update(outbox)
        .where(outbox.c.id == message, outbox.c.state.in_(UNSENT))
        .values(state="queued", next_attempt_at=until)
    )


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
