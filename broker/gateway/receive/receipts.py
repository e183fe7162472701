"""Receipts: the facts that we owe others about their messages.

A fact is written in the transaction of the thing that it states. Later many facts for one sender
are signed as one evidence, which is stored before it is sent and sent until it is taken. What is
filed is signed with all that is owed by then, in the transaction that records it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core, wait_for
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.lookup import Listing
from broker.gateway.store.tables import receipt, receipt_packet
from broker.gateway.store.together import Changes, insert_together, update_rows
from broker.telemetry import logger
from keys.binding import uuid7
from keys.jws import sign_jws
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

TOGETHER = timedelta(milliseconds=15)
"""How long *delivered* waits for *filed*, which follows at once if the case system is at hand: less
than anyone notices, and one evidence instead of two."""
SETTLE = timedelta(milliseconds=250)
"""How long it may take until it is written down that the hub has a packet, if more follows."""
POLL = timedelta(seconds=2)
ENOUGH = 8 * MAX_FACTS
"""Facts signed in one go; when there were so many, more may wait."""
ABREAST = 16
"""Packets handed over at the same time."""


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


def receipt_rows(facts: Sequence[Owed]) -> list[dict[str, object]]:
    """Rows of the table `receipt`."""
    return [
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
    ]


async def owe(connection: AsyncConnection, facts: Sequence[Owed]) -> None:
    """Write facts down in the transaction of what they state."""
    await insert_together(connection, (receipt, receipt_rows(facts)))


@dataclass(frozen=True, slots=True)
class _Packet:
    """One signed evidence on its way to the hub."""

    id: UUID
    raw: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A fact that is only being written down, for all that is done with it like its row."""

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


@dataclass
class Signed:
    """What a transaction writes of packets that were just signed."""

    packets: list[_Packet] = field(default_factory=list)
    stored: list[dict[str, object]] = field(default_factory=list)
    """Rows of `receipt_packet`."""
    receipts: list[dict[str, object]] = field(default_factory=list)
    """Rows of `receipt`: facts that are new."""
    packed: list[dict[str, object]] = field(default_factory=list)
    """Changes to rows of `receipt`, by position: facts that were there."""


_Row = AnyRow | _Fresh
Sign = Callable[[AsyncConnection, Sequence[Owed]], Awaitable[Signed]]


