"""The sender learns, sealed and field by field, what our case system could not take.

Evidence travels in the clear for the hub, so it says *failed* and a code. Which field of which
section it was is for the sender alone, and goes as a message; nothing is dropped silently.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.cases.answers import business_id_of
from broker.gateway.core import Core
from broker.gateway.send.composer import Composer
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Sender
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import case_report, inbox
from broker.telemetry import logger
from schemas.errors import Refused, Unavailable

GAPS: Final = "case-system-gaps"
"""The alarm for a case that was filed, but not whole: the rest is in the gateway alone."""
TYPE: Final = "filing.report"
EVERY = timedelta(seconds=30)
MOST: Final = 64
_PATH = re.compile(r"[a-z][a-z_]{2,39}(\.[a-z][a-z0-9_]{0,63}){0,3}")


def field_paths(where: Sequence[str]) -> list[str]:
    """Paths without codes and positions, each once, as the message carries them."""
    bare = (re.sub(r"\[\d+\]|\.\d+", "", item.partition(":")[0].strip()) for item in where)
    return list(dict.fromkeys(path for path in bare if _PATH.fullmatch(path)))[:MOST]


def report_rows(
    reports: Sequence[tuple[UUID, str, Sequence[str]]], *, now: datetime
) -> list[dict[str, Any]]:
    """Rows that owe a report: message, outcome, where."""
    return [
        {
            "message": message,
            "outcome": outcome,
            "fields": json.dumps(field_paths(where)),
            "state": "due",
            "answer": None,
            "next_attempt_at": now,
        }
        for message, outcome, where in reports
    ]


async def retract_reports(connection: AsyncConnection, messages: Sequence[UUID]) -> None:
    """What was owed about these messages, or was said, gives way to what is to be said now."""
    if messages:
        await connection.execute(delete(case_report).where(case_report.c.message.in_(messages)))


class Reporting:
    """Sends what is owed. One task."""

    def __init__(self, core: Core, composer: Composer, sender: Sender) -> None:
        self._core = core
        self._composer = composer
        self._sender = sender

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("reporting:waits", code=error.code)
            await asyncio.sleep(EVERY.total_seconds())

    async def run_once(self) -> int:
        """Send the reports that are due; returns how many."""
        async with self._core.database.read() as connection:
            rows = await connection.execute(
                select(case_report, inbox.c.sender, inbox.c.case_ref, inbox.c.business_id)
                .join(inbox, inbox.c.id == case_report.c.message)
                .where(
                    case_report.c.state == "due",
                    case_report.c.next_attempt_at <= self._core.now(),
                )
                .limit(MOST)
            )
            due = rows.all()
        for row in due:
            await self._report(row)
        return len(due)

    async def _report(self, row: AnyRow) -> None:
        try:
            sent = await self._sender.send(await self._composer(_draft(row)))
        except Refused as error:
            # The partner left, or reads no such type: the alarm here stays, and the code there.
            logger().warning("reporting:refused", code=error.code)
            values: dict[str, Any] = {"state": "refused"}
        else:
            values = {"state": "sent", "answer": sent.id}
        async with self._core.database.begin() as connection:
            await connection.execute(
                update(case_report).where(case_report.c.message == row.message).values(**values)
            )


def _draft(row: AnyRow) -> MessageDraft:
    return MessageDraft.model_validate(
        {
            "type": TYPE,
            "to": row.sender,
            "case_ref": row.case_ref,
            "body": {
                "referral": str(row.business_id),
                "outcome": row.outcome,
                "fields": json.loads(row.fields),
            },
            "business_id": business_id_of(f"{row.message} {row.outcome}", TYPE),
        }
    )
