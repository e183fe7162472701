"""What was delivered and then withdrawn: its sealed bytes go too, and the hub says so (I-3).

A withdrawal stops what waits in its own transaction. What was delivered before would lie here until
`retention.ciphertext_days`; a moment later this loop destroys it, and states `erased` about the
hub's own stores. What opens the leaf of a withdrawn grant goes with it. A crash in between costs nothing: each start looks at all grants that changed
within that time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.ending.closing import announce
from broker.hub.state import Hub
from broker.hub.store import attachments, envelopes, grants, openings, participants, payload
from broker.hub.store.envelopes import Stored
from broker.telemetry import logger
from schemas.errors import BrokerError
from schemas.evidence import Erasure, Fact, Store, StoreErasure

BATCH = 200
SETTLE_SECONDS = 0.5
"""Longer than a transaction takes that has told us of a withdrawal and is about to commit."""
LATER_SECONDS = 5.0


async def run(hub: Hub) -> None:
    """Erase whenever something was withdrawn, until cancelled."""
    since = hub.clock.now() - timedelta(days=hub.settings.retention.ciphertext_days)
    async with hub.database.read() as connection:
        pending = set(await grants.taken_back_since(connection, since))
    while True:
        if not pending:
            await hub.withdrawn.wait()
            await asyncio.sleep(SETTLE_SECONDS)
        pending |= hub.withdrawn.take()
        try:
            await run_once(hub, pending)
            pending = set()
        except (BrokerError, DBAPIError) as error:
            code = error.code if isinstance(error, BrokerError) else type(error).__name__
            logger().warning("erasing:later", code=code)
            await asyncio.sleep(LATER_SECONDS)


async def run_once(hub: Hub, under: Iterable[UUID]) -> int:
    """Destroy what was delivered under these grants and may not be kept; how much that was.

    Raises:
        Unavailable: Nothing more was destroyed: what cannot be recorded is not done either.
    """
    wanted = sorted(set(under))
    total = unlinked = 0  # of envelopes, of leaves of grants
    while wanted:
        hub.require_log()
        now = hub.clock.now()
        async with hub.database.begin() as connection:
            unlinked += await openings.destroy(connection, wanted)
            found = await envelopes.delivered_under_ended(connection, wanted, BATCH)
            woken = await _destroy(hub, connection, found, now)
            await hub.wake.elsewhere(connection, woken)
        hub.wake.here(woken)
        total += len(found)
        if len(found) < BATCH:
            break
    if total + unlinked and hub.database.dialect == "sqlite":
        # A server's old row versions are left to its vacuum: they are sealed, and not to us.
        await hub.database.scrub()
    return total


async def _destroy(
    hub: Hub, connection: AsyncConnection, found: Sequence[Stored], now: datetime
) -> set[str]:
    ids = [one.id for one in found]
    if not ids:
        return set()
    await payload.forget(connection, ids)
    await attachments.unlink(connection, ids)
    await envelopes.look_again(connection, ids, None)
    by_recipient: dict[str, list[Stored]] = {}
    for one in found:
        by_recipient.setdefault(one.header.recipient, []).append(one)
    woken: set[str] = set()
    for recipient, theirs in by_recipient.items():
        channel = await participants.channel_of(connection, recipient)
        # Of RabbitMQ nobody can say that no second copy is left in a queue or its files.
        queue = Erasure.ERASED if channel == "mailbox" else Erasure.UNKNOWN
        stores = (
            StoreErasure(store=Store.HUB_PAYLOAD, outcome=Erasure.ERASED),
            StoreErasure(store=Store.QUEUE, outcome=queue),
        )
        woken |= await announce(
            hub, connection, theirs, Fact.ERASED, codes={}, now=now, erasures=stores
        )
    return woken
