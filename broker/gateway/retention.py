"""Forgetting in time, at the gateway. Only what is final is ever touched.

* *Sealed payload*: the bytes of what we sent go a while after they expired and can be sent no more;
  at once if it was taken back and the hub has recorded that.
  What we received is not kept sealed.
* *Addressing*: the rows of messages whose content is gone, erased or sealed, after years.
* *Evidence*: what others stated about our messages and we about theirs, after years.
* *Technical*: quarantine and alarms that went out, after months.

Content in the vault goes with the consent that it came under, and not by the calendar: `consent/`.
The log keeps its leaves for ever.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from sqlalchemy import ColumnElement, Table, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.tables import (
    alarm,
    case_news,
    case_question,
    case_report,
    case_told,
    disclosure,
    doubt,
    erasure,
    erasure_order,
    evidence,
    fact,
    inbox,
    inbox_attachment,
    inbox_section,
    notice,
    outbox,
    outbox_attachment,
    quarantine,
    receipt,
    receipt_packet,
)
from broker.telemetry import logger
from schemas.errors import Unavailable
from schemas.evidence import Store

FINAL_SENT = ("delivered", "filed", "read", "refused", "stopped", "expired", "failed")
BATCH = 500
MUCH = 5000
TABLES = ("outbox", "inbox", "evidence", "fact", "receipt", "receipt_packet", "quarantine")


class Retention:
    """Forgets again and again. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._core.settings.retention.every.total_seconds())
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("retention:later", code=error.code)

    async def run_once(self) -> int:
        """Forget everything whose time is over; how many rows that touched."""
        core, now = self._core, self._core.now()
        keep = core.settings.retention
        steps = (
            (_payload, now - keep.payload),
            (_sent, now - keep.addressing),
            (_received, now - keep.addressing),
            (_disclosed, now - keep.addressing),
            (_facts, now - keep.evidence),
            (_evidence, now - keep.evidence),
            (_owed, now - keep.evidence),
            (_quarantined, now - keep.technical),
            (_alarms, now - keep.technical),
            (_told, now - keep.technical),
        )
        total = 0
        for step, before in steps:
            count = BATCH
            while count >= BATCH:
                # Small transactions: nobody who sends or receives waits long for us.
                async with core.database.begin() as connection:
                    count = await step(connection, before)
                total += count
        if total >= MUCH:
            await core.database.give_back(*TABLES)
        if total:
            logger().info("retention:forgotten", count=total)
        return total


async def _payload(connection: AsyncConnection, before: datetime) -> int:
    some = (
        select(outbox.c.position)
        .where(
            outbox.c.expires_at < before,
            outbox.c.state.in_(FINAL_SENT),
            func.length(outbox.c.envelope) > 0,
            ~exists().where(doubt.c.message == outbox.c.id),
        )
        .limit(BATCH)
    )
    gone = await connection.execute(
        update(outbox).where(outbox.c.position.in_(some)).values(envelope=b"")
    )
    return gone.rowcount


async def _sent(connection: AsyncConnection, before: datetime) -> int:
    some = select(outbox.c.id).where(
        outbox.c.expires_at < before,
        outbox.c.state.in_(FINAL_SENT),
        func.length(outbox.c.envelope) == 0,
    )
    ids = list((await connection.execute(some.limit(BATCH))).scalars())
    for table, column in (
        (outbox_attachment, outbox_attachment.c.message),
        (fact, fact.c.envelope),
        (outbox, outbox.c.id),
    ):
        await connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


async def _received(connection: AsyncConnection, before: datetime) -> int:
    some = select(inbox.c.id).where(
        inbox.c.expires_at < before,
        inbox.c.state == "erased",
        # Whose attestation may still grow, by the end of an epoch or by a partner's word.
        ~exists().where(
            erasure_order.c.about == inbox.c.erased_about,
            (erasure_order.c.state != "erased") | erasure_order.c.onward_due,
        ),
        ~exists().where(
            erasure.c.about == inbox.c.erased_about,
            erasure.c.outcome == "unknown",
            erasure.c.store != Store.EXPORTS.value,  # of which nobody will ever know more
        ),
    )
    ids = list((await connection.execute(some.limit(BATCH))).scalars())
    for table, column in (
        (case_news, case_news.c.message),
        (case_told, case_told.c.message),
        (case_report, case_report.c.message),
        (case_question, case_question.c.message),
        (inbox_section, inbox_section.c.message),
        (inbox_attachment, inbox_attachment.c.message),
        (inbox, inbox.c.id),
    ):
        await connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


async def _disclosed(connection: AsyncConnection, before: datetime) -> int:
    """The person may ask for as long as anybody can tell who was written to."""
    return await _delete_some(connection, disclosure, disclosure.c.at < before)


async def _facts(connection: AsyncConnection, before: datetime) -> int:
    still_open = exists().where(outbox.c.id == fact.c.envelope, outbox.c.state.not_in(FINAL_SENT))
    some = select(fact.c.envelope).where(fact.c.at < before, ~still_open).limit(BATCH)
    ids = set((await connection.execute(some)).scalars())
    gone = await connection.execute(
        delete(fact).where(fact.c.envelope.in_(ids), fact.c.at < before)
    )
    return gone.rowcount


async def _evidence(connection: AsyncConnection, before: datetime) -> int:
    stated = exists().where(fact.c.evidence == evidence.c.id)
    return await _delete_some(connection, evidence, evidence.c.received_at < before, ~stated)


async def _owed(connection: AsyncConnection, before: datetime) -> int:
    some = select(receipt_packet.c.id).where(
        receipt_packet.c.created_at < before, receipt_packet.c.state != "queued"
    )
    ids = list((await connection.execute(some.limit(BATCH))).scalars())
    await connection.execute(delete(receipt).where(receipt.c.packet.in_(ids)))
    await connection.execute(delete(receipt_packet).where(receipt_packet.c.id.in_(ids)))
    return len(ids)


async def _quarantined(connection: AsyncConnection, before: datetime) -> int:
    return await _delete_some(connection, quarantine, quarantine.c.at < before)


async def _alarms(connection: AsyncConnection, before: datetime) -> int:
    return await _delete_some(connection, alarm, alarm.c.cleared_at < before)


async def _told(connection: AsyncConnection, before: datetime) -> int:
    return await _delete_some(connection, notice, notice.c.done_at < before)


async def _delete_some(
    connection: AsyncConnection, table: Table, *which: ColumnElement[bool]
) -> int:
    key = next(iter(table.primary_key.columns))
    some = select(key).where(*which).limit(BATCH)
    gone = await connection.execute(delete(table).where(key.in_(some)))
    return gone.rowcount
