"""Our own clock on others' duties: a hub does not testify against itself.

A receipt that does not come within the time of its urgency, a case that was delivered and is not
filed, and an answer that is not given by its date, become alarms here, whatever the hub says or
does not say. An alarm goes out by itself when the receipt or the answer comes after all.

Each query takes what is due now from an index of what is still open: a round costs the same among
ten thousand messages and among a million (`bench/gateway_scale.py`).
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, delete, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.deadlines.answers import answers_due
from broker.gateway.deadlines.testimony import testify
from broker.gateway.erasure.attested import still_open
from broker.gateway.network.unsaid import not_there
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import batches, one_of, padded
from broker.gateway.store.outbox import set_state
from broker.gateway.store.tables import (
    alarm,
    doubt,
    exception_request,
    fact,
    grant,
    inbox,
    outbox,
    receipt,
    seen,
)
from broker.rules.header import SKEW
from broker.telemetry import logger
from keys.rotation import warnings
from schemas.catalogue import catalogue
from schemas.errors import Unavailable
from schemas.evidence import Fact

UNRECEIPTED = ("queued", "sending", "submitted", "relayed", "undelivered")
UNFILED = ("delivered", "read")
"""A worker there may read it before, or without, the case system having it."""
FILED_TYPES = tuple(sorted(name for name, row in catalogue.items() if row.filed))
SETTLES_FILING = (Fact.FILED.value, Fact.FAILED.value, Fact.ERASED.value)
"""Filed, or known by another alarm not to be, or gone."""
GROUP = 500
"""New alarms of one kind in one round; the next round goes on."""


class Deadlines:
    """Looks again and again. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("deadlines:wait", code=error.code)
            await asyncio.sleep(self._core.settings.deadlines.every.total_seconds())

    async def run_once(self) -> int:
        """Raise what is due; returns how many alarms are new."""
        now = self._core.now()
        async with self._core.database.begin() as connection:
            late = await self._receipts(connection, now)
            late += await self._filings(connection, now)
            late += await answers_due(self._core, connection, now)
            late += await self._reviews(connection, now)
            late += await self._untold(connection, now)
            late += await self._keys(connection, now)
            late += await still_open(self._core, connection, now)
            await self._too_late(connection, now)
            await self._unretrieved(connection, now)
            # Ids are kept until nothing with them can be valid any more.
            await connection.execute(delete(seen).where(seen.c.forget_after < now))
        return late

    async def _keys(self, connection: AsyncConnection, now: datetime) -> int:
        """Keys of ours that end soon and have no successor in the directory: an alarm per step."""
        ending = warnings(self._core.self_entry().keys, now)
        due = {f"{key.kid}:{days}" for key, days in ending}
        open_ones = set(
            await connection.scalars(
                select(alarm.c.about).where(
                    alarm.c.code == "key-ending", alarm.c.cleared_at.is_(None)
                )
            )
        )
        await clear_alarms_of(connection, open_ones - due, "key-ending", now=now)
        for about in due - open_ones:
            await raise_alarm(connection, "key-ending", about, now=now)
        return len(due - open_ones)

    async def _receipts(self, connection: AsyncConnection, now: datetime) -> int:
        late = await self._raise(
            connection,
            select(outbox.c.id)
            .where(outbox.c.receipt_by < now, one_of(outbox.c.state, UNRECEIPTED))
            .order_by(outbox.c.receipt_by, outbox.c.position),
            "receipt-missing",
            outbox.c.id,
            now,
        )
        await testify(self._core, connection, Fact.UNDELIVERED, late, now=now)
        return len(late)

    async def _filings(self, connection: AsyncConnection, now: datetime) -> int:
        """What was delivered and never reached the partner's case system, withdrawn data excepted."""
        await self._filed_after_all(connection, now)
        delivered = exists().where(
            fact.c.envelope == outbox.c.id,
            fact.c.fact == Fact.DELIVERED.value,
            fact.c.at < now - self._core.settings.deadlines.filing,
        )
        return len(
            await self._raise(
                connection,
                select(outbox.c.id)
                .where(
                    one_of(outbox.c.state, UNFILED),
                    outbox.c.type.in_(FILED_TYPES),
                    outbox.c.created_at < now - self._core.settings.deadlines.filing,
                    delivered,
                    ~_stated(outbox.c.id, SETTLES_FILING),
                    ~_withdrawn(outbox.c.grant),
                )
                # By position SQLite would read the whole box, in order, for want of a sort.
                .order_by(outbox.c.created_at),
                "filing-overdue",
                outbox.c.id,
                now,
            )
        )

    async def _filed_after_all(self, connection: AsyncConnection, now: datetime) -> None:
        """Clear the alarms of what was filed since, or is not to be filed any more."""
        of_code = (alarm.c.code == "filing-overdue", alarm.c.cleared_at.is_(None))
        query = select(alarm.c.about).where(*of_code).order_by(alarm.c.id)
        waiting = [UUID(about) for about in (await connection.execute(query)).scalars()]
        for start in range(0, len(waiting), GROUP):
            settled = await connection.execute(
                select(outbox.c.id).where(
                    outbox.c.id.in_(waiting[start : start + GROUP]),
                    or_(
                        outbox.c.state.not_in(UNFILED),
                        _stated(outbox.c.id, SETTLES_FILING),
                        _withdrawn(outbox.c.grant),
                    ),
                )
            )
            found = list(settled.scalars())
            if found:
                await clear_alarms_of(connection, found, "filing-overdue", now=now)

    async def _too_late(self, connection: AsyncConnection, now: datetime) -> None:
        """What we gave up, the hub does not have and cannot take any more was never said."""
        open_ones = select(alarm.c.about).where(
            alarm.c.code == "send-failed", alarm.c.cleared_at.is_(None)
        )
        given_up = [UUID(about) for about in await connection.scalars(open_ones)]
        for batch in batches(sorted(given_up)):
            rows = await connection.execute(
                select(outbox.c.id, outbox.c.thread).where(
                    outbox.c.id.in_(padded(batch)),
                    outbox.c.state == "failed",
                    outbox.c.submitted_at.is_(None),
                    outbox.c.expires_at < now - SKEW,
                    ~exists().where(doubt.c.message == outbox.c.id),
                )
            )
            for row in rows.all():
                await set_state(connection, row.id, "expired", code="expired")
                await not_there(self._core, connection, row.thread, row.id, "expire")
                await clear_alarms_of(connection, [row.id], "send-failed", now=now)
                await raise_alarm(connection, "expired", row.id, now=now)

    async def _unretrieved(self, connection: AsyncConnection, now: datetime) -> None:
        """Tell senders what lies here neither filed nor opened: only we can know it."""
        said = exists().where(
            receipt.c.envelope == inbox.c.id, receipt.c.fact == Fact.UNRETRIEVED.value
        )
        rows = await connection.execute(
            select(inbox.c.id, inbox.c.sender, inbox.c.digest)
            .where(
                one_of(inbox.c.state, ("delivered", "filing", "held")),
                inbox.c.opened_at.is_(None),
                inbox.c.received_at < now - self._core.settings.deadlines.filing,
                ~said,
            )
            .order_by(inbox.c.received_at)
            .limit(GROUP)
        )
        facts = [Owed(row.sender, row.id, row.digest, Fact.UNRETRIEVED, now) for row in rows.all()]
        if facts:
            await owe(connection, facts)
            self._core.wakes.receipts.set()

    async def _reviews(self, connection: AsyncConnection, now: datetime) -> int:
        return len(
            await self._raise(
                connection,
                select(exception_request.c.id)
                .where(
                    exception_request.c.review_by < now,
                    exception_request.c.message.is_not(None),
                )
                .order_by(exception_request.c.review_by, exception_request.c.id),
                "exception-review",
                exception_request.c.id,
                now,
            )
        )

    async def _untold(self, connection: AsyncConnection, now: datetime) -> int:
        """Persons who were to be told by now of what was sent without their consent."""
        untold = await self._raise(
            connection,
            select(exception_request.c.id)
            .where(exception_request.c.tell_by < now, exception_request.c.told_at.is_(None))
            .order_by(exception_request.c.tell_by, exception_request.c.id),
            "exception-untold",
            exception_request.c.id,
            now,
        )
        return len(untold)

    async def _raise(
        self, connection: AsyncConnection, query: Any, code: str, about: Any, now: datetime
    ) -> list[UUID]:
        """Raise what has no open alarm of this code yet: whoever has one takes nobody's place."""
        raised = exists().where(
            alarm.c.code == code,
            alarm.c.about == _as_text(connection, about),
            alarm.c.cleared_at.is_(None),
        )
        found = list((await connection.execute(query.where(~raised).limit(GROUP))).scalars())
        for item in found:
            await raise_alarm(connection, code, item, now=now)
        return found


def _stated(message: Any, facts: tuple[str, ...]) -> Any:
    return exists().where(fact.c.envelope == message, fact.c.fact.in_(facts))


def _withdrawn(given: Any) -> Any:
    return exists().where(grant.c.id == given, grant.c.state == "withdrawn")


def _as_text(connection: AsyncConnection, column: Any) -> Any:
    """An id as alarms write it; SQLite keeps ids without the hyphens."""
    text = cast(column, String)
    if connection.dialect.name != "sqlite":
        return text
    dashed: ColumnElement[str] = func.substr(text, 1, 8, type_=String())
    for start, length in ((9, 4), (13, 4), (17, 4), (21, 12)):
        dashed = dashed + "-" + func.substr(text, start, length, type_=String())
    return dashed
