"""Who has erased what: attestations, kept as they were signed, and passed on upstream.

When somebody to whom we passed data on attests its erasure, the one from whom we had it is told
too: that copy exists because of us.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.receipts import Owed, owe
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import erasure, grant, withdrawal
from schemas.base import ParticipantId
from schemas.evidence import Erasure, Fact, Store, StoreErasure

NEEDED = (Store.VAULT, Store.CASE_SYSTEM)
"""Stores that must be attested before a whole copy counts as erased; backups never are, at once."""


async def note_erasures(
    connection: AsyncConnection,
    grant_id: UUID,
    by: ParticipantId,
    stores: Iterable[StoreErasure],
    *,
    at: datetime,
    message: UUID,
) -> None:
    """Remember who attested what of which store; the newest word of each stands."""
    for item in stores:
        await upsert(
            connection,
            erasure,
            {
                "grant": grant_id,
                "by": by,
                "store": item.store.value,
                "outcome": item.outcome.value,
                "basis": item.basis,
                "at": at,
                "message": message,
            },
            key=("grant", "by", "store"),
        )


async def attested(
    core: Core,
    connection: AsyncConnection,
    grant_id: UUID,
    by: ParticipantId,
    stores: Iterable[StoreErasure],
    *,
    at: datetime,
    message: UUID,
) -> None:
    """Somebody attested an erasure under a grant: keep it, and tell whoever we had the data from."""
    await note_erasures(connection, grant_id, by, stores, at=at, message=message)
    source = await connection.scalar(select(grant.c.derived_from).where(grant.c.id == grant_id))
    if source is None or not await _all_onward_erased(connection, source):
        return
    stated = StoreErasure(store=Store.ONWARD, outcome=Erasure.ERASED)
    await note_erasures(connection, source, core.participant, [stated], at=at, message=message)
    rows = await connection.execute(
        select(withdrawal.c.message, withdrawal.c.by, withdrawal.c.digest).where(
            withdrawal.c.grant == source,
            withdrawal.c.by != core.participant,
            withdrawal.c.digest != "",
        )
    )
    await owe(
        connection,
        [
            Owed(row.by, row.message, row.digest, Fact.ERASED, core.now(), None, (stated,))
            for row in rows
        ],
    )
    core.wakes.receipts.set()


async def _all_onward_erased(connection: AsyncConnection, source: UUID) -> bool:
    """True once every recipient of a copy made under `source` attested the stores that matter."""
    onward = (
        await connection.execute(
            select(grant.c.id, grant.c.recipient).where(grant.c.derived_from == source)
        )
    ).all()
    for item in onward:
        done = set(
            (
                await connection.execute(
                    select(erasure.c.store).where(
                        erasure.c.grant == item.id,
                        erasure.c.by == item.recipient,
                        erasure.c.outcome == Erasure.ERASED.value,
                    )
                )
            ).scalars()
        )
        if not set(map(str, NEEDED)) <= done:
            return False
    return bool(onward)
