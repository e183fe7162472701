"""Wrong clocks: ten minutes are tolerated, and from one minute on they are reported.

A clock that is ahead dates evidence into the future, and one that is behind keeps withdrawn consent
alive. The hub's answers are dated, and partners' messages say when they were signed; which of two
clocks is wrong nobody can tell from here, so the alarm names the other side, and a person looks.

When a clock that was ahead is put right, nothing waits until that time comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Table, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.cases.telling import LONGEST as LONGEST_TELLING
from broker.gateway.core import Core
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.gateway.store.tables import (
    case_report,
    case_told,
    erasure_order,
    grant,
    inbox,
    inbox_attachment,
    outbox,
    receipt_packet,
)
from broker.telemetry import logger
from schemas.base import ParticipantId
from schemas.envelope import VerifiedEnvelope
from schemas.errors import BrokerError

REPORTED = timedelta(minutes=1)
EVERY = timedelta(minutes=1)
OURS_OR_HUBS = "clock-skew"
PARTNERS = "partner-clock"
TRIED_AGAIN: tuple[tuple[Table, ColumnElement[bool]], ...] = (
    (outbox, outbox.c.state.in_(("queued", "sending"))),
    (inbox, inbox.c.state.in_(("delivered", "filing"))),
    (inbox_attachment, inbox_attachment.c.state == "waiting"),
    (receipt_packet, receipt_packet.c.state == "queued"),
    (erasure_order, or_(erasure_order.c.state == "stopped", erasure_order.c.onward_due)),
    (grant, grant.c.registered_at.is_(None)),
    (case_told, case_told.c.state == "due"),
    (case_report, case_report.c.state == "due"),
)
"""What is tried again, and which rows of it still are."""


def is_off(ahead: timedelta | None) -> bool:
    """True if two clocks are further apart than is reported."""
    return ahead is not None and abs(ahead) > REPORTED


class Clocks:
    """Compares ours with the hub's, and mends what a wrong one of ours has left. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reported: bool | None = None

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
                await self.after_ours_was_ahead()
            except BrokerError as error:
                logger().warning("clock:not-reported", code=error.code)
            await asyncio.sleep(EVERY.total_seconds())

    async def run_once(self) -> None:
        """Raise the alarm about the hub's clock and ours, or clear it."""
        core, ahead = self._core, self._core.hub.clock_ahead
        off = is_off(ahead)
        if off == self._reported or ahead is None:
            return
        async with core.database.begin() as connection:
            if off:
                await raise_alarm(connection, OURS_OR_HUBS, core.settings.hub.id, now=core.now())
            else:
                await clear_alarms(connection, core.settings.hub.id, OURS_OR_HUBS, now=core.now())
        self._reported = off

    async def after_ours_was_ahead(self) -> None:
        """What would be tried later than any back-off reaches was put off by a clock that has been
        put back since; it is due now."""
        core, now = self._core, self._core.now()
        send, receive = core.settings.send, core.settings.receive
        longest = max(send.longest_retry, receive.longest_filing_retry, LONGEST_TELLING)
        latest = now + longest + REPORTED
        late = [(table, still & (table.c.next_attempt_at > latest)) for table, still in TRIED_AGAIN]
        async with core.database.read() as connection:
            found = await connection.execute(select(*(exists().where(row) for _, row in late)))
            if not any(found.one()):
                return
        async with core.database.begin() as connection:
            for table, row in late:
                again = update(table).where(row).values(next_attempt_at=now)
                if count := (await connection.execute(again)).rowcount:
                    logger().error("clock:was-ahead", table=table.name, count=count)


class PartnersClocks:
    """Watches what partners say of the time. Nothing that is late is odd: lines are."""

    def __init__(self) -> None:
        self._ahead: dict[ParticipantId, bool] = {}

    async def look(
        self, connection: AsyncConnection, envelopes: Iterable[VerifiedEnvelope], now: datetime
    ) -> None:
        """Raise or clear the alarm of each sender, in the transaction that takes its messages."""
        newest: dict[ParticipantId, datetime] = {}
        for one in envelopes:
            sender, said = one.content.from_, one.content.issued_at
            newest[sender] = max(said, newest.get(sender, said))
        for sender, said in newest.items():
            ahead = is_off(max(said - now, timedelta()))
            if ahead == self._ahead.get(sender, False):
                continue
            if ahead:
                await raise_alarm(connection, PARTNERS, sender, now=now)
            else:
                await clear_alarms(connection, sender, PARTNERS, now=now)
            self._ahead[sender] = ahead
