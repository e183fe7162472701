"""Reconciling with the hub: "do you have this id, in which state?", both ways.

*What comes to us.* The hub is asked for every number that it accepted for us, stream by stream.
What it says was delivered and is not here, because a backup was restored say, or has been waiting
longer than it may, is a gap and an alarm. A number that the hub closed with a tombstone is none.

The sender's own mark, signed, says which numbers there must be: one that neither the hub names nor
its sender calls void was suppressed on the way, and is an alarm of its own.

*What we sent.* Where we gave up without the hub's word, it may have been accepted all the same:
that is in doubt, neither sent nor failed, until the hub says so.

On connecting and once a day. A number that the hub does not name was refused, or never left its
sender, whose own clock speaks when a receipt is missing: see `broker.gateway.deadlines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.client.results import StreamNumber
from broker.gateway.core import Core, wait_for
from broker.gateway.network.agreements import Agreements
from broker.gateway.network.hub_restored import HubRestored
from broker.gateway.network.marks import Marks
from broker.gateway.store import outbox as outbox_store
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import doubt, inbox, outbox, seen, stream_in
from broker.telemetry import logger
from keys.statements.high_water import verify_high_water
from schemas.base import ParticipantId
from schemas.envelope import Lane
from schemas.errors import BrokerError
from schemas.evidence import Fact
from schemas.high_water import HighWater

EVERY = timedelta(days=1)
AGAIN = timedelta(minutes=1)
GAP = "stream-gap"
SUPPRESSED = "stream-suppressed"
MOST_SUPPRESSED = 20
"""Alarms of one comparison: a person needs to know that, and of which stream."""
ON_ITS_WAY = frozenset({Fact.SUBMITTED, Fact.RELAYED, Fact.UNDELIVERED})
"""States in which an envelope may still be coming."""


class Reconciling:
    """Compares what we have with what the hub says. One task."""

    def __init__(self, core: Core, agreements: Agreements, hub_restored: HubRestored) -> None:
        self._core = core
        self._agreements = agreements
        self._hub_restored = hub_restored
        self._marks = Marks(core)

    async def run(self) -> None:
        while True:
            pause = EVERY
            try:
                await self.run_once()
            except BrokerError as error:
                logger().warning("reconciling:later", code=error.code)
                pause = AGAIN
            await wait_for(self._core.wakes.connected, pause)

    async def run_once(self) -> int:
        """Reconcile everything once; returns how many gaps are open.

        Raises:
            Unavailable: The hub does not answer.
        """
        await self._core.directory.refresh()
        await self._hub_restored.begun_anew()
        await self._resolve()
        gaps = 0
        for partner in self._agreements.partners():
            for lane in Lane:
                gaps += await self._stream(partner, lane)
                await self._hub_restored.compare(partner, lane)
                await self._marks.say(partner, lane)
        return gaps

    # --- what comes to us -----------------------------------------------------------------------

    async def _stream(self, sender: ParticipantId, lane: Lane) -> int:
        hub = self._core.hub
        # Before the numbers: all that it speaks of was accepted before it was made.
        marks = await self._marks_of(sender, lane)
        incarnation, highest = await hub.stream_highest(sender=sender, lane=lane)
        if incarnation is None:
            return 0
        after = await self._upto(sender, lane, incarnation)
        settled, gaps, start = after, 0, after
        named: set[int] = set()
        while after < highest:
            page = await hub.stream_numbers(
                sender=sender, lane=lane, incarnation=incarnation, after=after
            )
            if not page:
                break
            after = page[-1].number
            named |= {one.number for one in page}
            open_here, missing = await self._compare(page)
            gaps += missing
            if gaps == 0 and not open_here:
                settled = after
        mark = marks.get(incarnation)
        missing_here = [] if mark is None else sorted({*mark.expects(after=start)} - named)
        async with self._core.database.begin() as connection:
            for number in missing_here[:MOST_SUPPRESSED]:
                about = f"{sender} {lane} {number}"
                await raise_alarm(connection, SUPPRESSED, about, now=self._core.now())
            await upsert(
                connection,
                stream_in,
                {
                    "sender": sender,
                    "lane": lane.value,
                    "incarnation": incarnation,
                    "upto": settled,
                    "at": self._core.now(),
                },
                key=("sender", "lane", "incarnation"),
            )
        return gaps + len(missing_here)

    async def _marks_of(self, sender: ParticipantId, lane: Lane) -> dict[str, HighWater]:
        """The sender's marks by incarnation; what is not the sender's word is none."""
        core, found = self._core, dict[str, HighWater]()
        for raw in await core.hub.high_water(sender=sender, lane=lane):
            try:
                mark = verify_high_water(raw, core.trusted(), now=core.now())
            except BrokerError as error:
                logger().error("mark:not-verified", code=error.code)
                continue
            if (mark.by, mark.to, mark.lane) == (sender, core.participant, lane):
                found.setdefault(mark.incarnation, mark)
        return found

    async def _upto(self, sender: ParticipantId, lane: Lane, incarnation: str) -> int:
        async with self._core.database.read() as connection:
            found = await connection.scalar(
                select(stream_in.c.upto).where(
                    stream_in.c.sender == sender,
                    stream_in.c.lane == lane.value,
                    stream_in.c.incarnation == incarnation,
                )
            )
        return int(found or 0)

    async def _compare(self, page: Sequence[StreamNumber]) -> tuple[bool, int]:
        """Whether some of these are still coming, and how many ought to be here and are not."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            here = await _known(connection, [one.id for one in page])
            missing = [one for one in page if one.id not in here]
            gaps = [one.id for one in missing if self._is_gap(one, now)]
            for gap in gaps:
                await raise_alarm(connection, GAP, gap, now=now)
            if here:
                await clear_alarms_of(connection, sorted(here), GAP, now=now)
        coming = any(one.state != Fact.TOMBSTONE for one in missing if one.id not in gaps)
        return coming, len(gaps)

    def _is_gap(self, one: StreamNumber, now: datetime) -> bool:
        if one.state == Fact.TOMBSTONE:
            return False
        if one.state in ON_ITS_WAY:
            return one.accepted_at < now - self._core.settings.deadlines.urgent
        return True  # it is said that we had it, or refused it

    # --- what we sent ---------------------------------------------------------------------------

    async def _resolve(self) -> None:
        """Ask for what is in doubt. What the hub has is sent once more: it repeats its answer."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(outbox.c.id, outbox.c.digest, outbox.c.expires_at).join(
                        doubt, doubt.c.message == outbox.c.id
                    )
                )
            ).all()
        for row in rows:
            known = await core.hub.envelope_state(row.id)
            now = core.now()
            async with core.database.begin() as connection:
                if known is not None and known.digest != row.digest:
                    await raise_alarm(connection, "id-conflict", row.id, now=now)
                elif known is not None and row.expires_at > now:
                    await outbox_store.take_up_again(
                        connection, row.id, now=now, until=now + core.settings.send.hard_stop
                    )
                await connection.execute(delete(doubt).where(doubt.c.message == row.id))
        if rows:
            core.wakes.outbox.set()


async def _known(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these have a final verdict here, or lie in the inbox."""
    found: set[UUID] = set()
    for table in (seen, inbox):
        rows = await connection.execute(select(table.c.id).where(table.c.id.in_(padded(ids))))
        found |= set(rows.scalars())
    return found
