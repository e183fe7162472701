"""The sealed bytes of envelopes, with what is needed only as long as somebody may be handed them.

A row goes in the transaction in which its envelope's way ends: stopped, expired, or delivered long
enough ago. Who deletes it holds the envelope's row locked, and so does `carry_on`: so that no row is
put elsewhere while somebody means to delete it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import one_of
from broker.hub.store.tables import ENVELOPE, PAYLOAD


async def forget(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Destroy these envelopes' payload; id, digest and header remain, for evidence and repetition."""
    if ids:
        await connection.execute(
            delete(PAYLOAD).where(one_of(connection, PAYLOAD.c.envelope_id, ids))
        )


async def carry_on(connection: AsyncConnection, before: datetime, now: datetime, limit: int) -> int:
    """Put what is still needed and came before a moment among what comes now; how much that was.

    So that one message that nobody fetches does not keep a whole partition. What is due to go is
    left where it is, to whoever looks at it next (`broker.hub.ending.deadlines`).
    """
    needed = (
        select(PAYLOAD.c.envelope_id)
        .join(ENVELOPE, ENVELOPE.c.id == PAYLOAD.c.envelope_id)
        .where(PAYLOAD.c.kept_at < before, ENVELOPE.c.check_at > now)
        .order_by(ENVELOPE.c.id)
        .limit(limit)
        .with_for_update(of=ENVELOPE, skip_locked=True)
    )
    ids = list((await connection.execute(needed)).scalars())
    if ids:
        await connection.execute(
            update(PAYLOAD)
            .where(one_of(connection, PAYLOAD.c.envelope_id, ids), PAYLOAD.c.kept_at < before)
            .values(kept_at=now)
        )
    return len(ids)