class Receipts:
    """Signs what is owed, in batches, and hands it to the hub. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._packing = asyncio.Lock()
        """Held from looking for what is owed until the commit: each fact is in one packet."""
        self._packed: list[_Packet] = []
        """Signed and stored just now."""
        self._handed: list[dict[str, object]] = []
        """What became of those that the hub was given, for the next transaction to write down. A
        crash before it hands them over again, which changes nothing there."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wake = self._core.wakes.receipts
        look_at = loop.time()
        while True:
            wake.clear()
            try:
                if self._packed:
                    await self._hand_over_all()
                    if loop.time() < look_at and await self._more_comes(wake):
                        continue
                packed = await self.pack()
                if not packed and loop.time() >= look_at:
                    look_at = loop.time() + POLL.total_seconds()
                    packed = await self._look()
                await self._hand_over_all()
            except Unavailable as error:
                logger().warning("receipts:wait", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if packed < ENOUGH:
                await wait_for(wake, POLL)
                # What was stored will be filed in a moment: one evidence then says both.
                await self._core.to_file.wait_idle(TOGETHER)

    async def _more_comes(self, wake: asyncio.Event) -> bool:
        """True if what was just handed over need not be written down yet: more is being filed, and
        is signed there; one transaction later notes what became of all of it."""
        if len(self._handed) >= ENOUGH or any(one["state"] == "failed" for one in self._handed):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE.total_seconds()):
                await wake.wait()
        if wake.is_set():
            await self._core.to_file.wait_idle(TOGETHER)
        return wake.is_set() and bool(self._packed)

    async def pack(self) -> int:
        """Sign what is owed and not yet signed; returns how many facts that were."""
        async with self._packing:
            marks, self._handed = self._handed, []
            try:
                async with self._core.database.begin() as connection:
                    await update_rows(connection, receipt_packet, marks, key="id")
                    halves = await self._halve(
                        connection, [mark["id"] for mark in marks if mark["state"] == "failed"]
                    )
                    rows = await _UNPACKED(connection)
                    signed = self._sign([*halves, *_chunks(rows)])
                    await insert_together(
                        connection,
                        (receipt_packet, signed.stored),
                        changes=(Changes(receipt, signed.packed, key="position"),),
                    )
            except BaseException:
                self._handed = marks + self._handed
                raise
            self._packed += signed.packets
            return len(rows) + sum(len(chunk) for _, chunk in halves)

    @contextlib.asynccontextmanager
    async def packing(self) -> AsyncIterator[Sign]:
        """For a transaction that writes facts down: they are signed with all that is owed by then.

        Yields a function of the connection and the facts: what the transaction inserts and
        changes. When the block ends without an error it has committed, and the packets go out.
        """
        done: list[Signed] = []

        async def sign(connection: AsyncConnection, facts: Sequence[Owed]) -> Signed:
            rows = await _UNPACKED(connection) if facts else []
            fresh = [_Fresh(values) for values in receipt_rows(facts)]
            done.append(self._sign(_chunks([*rows, *fresh])))
            return done[-1]

        async with self._packing:
            yield sign
            for signed in done:
                self._packed += signed.packets
        self._core.wakes.receipts.set()

    def _sign(self, chunks: Sequence[tuple[str, Sequence[_Row]]]) -> Signed:
        core, now = self._core, self._core.now()
        signed = Signed()
        for to, chunk in chunks:
            content = Evidence(
                id=uuid7(now),
                by=core.participant,
                to=to,
                issued_at=now,
                facts=tuple(_statement(row) for row in chunk),
            )
            raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=core.signer)
            signed.packets.append(_Packet(content.id, raw, 0))
            signed.stored.append(
                {
                    "id": content.id,
                    "recipient": to,
                    "raw": raw,
                    "state": "queued",
                    "attempts": 0,
                    "next_attempt_at": now,
                    "created_at": now,
                }
            )
            for row in chunk:
                if isinstance(row, _Fresh):
                    signed.receipts.append({**row.values, "packet": content.id})
                else:
                    signed.packed.append({"position": row.position, "packet": content.id})
        return signed

    async def _halve(
        self, connection: AsyncConnection, refused: Sequence[object]
    ) -> list[tuple[str, list[AnyRow]]]:
        """The facts of refused packets, in packets half as large: one bad fact costs no other.

        A fact that is refused alone stays refused, and a person is told.
        """
        halves: list[tuple[str, list[AnyRow]]] = []
        for packet in refused:
            query = select(receipt).where(receipt.c.packet == packet).order_by(receipt.c.position)
            rows = list((await connection.execute(query)).all())
            if len(rows) < 2:
                await raise_alarm(connection, "receipt-refused", packet, now=self._core.now())
                continue
            middle = len(rows) // 2
            halves += [(rows[0].recipient, rows[:middle]), (rows[0].recipient, rows[middle:])]
        return halves

    async def deliver(self) -> int:
        """Hand packets to the hub; the same bytes until it takes them."""
        if not self._packed:
            await self._look()
        return await self._hand_over_all()

    async def _look(self) -> int:
        """Find packets that were signed long ago, or that the hub could not be given."""
        core = self._core
        known = {mark["id"] for mark in self._handed} | {packet.id for packet in self._packed}
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(receipt_packet.c.id, receipt_packet.c.raw, receipt_packet.c.attempts)
                    .where(
                        receipt_packet.c.state == "queued",
                        receipt_packet.c.next_attempt_at <= core.now(),
                    )
                    .order_by(receipt_packet.c.id)
                    .limit(ABREAST)
                )
            ).all()
        found = [_Packet(row.id, row.raw, row.attempts) for row in rows if row.id not in known]
        self._packed += found
        return len(found)

    async def _hand_over_all(self) -> int:
        sent = 0
        while self._packed:
            now_handed = self._packed[:ABREAST]
            outcomes = await asyncio.gather(*(self._hand_over(packet) for packet in now_handed))
            del self._packed[: len(now_handed)]
            now = self._core.now()
            for packet, state in zip(now_handed, outcomes, strict=True):
                wait = min(0.5 * 2 ** min(packet.attempts, 10), 60.0)
                self._handed.append(
                    {
                        "id": packet.id,
                        "state": state,
                        "attempts": packet.attempts + 1,
                        "next_attempt_at": now + timedelta(seconds=wait),
                    }
                )
            sent += sum(state == "sent" for state in outcomes)
            if "failed" in outcomes:
                self._core.wakes.receipts.set()  # what was refused is packed anew
        return sent

    async def _hand_over(self, packet: _Packet) -> str:
        try:
            await self._core.hub.submit_evidence(packet.raw)
        except Unavailable:
            return "queued"
        except Refused as error:
            logger().error("receipt:refused", evidence_id=str(packet.id), code=error.code)
            return "failed"
        return "sent"


_UNPACKED = Listing(
    select(receipt).where(receipt.c.packet.is_(None)).order_by(receipt.c.position).limit(ENOUGH)
)


def _chunks(rows: Sequence[_Row]) -> list[tuple[str, list[_Row]]]:
    by_recipient: dict[str, list[_Row]] = {}
    for row in rows:
        by_recipient.setdefault(row.recipient, []).append(row)
    return [
        (to, owed[start : start + MAX_FACTS])
        for to, owed in by_recipient.items()
        for start in range(0, len(owed), MAX_FACTS)
    ]


def _statement(row: _Row) -> FactStatement:
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
