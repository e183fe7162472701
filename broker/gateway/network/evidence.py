"""Evidence: what others state about our messages.

Only verified evidence reaches this module. Who may state what is decided by who signed: the hub's
facts count from our hub alone, a gateway's facts from the message's recipient alone.
`schemas.evidence.PRECEDENCE` says which of several facts stands, whatever the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.erasure.attested import attested
from broker.gateway.network.unsaid import not_there
from broker.gateway.own_log import Decision
from broker.gateway.store import outbox as outbox_store
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import batches
from broker.gateway.store.stated import Before, Ours, before, keep_new
from broker.gateway.store.tables import fact, outbox
from broker.gateway.store.together import Changes, Merge, insert_together
from broker.telemetry import logger
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId
from schemas.envelope import Kind
from schemas.evidence import (
    GATEWAY_FACTS,
    HUB_FACTS,
    Erasure,
    Evidence,
    Fact,
    FactStatement,
    Stated,
    Store,
    StoreErasure,
    VerifiedEvidence,
    Witness,
    winner,
)

BAD_ENDINGS = {
    Fact.REFUSED: "undeliverable",
    Fact.UNDELIVERED: "undeliverable",
    Fact.EXPIRED: "expire",
    Fact.STOPPED: "withdraw",
}
"""Facts that raise an alarm, and the event that they are for a thread that the message opened."""

RECEIPTS = frozenset({Fact.DELIVERED, Fact.FILED, Fact.READ})
OBEYED = RECEIPTS | {Fact.SUBMITTED, Fact.RELAYED}
"""What the hub has done, of a withdrawal, once any of these is stated of it."""
ABSENT = ("receipt-missing", "undelivered", "send-failed")
"""Alarms about receipts that have not come."""
SOON = timedelta(milliseconds=150)
"""Longer than a message alone needs to arrive and be receipted: one transaction then has both."""
BATCH = 256
"""Rows per statement: far below the databases' limits on parameters."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """A fact that its signer may state, with the message of ours that it is about."""

    content: Evidence
    stated: FactStatement
    row: Ours


