"""Forgetting in time. Only what is final is ever touched; an id outlives its envelope's expiry.

* Sealed bytes go with `stopped` and `expired` at once, after delivery when `check_at` says
  (`broker.hub.ending.deadlines`). What is still needed is carried on into the newest partition.
* Addressing, which is the envelope's row with its id and facts, goes once it has expired and no
  clock could still hold it valid; until then the same id with other bytes is refused.
* Evidence, and what opens other leaves, stays for years; the log keeps its leaves for ever.
* What is technical, the quarantine, goes after months.

What is sealed and what is technical is kept in partitions by time, made ahead here and dropped once
they are empty (`broker.hub.store.partitions`; on SQLite there are none). Of the other tables the
room that was freed in bulk is given back where the database can.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from broker.hub.settings import RetentionSettings
from broker.hub.state import Hub
from broker.hub.store import (
    attachments,
    envelopes,
    evidence,
    obligations,
    openings,
    participants,
    partitions,
    payload,
)
from broker.hub.store.partitions import LONGEST, SHARE
from broker.rules.header import SKEW
from broker.telemetry import logger
from schemas.errors import BrokerError, Unavailable

BATCH = 1000
TABLES = ("envelope", "fact", "evidence", "obligation", "delivery")
MUCH = 5000
"""Forgotten in one run: then the room is given back."""


async def run(hub: Hub) -> None:
    """Forget again and again, until cancelled. First of all there is room for what comes."""
    work = prepare
    while True:
        try:
            await work(hub)
            work = run_once
        except (BrokerError, DBAPIError) as error:
            code = error.code if isinstance(error, BrokerError) else type(error).__name__
            logger().warning("retention:later", code=code)
        await asyncio.sleep(hub.settings.retention.every_seconds)


async def prepare(hub: Hub) -> int:
    """Make the partitions that will be written to; how many were missing."""
    now = hub.clock.now()
    made = 0
    for table, kept in _kept(hub.settings.retention).items():
        period = partitions.period(kept)
        async with _or_later(table), hub.database.begin() as connection:
            made += await partitions.make_ahead(connection, table, now=now, period=period)
    return made


@asynccontextmanager
async def _or_later(table: str) -> AsyncIterator[None]:
    """What somebody is in the way of, a backup say: the next round comes soon, the rest goes on."""
    try:
        yield
    except Unavailable as error:
        logger().info("retention:not-now", table=table, code=error.code)


def _kept(settings: RetentionSettings) -> dict[str, timedelta]:
    """How long a row of each table that has partitions is kept, as a rule."""
    return {
        "payload": timedelta(days=max(1.0, settings.ciphertext_days)),
        # Files are large: they stay where they are as long as they are needed.
        "attachment_chunk": SHARE * LONGEST,
        "quarantine": timedelta(days=settings.technical_days),
    }


async def run_once(hub: Hub) -> int:
    """Forget everything whose time is over; how many envelopes' ids that were."""
    await prepare(hub)
    now = hub.clock.now()
    settings = hub.settings.retention
    forgotten = 0
    while True:
        # Small transactions: nobody who is accepting or handing over waits long for us.
        async with hub.database.begin() as connection:
            expired = now - 2 * SKEW - timedelta(days=settings.addressing_days)
            count = await envelopes.forget_ids(connection, expired, BATCH)
            count = max(count, await obligations.forget(connection, expired, BATCH))
            old = now - timedelta(days=settings.evidence_days)
            count = max(count, await evidence.forget(connection, old, BATCH))
            count = max(count, await openings.forget(connection, old, BATCH))
        forgotten += count
        if count < BATCH:
            break
    async with hub.database.begin() as connection:
        before = now - timedelta(hours=settings.orphan_hours)
        await attachments.destroy_orphans(connection, before)
    technical = now - timedelta(days=settings.technical_days)
    count = BATCH
    while count >= BATCH:
        async with hub.database.begin() as connection:
            count = await participants.forget_quarantine(connection, technical, BATCH)
    await _drop_empty(hub, now)
    if forgotten >= MUCH:
        await hub.database.give_back(*TABLES)
    if forgotten:
        logger().info("retention:forgotten", count=forgotten)
    return forgotten


async def _drop_empty(hub: Hub, now: datetime) -> None:
    """Drop the partitions that are over and empty.

    Out of those in which nothing can be due any more, what is still needed is carried on.
    """
    settings = hub.settings.retention
    kept = _kept(settings)["payload"]
    sealed = partitions.begins(now - kept, partitions.period(kept))
    count = BATCH if hub.database.dialect == "postgresql" else 0
    while count >= BATCH:
        async with hub.database.begin() as connection:
            count = await payload.carry_on(connection, sealed, now, BATCH)
    over = now - partitions.SHORTEST  # nobody's clock is so late that he still writes there
    for table in _kept(settings):
        dropped = 0
        async with _or_later(table), hub.database.begin() as connection:
            dropped = await partitions.drop_empty(connection, table, before=over)
        if dropped:
            logger().info("retention:dropped", table=table, count=dropped)
