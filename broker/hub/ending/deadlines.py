"""Silence becomes evidence: undelivered, overdue, expired (I-6). And ciphertext is forgotten in time.

Each envelope carries the next moment at which somebody must look (`check_at`). Any number of hubs
may look: each takes other rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.ending.closing import announce, close, send
from broker.hub.relay.relay import LEASE
from broker.hub.state import Hub
from broker.hub.store import attachments, deliveries, envelopes, obligations, payload
from broker.hub.store.envelopes import OPEN, RANK, Stored
from broker.telemetry import logger
from schemas.base import b64u
from schemas.errors import BrokerError, Expired
from schemas.evidence import Fact, FactStatement

BATCH = 200
TOLERATED = timedelta(minutes=1)
"""By so much the clocks of several hubs may differ."""


async def run(hub: Hub) -> None:
    """Look again and again, until cancelled."""
    while True:
        await asyncio.sleep(hub.settings.deadlines.every_seconds)
        try:
            while await run_once(hub) >= BATCH:
                pass
            await measure(hub)
        except (BrokerError, DBAPIError) as error:
            code = error.code if isinstance(error, BrokerError) else type(error).__name__
            logger().warning("deadlines:later", code=code)


async def run_once(hub: Hub) -> int:
    """Look at up to `BATCH` envelopes and as many obligations; how many there were.

    Raises:
        Unavailable: Nothing was stated: what cannot be recorded is not said either.
    """
    hub.require_log()
    now = hub.clock.now()
    async with hub.database.begin() as connection:
        due = await envelopes.due_for_check(connection, now, BATCH)
        woken = await _look_at(hub, connection, due, now)
        late = await obligations.take_overdue(connection, now, BATCH)
        if late:
            woken |= await _overdue(hub, connection, [row.request_id for row in late], now)
        await hub.wake.elsewhere(connection, woken)
    hub.wake.here(woken)
    return max(len(due), len(late))


async def _look_at(
    hub: Hub, connection: AsyncConnection, due: Sequence[Stored], now: datetime
) -> set[str]:
    is_open = [one for one in due if RANK[one.standing] >= OPEN]
    expired = [one for one in is_open if one.header.expires_at <= now]
    silent = [one for one in is_open if one.header.expires_at > now]
    final = [one for one in due if RANK[one.standing] < OPEN]

    codes = {one.id: Expired.code for one in expired}
    woken = await close(hub, connection, expired, Fact.EXPIRED, codes=codes, now=now)

    woken |= await announce(hub, connection, silent, Fact.UNDELIVERED, codes={}, now=now)
    for one in silent:
        await envelopes.set_standing(
            connection, [one.id], Fact.UNDELIVERED, at=now, check_at=one.header.expires_at
        )
        hub.metrics.overdue.labels("delivery", one.header.lane.value).inc()
        logger().error("envelope:undelivered", message_id=str(one.id), lane=one.header.lane.value)

    ids = [one.id for one in final]
    await payload.forget(connection, ids)
    if ids:
        await attachments.unlink(connection, ids)
    await envelopes.look_again(connection, ids, None)
    return woken


async def _overdue(
    hub: Hub, connection: AsyncConnection, requests: Sequence[UUID], now: datetime
) -> set[str]:
    """Tell who asked that the answer is late; who owes it has a deadline of its own."""
    found = await envelopes.load(connection, requests)
    woken: set[str] = set()
    for one in found.values():
        statement = FactStatement(
            fact=Fact.OVERDUE, envelope=one.id, digest=b64u(one.digest), at=now
        )
        asker = one.header.sender
        await send(hub, connection, [statement], to=asker, lane=one.header.lane, now=now)
        woken.add(asker)
        hub.metrics.overdue.labels("answer", one.header.lane.value).inc()
        logger().error("request:overdue", message_id=str(one.id), lane=one.header.lane.value)
    return woken


async def measure(hub: Hub) -> None:
    """Count what waits, and let nothing wait for a clock that was wrong."""
    async with hub.database.read() as connection:
        rows = await deliveries.waiting(connection)
    for lane in ("urgent", "routine"):
        hub.metrics.waiting.labels(lane).set(sum(row[2] for row in rows if row[1] == lane))
    await _after_a_clock_that_was_ahead(hub, max((row[3] for row in rows), default=None))


async def _after_a_clock_that_was_ahead(hub: Hub, last: datetime | None) -> None:
    """No lease is longer than the longest: what is due later was claimed by a clock that has been
    put back since, and would wait until that time comes again."""
    settings, now = hub.settings, hub.clock.now()
    seconds = settings.limits.lease_seconds
    if settings.amqp is not None:
        seconds = max(seconds, LEASE.total_seconds(), settings.amqp.republish_after_seconds)
    latest = now + timedelta(seconds=seconds) + TOLERATED
    if last is None or last <= latest:
        return
    async with hub.database.begin() as connection:
        count = await deliveries.due_again(connection, latest, now)
    logger().error("clock:was-ahead", count=count)
