"""Who has erased what: attestations, kept as they were signed, and passed on upstream.

When somebody to whom we passed data on attests its erasure, the one from whom we had it is told
too: that copy exists because of us.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import erasure, grant, inbox, withdrawal
from schemas.base import ParticipantId
from schemas.evidence import Erasure, Store, StoreErasure

NEEDED = (Store.VAULT, Store.CASE_SYSTEM)
"""Stores that must be attested before a copy counts as erased."""


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
                "epoch": item.epoch,
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
    """Somebody attested an erasure under a grant: keep it, and see that it is passed on."""
    before = await is_erased(connection, grant_id, by)
    await note_erasures(connection, grant_id, by, stores, at=at, message=message)
    row = (
        await connection.execute(
            select(grant.c.derived_from, grant.c.recipient).where(grant.c.id == grant_id)
        )
    ).first()
    if row is None or row.derived_from is None or row.recipient != by or before:
        return
    if not await is_erased(connection, grant_id, by):
        return
    await connection.execute(
        update(withdrawal)
        .where(withdrawal.c.grant == row.derived_from, withdrawal.c.by != core.participant)
        .values(onward_due=True)
    )
    core.wakes.withdrawals.set()


async def reported(
    core: Core,
    connection: AsyncConnection,
    grant_id: UUID,
    by: ParticipantId,
    stores: Sequence[StoreErasure],
    *,
    reporter: ParticipantId,
    at: datetime,
    message: UUID,
) -> None:
    """Somebody says what a third party attested to it. That is hearsay: it says nothing of
    ourselves or of the reporter, and never replaces a word of the third party's own."""
    if by in (core.participant, reporter):
        return
    rows = await connection.execute(
        select(erasure.c.store, inbox.c.sender)
        .outerjoin(inbox, inbox.c.id == erasure.c.message)
        .where(erasure.c.grant == grant_id, erasure.c.by == by)
    )
    others = {row.store for row in rows if row.sender != reporter}
    left = [item for item in stores if item.store.value not in others]
    await attested(core, connection, grant_id, by, left, at=at, message=message)


async def is_erased(connection: AsyncConnection, grant_id: UUID, by: ParticipantId) -> bool:
    """True once the stores that matter are attested; backups never are at once."""
    done = await connection.execute(
        select(erasure.c.store).where(
            erasure.c.grant == grant_id,
            erasure.c.by == by,
            erasure.c.outcome == Erasure.ERASED.value,
        )
    )
    return set(map(str, NEEDED)) <= set(done.scalars())


async def attestation_of(
    connection: AsyncConnection, grant_id: UUID, by: ParticipantId
) -> tuple[tuple[StoreErasure, ...], datetime | None]:
    """What somebody attested, store by store, and when last."""
    rows = (
        await connection.execute(
            select(erasure)
            .where(erasure.c.grant == grant_id, erasure.c.by == by)
            .order_by(erasure.c.store)
        )
    ).all()
    stores = tuple(
        StoreErasure(
            store=Store(row.store),
            outcome=Erasure(row.outcome),
            basis=row.basis,
            epoch=row.epoch,
        )
        for row in rows
    )
    return stores, max((row.at for row in rows), default=None)
