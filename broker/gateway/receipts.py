"""Receipts: the facts that we owe others about their messages.

A fact is written in the transaction of the thing that it states. Later many facts for one sender
are signed as one evidence, which is stored before it is sent and sent until it is taken.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core, wait_for
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import receipt, receipt_packet
from broker.telemetry import logger
from keys.binding import uuid7
from keys.signing import sign_jws
from schemas.base import ParticipantId
from schemas.errors import Refused, Unavailable
from schemas.evidence import (
    EVIDENCE_TYP,
    MAX_FACTS,
    Evidence,
    Fact,
    FactStatement,
    StoreErasure,
)

LINGER = timedelta(milliseconds=20)
"""How long a fact waits for company: less than anyone notices, enough for a page of messages."""
POLL = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Owed:
    """One fact for one sender."""

    to: ParticipantId
    envelope: UUID
    digest: str
    fact: Fact
    at: datetime
    code: str | None = None
    erasures: tuple[StoreErasure, ...] = ()


async def owe(connection: AsyncConnection, facts: Sequence[Owed]) -> None:
    """Write facts down in the transaction of what they state."""
    if not facts:
        return
    await connection.execute(
        insert(receipt),
        [
            {
                "recipient": item.to,
                "envelope": item.envelope,
                "digest": item.digest,
                "fact": item.fact.value,
                "code": item.code,
                "erasures": json.dumps([entry.to_dict() for entry in item.erasures])
                if item.erasures
                else None,
                "at": item.at,
                "packet": None,
            }
            for item in facts
        ],
    )


class Receipts:
    """Signs what is owed, in batches, and hands it to the hub. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                packed = await self.pack()
                sent = await self.deliver()
            except Unavailable as error:
                logger().warning("receipts:wait", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not packed and not sent:
                await wait_for(self._core.wakes.receipts, POLL)
                await asyncio.sleep(LINGER.total_seconds())

    async def pack(self) -> int:
        """Sign what is owed and not yet signed; returns how many facts that were."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            rows = (
                await connection.execute(
                    select(receipt)
                    .where(receipt.c.packet.is_(None))
                    .order_by(receipt.c.position)
                    .limit(8 * MAX_FACTS)
                )
            ).all()
            for to, chunk in _chunks(rows):
                content = Evidence(
                    id=uuid7(now),
                    by=core.participant,
                    to=to,
                    issued_at=now,
                    facts=tuple(_statement(row) for row in chunk),
                )
                raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=core.signer)
                await connection.execute(
                    insert(receipt_packet).values(
                        id=content.id,
                        recipient=to,
                        raw=raw,
                        state="queued",
                        attempts=0,
                        next_attempt_at=now,
                        created_at=now,
                    )
                )
                await connection.execute(
                    update(receipt)
                    .where(receipt.c.position.in_([row.position for row in chunk]))
                    .values(packet=content.id)
                )
        return len(rows)

    async def deliver(self) -> int:
        """Hand packets to the hub; the same bytes until it takes them."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(receipt_packet)
                    .where(
                        receipt_packet.c.state == "queued",
                        receipt_packet.c.next_attempt_at <= core.now(),
                    )
                    .order_by(receipt_packet.c.id)
                    .limit(16)
                )
            ).all()
        if not rows:
            return 0
        outcomes = await asyncio.gather(*(self._hand_over(row) for row in rows))
        async with core.database.begin() as connection:
            for row, state in zip(rows, outcomes, strict=True):
                wait = min(0.5 * 2 ** min(row.attempts, 10), 60.0)
                await connection.execute(
                    update(receipt_packet)
                    .where(receipt_packet.c.id == row.id)
                    .values(
                        state=state,
                        attempts=receipt_packet.c.attempts + 1,
                        next_attempt_at=core.now() + timedelta(seconds=wait),
                    )
                )
                if state == "failed":
                    await raise_alarm(connection, "receipt-refused", row.id, now=core.now())
        return sum(state == "sent" for state in outcomes)

    async def _hand_over(self, row: AnyRow) -> str:
        try:
            await self._core.hub.submit_evidence(row.raw)
        except Unavailable:
            return "queued"
        except Refused as error:
            logger().error("receipt:refused", evidence_id=str(row.id), code=error.code)
            return "failed"
        return "sent"


def _chunks(rows: Sequence[AnyRow]) -> list[tuple[str, list[AnyRow]]]:
    by_recipient: dict[str, list[AnyRow]] = {}
    for row in rows:
        by_recipient.setdefault(row.recipient, []).append(row)
    return [
        (to, owed[start : start + MAX_FACTS])
        for to, owed in by_recipient.items()
        for start in range(0, len(owed), MAX_FACTS)
    ]


def _statement(row: AnyRow) -> FactStatement:
    return FactStatement(
        fact=Fact(row.fact),
        envelope=row.envelope,
        digest=row.digest,
        at=row.at,
        code=row.code,
        erasures=tuple(
            StoreErasure.from_json(json.dumps(item)) for item in json.loads(row.erasures or "[]")
        ),
    )