class EvidenceBook:
    """Keeps what was stated about our messages."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: list[VerifiedEvidence] = []
        self._waiting_since = 0.0
        self._keeping: asyncio.Task[None] | None = None

    # --- without haste ------------------------------------------------------------------------

    def keep_soon(self, verified: Sequence[VerifiedEvidence]) -> None:
        """Keep what would come again if we died now: the hub's answers, which it repeats.

        Many share a transaction, or go with what is kept at once.
        """
        if not self._waiting:
            self._waiting_since = asyncio.get_running_loop().time()
        self._waiting += verified
        if self._waiting and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_waiting())

    def take_waiting(self) -> list[VerifiedEvidence]:
        """What waits, for a caller that keeps something else; `keep_soon` takes it back."""
        taken = self._waiting[:BATCH]
        del self._waiting[:BATCH]
        return taken

    async def _keep_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        # Counted from the oldest that still waits: what came since may have been taken along.
        while True:
            pause = self._waiting_since + SOON.total_seconds() - loop.time()
            if pause <= 0:
                break
            await asyncio.sleep(pause)
        while taken := self.take_waiting():
            try:
                async with self._core.database.begin() as connection:
                    told = await self.keep(connection, taken)
            except Exception as error:
                # They come again: the outbox asks the hub once more when its lease is over.
                logger().warning("evidence:not-kept", count=len(taken), error=type(error).__name__)
                return
            self._core.news.tell(told)
            self._core.log.wake()

    # --- now ----------------------------------------------------------------------------------

    async def keep(
        self, connection: AsyncConnection, verified: Sequence[VerifiedEvidence]
    ) -> set[UUID]:
        """Store verified evidence and let its facts take effect; repeating it changes nothing.

        Many at once cost as many statements as one: a fact is the commonest thing that arrives.

        Returns:
            Our messages of which there is news, once the caller has committed.
        """
        arrived = {item.content.id: item for item in verified}
        ids, rows = await keep_new(
            connection,
            [
                {"id": key, "by": item.content.by, "raw": item.raw, "received_at": self._core.now()}
                for key, item in sorted(arrived.items())
            ],
            list({stated.envelope for item in verified for stated in item.content.facts}),
        )
        new = [item for key, item in arrived.items() if key in ids]
        if not new:
            return set()
        counted = [
            _Counted(item.content, stated, rows[stated.envelope])
            for item in new
            for stated in item.content.facts
            if await self._counts(connection, stated, item.content.by, rows.get(stated.envelope))
        ]
        past = await before(
            connection,
            list({item.row.id for item in counted}),
            list({item.row.thread for item in counted if item.stated.fact is Fact.DELIVERED}),
        )
        stands, settled = self._settle(past, counted)
        moved = await self._arrived(connection, past, counted)
        decisions = [Decision(Event.EVIDENCE_RECEIVED, subject_of(item.raw)) for item in new]
        await insert_together(
            connection,
            *self._core.log.rows(decisions, now=self._core.now()),
            merges=[_facts(counted)],
            changes=[settled, moved],
        )
        await self._obeyed(connection, {item.row.id: item.row for item in counted}, stands)
        for item in counted:
            if not _is_outdone(item.stated.fact, stands.get(item.row.id)):
                await self._consequences(connection, item.stated, item.content.by, item.row)
        return {item.row.id for item in counted}

    async def _counts(
        self,
        connection: AsyncConnection,
        stated: FactStatement,
        by: ParticipantId,
        row: Ours | None,
    ) -> bool:
        """True if this signer may state this about this message of ours."""
        now = self._core.now()
        if stated.fact is Fact.TOMBSTONE:
            return False  # about a number in somebody else's stream
        if row is None:
            # Not ours, or of a database that was restored from an older backup: a person must know.
            await raise_alarm(connection, "evidence-unknown", stated.envelope, now=now)
            return False
        by_hub = by == self._core.settings.hub.id and stated.fact in HUB_FACTS
        by_recipient = by == row.recipient and stated.fact in GATEWAY_FACTS
        if row.digest != stated.digest or not (by_hub or by_recipient):
            await raise_alarm(connection, "evidence-contradicts", stated.envelope, now=now)
            return False
        return True

    def _settle(
        self, past: Before, counted: Sequence[_Counted]
    ) -> tuple[dict[UUID, Fact], Changes]:
        """The fact that stands, of each message, among all that were ever stated; its new state."""
        known: dict[UUID, dict[tuple[str, str], Stated]] = {}
        for row in past.facts:
            if row.by == self._core.participant:
                continue  # our own word about it moves nothing
            stated = known.setdefault(row.envelope, {})
            stated[row.fact, row.by] = self._stated(
                Fact(row.fact), row.by, row.at, row.evidence, row.code
            )
        for item in counted:
            by, said = item.content.by, item.stated
            known.setdefault(item.row.id, {}).setdefault(
                (said.fact.value, by),  # of two that say the same, the first counts
                self._stated(said.fact, by, said.at, item.content.id, said.code),
            )
        changes: list[dict[str, object]] = []
        stands: dict[UUID, Fact] = {}
        for message, every in known.items():
            chosen = winner(every.values())
            if chosen is None:
                continue
            stands[message] = chosen.fact
            taken = next((item.at for item in every.values() if item.fact is Fact.SUBMITTED), None)
            changes.append(
                {
                    "id": message,
                    "state": chosen.fact.value,
                    "code": chosen.code,
                    "submitted_at": taken,
                }
            )
        return stands, Changes(outbox, changes, key="id")

    async def _obeyed(
        self, connection: AsyncConnection, rows: Mapping[UUID, Ours], stands: Mapping[UUID, Fact]
    ) -> None:
        """Destroy our sealed copies of what a withdrawal took back, once the hub has recorded it.

        From then on nothing of it is handed over, so that nothing has to be sent again.
        """
        for message, row in rows.items():
            if row.kind != Kind.WITHDRAWAL or row.grant is None:
                continue
            if stands.get(message) in OBEYED:
                await outbox_store.destroy_copies(connection, row.grant, before=row.position)

    def _stated(
        self, stated: Fact, by: str, at: datetime, evidence_id: UUID, code: str | None
    ) -> Stated:
        witness = Witness.HUB if by == self._core.settings.hub.id else Witness.RECIPIENT
        return Stated(stated, witness, at, evidence_id, code)

    async def _arrived(
        self, connection: AsyncConnection, past: Before, counted: Sequence[_Counted]
    ) -> Changes:
        """Receipts clear the alarms about their absence, and move the threads: returns how."""
        now = self._core.now()
        there = [item for item in counted if item.stated.fact in RECEIPTS]
        receipted = {item.row.id for item in there}
        for batch in batches([message for message in past.alarmed if message in receipted]):
            retrieved = [
                item.row.id
                for item in there
                if item.row.id in batch and item.stated.fact is not Fact.DELIVERED
            ]
            await clear_alarms_of(connection, batch, *ABSENT, now=now)
            await clear_alarms_of(connection, retrieved, "unretrieved", now=now)
        return threads.delivered(past.exchanges, now=now)

    async def _consequences(
        self,
        connection: AsyncConnection,
        stated: FactStatement,
        by: ParticipantId,
        row: Ours,
    ) -> None:
        now = self._core.now()
        # Of a notice that asked for it, or of the consent that it came under.
        about = row.id if row.kind == Kind.RIGHTS else row.grant
        if stated.fact is Fact.ERASED and about is not None:
            await attested(
                self._core,
                connection,
                about,
                by,
                stated.erasures,
                at=stated.at,
                message=row.id,
            )
        elif stated.fact in BAD_ENDINGS or stated.fact in (Fact.FAILED, Fact.UNRETRIEVED):
            await raise_alarm(connection, stated.fact.value, row.id, now=now)
            event = BAD_ENDINGS.get(stated.fact)
            if event is not None:
                await not_there(
                    self._core,
                    connection,
                    row.thread,
                    row.id,
                    event,
                    for_good=stated.fact is not Fact.UNDELIVERED,
                )
            if stated.fact is Fact.STOPPED and row.grant is not None:
                gone = (StoreErasure(store=Store.HUB_PAYLOAD, outcome=Erasure.ERASED),)
                await attested(
                    self._core, connection, row.grant, by, gone, at=stated.at, message=row.id
                )


def _facts(counted: Sequence[_Counted]) -> Merge:
    rows = {
        (item.stated.envelope, item.stated.fact, item.content.by): {
            "envelope": item.stated.envelope,
            "fact": item.stated.fact.value,
            "by": item.content.by,
            "code": item.stated.code,
            "at": item.stated.at,
            "evidence": item.content.id,
        }
        for item in reversed(counted)  # of two that say the same, the first counts
    }
    return Merge(fact, list(rows.values()), key=("envelope", "fact", "by"))


def _is_outdone(stated: Fact, stands: Fact | None) -> bool:
    """True if a bad word came too late to matter: what it denies has happened after all."""
    if stated is Fact.UNRETRIEVED:
        return stands in (Fact.READ, Fact.FILED)
    return stated in BAD_ENDINGS and stands in RECEIPTS
