"""A hub whose database was set back: shown what it has lost, and given it again.

*While its old log stands* we show it, for each of our streams, the last word of its own that it has
forgotten. It then accepts nothing until its operator has decided (`log-set-back`), and what it lost
waits here, to be sent with the same bytes.

*Once it has begun another log* its lists begin anew too: we read its withdrawals and revocations
from the start, and register again our grants, agreements and what we know to be suspended or
revoked. All of that may be repeated, and changes nothing where nothing was lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.giving import Consents
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.store import grants as store
from broker.gateway.store.bulk import batches
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.outbox import UNSENT, WITH_HUB
from broker.gateway.store.tables import evidence, fact, outbox, suspension
from broker.telemetry import logger
from schemas.base import ParticipantId
from schemas.envelope import NEVER_HELD_BACK, Lane
from schemas.errors import BrokerError, Unavailable
from schemas.evidence import Fact

LOG = "hub-log"
"""The name under which we keep which log of the hub's our positions in its lists belong to."""


@dataclass(frozen=True, slots=True)
class _Newest:
    number: int
    evidence: bytes


class HubRestored:
    """Notices it, and makes good what can be."""

    def __init__(self, core: Core, agreements: Agreements, consents: Consents) -> None:
        self._core = core
        self._agreements = agreements
        self._consents = consents

    # --- its old log ----------------------------------------------------------------------------

    async def compare(self, partner: ParticipantId, lane: Lane) -> int:
        """Compare one stream of ours with what the hub knows of it; returns how many it has lost.

        Raises:
            Unavailable: The hub does not answer.
        """
        core = self._core
        async with core.database.read() as connection:
            newest = await _newest_accepted(connection, partner, lane, core.settings.hub.id)
        if newest is None:
            return 0
        _, highest = await core.hub.stream_highest(sender=core.participant, to=partner, lane=lane)
        # Another incarnation of ours may have its own numbers there: the hub's word decides.
        if newest.number <= highest or not await core.hub.show_accepted(newest.evidence):
            return 0
        return await self._send_again(partner, lane, after=highest)

    async def _send_again(self, partner: ParticipantId, lane: Lane, *, after: int) -> int:
        core, now = self._core, self._core.now()
        lost = (
            outbox.c.recipient == partner,
            outbox.c.lane == lane.value,
            outbox.c.stream_number > after,
            outbox.c.expires_at > now,
            func.length(outbox.c.envelope) > 0,
            outbox.c.state.not_in(UNSENT),
            # What has arrived need not come again, but what stops others must be known there.
            or_(
                outbox.c.state.in_([*WITH_HUB, "undelivered"]),
                outbox.c.kind.in_([str(kind) for kind in NEVER_HELD_BACK]),
            ),
        )
        async with core.database.begin() as connection:
            rows = (
                await connection.execute(
                    select(outbox.c.id, outbox.c.expires_at).where(*lost).with_for_update()
                )
            ).all()
            for batch in batches([row.id for row in rows]):
                await connection.execute(
                    update(outbox)
                    .where(outbox.c.id.in_(batch))
                    .values(
                        state="queued",
                        attempts=0,
                        next_attempt_at=now,
                        hard_stop_at=outbox.c.expires_at,
                    )
                )
        if rows:
            logger().error("hub:has-lost", participant=partner, count=len(rows))
            core.wakes.outbox.set()
        return len(rows)

    # --- its new log ----------------------------------------------------------------------------

    async def begun_anew(self) -> bool:
        """True if the directory names another log of the hub than when we last asked. If so, all
        that the hub must know of us has been said again.

        Raises:
            Unavailable: The hub does not answer; ask again.
        """
        core = self._core
        vkey = core.partner(core.settings.hub.id).log_vkey
        if vkey is None:
            return False
        present = int.from_bytes(hashlib.sha256(vkey.encode()).digest()[:6])
        async with core.database.read() as connection:
            before, _ = await store.get_cursor(connection, LOG)
        if before == present:
            return False
        if before:
            await self._say_again()
        async with core.database.begin() as connection:
            await store.set_cursor(connection, LOG, present, core.now())
        return before != 0

    async def _say_again(self) -> None:
        core = self._core
        logger().warning("hub:another-log", participant=core.settings.hub.id)
        async with core.database.read() as connection:
            agreed = await store.stored_agreements(connection)
            held = select(suspension.c.raw).where(suspension.c.holds)
            words = list((await connection.execute(held)).scalars())
        for raw in agreed:
            await _repeat(core.hub.register_agreement(raw))
        for raw in words:
            await _repeat(core.hub.suspend(raw))
        for raw in await core.directory.revocations_anew():
            await _repeat(core.hub.revoke(raw))
        await self._agreements.refresh()
        await self._consents.register_again()
        async with core.database.begin() as connection:
            await connection.execute(
                update(outbox).where(outbox.c.state == "queued").values(next_attempt_at=core.now())
            )
        core.wakes.outbox.set()


async def _repeat(saying: Awaitable[None]) -> None:
    """Say it; what the hub will not have any more, it need not have."""
    try:
        await saying
    except Unavailable:
        raise
    except BrokerError as error:
        logger().info("hub:not-taken-again", code=error.code)


async def _newest_accepted(
    connection: AsyncConnection, partner: ParticipantId, lane: Lane, hub: ParticipantId
) -> _Newest | None:
    """The highest number of a stream of which we hold the hub's word that it accepted it."""
    row: AnyRow | None = (
        await connection.execute(
            select(outbox.c.stream_number, evidence.c.raw)
            .join(fact, fact.c.envelope == outbox.c.id)
            .join(evidence, evidence.c.id == fact.c.evidence)
            .where(
                outbox.c.recipient == partner,
                outbox.c.lane == lane.value,
                outbox.c.state.not_in(UNSENT),
                fact.c.fact == Fact.SUBMITTED.value,
                fact.c.by == hub,
            )
            .order_by(outbox.c.stream_number.desc())
            .limit(1)
        )
    ).first()
    return None if row is None else _Newest(row.stream_number, row.raw)
