"""Who has erased what: attestations, kept as they were signed, and passed on upstream.

When somebody to whom we passed data on attests its erasure, or says what others further on attested,
the one from whom we had it is told too: those copies exist because of us. Who says nothing, or cannot
say it, is an alarm after a while, at everyone up to the one who ordered it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import one_of
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import (
    alarm,
    erasure,
    erasure_onward,
    erasure_order,
    grant,
    inbox,
)
from broker.gateway.store.tables.erasing import WAITED_FOR
from schemas.base import ParticipantId
from schemas.evidence import Erasure, Store, StoreErasure

NEEDED = (Store.VAULT, Store.CASE_SYSTEM)
"""Stores that must be attested before a copy counts as erased."""
UNATTESTED = "erasure-unattested"
GROUP = 500


async def note_erasures(
    connection: AsyncConnection,
    about: UUID,
    by: ParticipantId,
    stores: Iterable[StoreErasure],
    *,
    at: datetime,
    message: UUID,
) -> bool:
    """Remember who attested what of which store; the newest word of each stands. True if any of
    it is new."""
    known, _ = await attestation_of(connection, about, by)
    changed = False
    for item in stores:
        changed = changed or item not in known
        await upsert(
            connection,
            erasure,
            {
                "about": about,
                "by": by,
                "store": item.store.value,
                "outcome": item.outcome.value,
                "basis": item.basis,
                "epoch": item.epoch,
                "at": at,
                "message": message,
            },
            key=("about", "by", "store"),
        )
    return changed


async def attested(
    core: Core,
    connection: AsyncConnection,
    about: UUID,
    by: ParticipantId,
    stores: Iterable[StoreErasure],
    *,
    at: datetime,
    message: UUID,
) -> None:
    """Somebody attested an erasure: keep it, and see that it is passed on.

    Args:
        about: The grant that was taken back, or our notice that asked for it.
    """
    changed = await note_erasures(connection, about, by, stores, at=at, message=message)
    if not changed or by == core.settings.hub.id:
        return
    source = select(grant.c.derived_from).where(
        grant.c.id == about, grant.c.sender == core.participant
    )
    passed_on = select(erasure_onward.c.order).where(erasure_onward.c.notice == about)
    told = await connection.execute(
        update(erasure_order)
        .where(
            or_(
                erasure_order.c.about == source.scalar_subquery(),
                erasure_order.c.message == passed_on.scalar_subquery(),
            )
        )
        .values(onward_due=True)
    )
    if told.rowcount:
        core.wakes.withdrawals.set()


async def reported(
    core: Core,
    connection: AsyncConnection,
    about: UUID,
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
        .where(erasure.c.about == about, erasure.c.by == by)
    )
    others = {row.store for row in rows if row.sender != reporter}
    left = [item for item in stores if item.store.value not in others]
    await attested(core, connection, about, by, left, at=at, message=message)


async def is_erased(connection: AsyncConnection, about: UUID, by: ParticipantId) -> bool:
    """True once the stores that matter are attested; backups never are at once."""
    stores, _ = await attestation_of(connection, about, by)
    return outcome_of(stores) is Erasure.ERASED


def outcome_of(stores: Iterable[StoreErasure]) -> Erasure:
    """One word for what somebody attested of the stores that matter; without it, unknown."""
    said = {item.store: item.outcome for item in stores if item.store in NEEDED}
    if said.keys() != set(NEEDED) or Erasure.UNKNOWN in said.values():
        return Erasure.UNKNOWN
    return Erasure.KEPT if Erasure.KEPT in said.values() else Erasure.ERASED


async def attestation_of(
    connection: AsyncConnection, about: UUID, by: ParticipantId
) -> tuple[tuple[StoreErasure, ...], datetime | None]:
    """What somebody attested, store by store, and when last."""
    rows = (
        await connection.execute(
            select(erasure)
            .where(erasure.c.about == about, erasure.c.by == by)
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


async def attesters_of(connection: AsyncConnection, about: UUID) -> list[ParticipantId]:
    """Everybody of whom we know a word about it, their own or at second hand."""
    rows = await connection.scalars(
        select(erasure.c.by).where(erasure.c.about == about).distinct().order_by(erasure.c.by)
    )
    return list(rows)


async def still_open(core: Core, connection: AsyncConnection, now: datetime) -> int:
    """Alarms about what nobody attested in time; they go out with the word. How many are new.

    Somebody who never answers at all is overdue like any other (`broker.gateway.deadlines`).
    """
    since = now - core.settings.deadlines.attestation
    rows = await connection.scalars(
        select(erasure.c.about)
        .where(
            erasure.c.outcome == "unknown",
            one_of(erasure.c.store, WAITED_FOR),
            erasure.c.at < since,
            erasure.c.by != core.participant,
        )
        .distinct()
        .limit(GROUP)
    )
    late = {str(about) for about in rows}
    open_ones = set(
        await connection.scalars(
            select(alarm.c.about).where(alarm.c.code == UNATTESTED, alarm.c.cleared_at.is_(None))
        )
    )
    gone = []
    for about in open_ones - late:
        unknown = await connection.scalar(
            select(erasure.c.about)
            .where(
                erasure.c.about == UUID(about),
                erasure.c.outcome == "unknown",
                erasure.c.store.in_(WAITED_FOR),
                erasure.c.by != core.participant,
            )
            .limit(1)
        )
        if unknown is None:
            gone.append(about)
    await clear_alarms_of(connection, gone, UNATTESTED, now=now)
    for about in sorted(late - open_ones):
        await raise_alarm(connection, UNATTESTED, about, now=now)
    return len(late - open_ones)
