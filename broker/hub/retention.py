"""Forgetting in time. Only what is final is ever touched; an id outlives its envelope's expiry.

* Sealed bytes go with `stopped` and `expired` at once, after delivery when `check_at` says
  (`broker.hub.deadlines`).
* Addressing, which is the envelope's row with its id and facts, goes once it has expired and no
  clock could still hold it valid; until then the same id with other bytes is refused.
* Evidence, and what opens other leaves, stays for years; the log keeps its leaves for ever.
* What is technical, the quarantine, goes after months.

Room that was freed in bulk is given back to the file system where the database can.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from broker.hub.state import Hub
from broker.hub.store import attachments, envelopes, evidence, obligations, openings, participants
from broker.rules.header import SKEW
from broker.telemetry import logger
from schemas.errors import BrokerError

BATCH = 1000
TABLES = ("envelope", "fact", "evidence", "obligation", "delivery")
MUCH = 5000
"""Forgotten in one run: then the room is given back."""


async def run(hub: Hub) -> None:
    """Forget again and again, until cancelled."""
    while True:
        await asyncio.sleep(hub.settings.retention.every_seconds)
        try:
            await run_once(hub)
        except (BrokerError, DBAPIError) as error:
            code = error.code if isinstance(error, BrokerError) else type(error).__name__
            logger().warning("retention:later", code=code)


async def run_once(hub: Hub) -> int:
    """Forget everything whose time is over; how many envelopes' ids that were."""
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
        await participants.forget_quarantine(
            connection, now - timedelta(days=settings.technical_days)
        )
    if forgotten >= MUCH:
        await hub.database.give_back(*TABLES)
    if forgotten:
        logger().info("retention:forgotten", count=forgotten)
    return forgotten
