"""Evidence: what others state about our messages.

Only verified evidence reaches this module. Who may state what is decided by who signed: the hub's
facts count from our hub alone, a gateway's facts from the message's recipient alone.
`schemas.evidence.PRECEDENCE` says which of several facts stands, whatever the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.erasures import attested
from broker.gateway.own_log import Decision
from broker.gateway.store import outbox as outbox_store
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.gateway.store.dialect import AnyRow, insert_new
from broker.gateway.store.tables import evidence, fact, outbox
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId
from schemas.evidence import (
    GATEWAY_FACTS,
    HUB_FACTS,
    Erasure,
    Evidence,
    Fact,
    FactStatement,
    Store,
    StoreErasure,
    VerifiedEvidence,
    standing,
)

BAD_ENDINGS = {
    Fact.REFUSED: "undeliverable",
    Fact.UNDELIVERED: "undeliverable",
    Fact.EXPIRED: "expire",
    Fact.STOPPED: "withdraw",
}
"""Facts that raise an alarm, and the event that they are for the thread's opening message."""


class EvidenceBook:
    """Keeps what was stated about our messages."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def keep(self, connection: AsyncConnection, verified: VerifiedEvidence) -> None:
        """Store verified evidence and let its facts take effect; repeating it changes nothing."""
        core, now = self._core, self._core.now()
        content = verified.content
        new = await insert_new(
            connection,
            evidence,
            {
                "id": content.id,
                "by": content.by,
                "raw": verified.raw,
                "received_at": now,
            },
        )
        if not new:
            return
        rows = await outbox_store.get_many(
            connection, list({stated.envelope for stated in content.facts})
        )
        counted = [
            stated
            for stated in content.facts
            if await self._counts(connection, stated, content.by, rows.get(stated.envelope))
        ]
        await self._insert(connection, content, counted)
        for message in dict.fromkeys(stated.envelope for stated in counted):
            await self._settle(connection, rows[message])
        for stated in counted:
            await self._consequences(connection, stated, content.by, rows[stated.envelope])
        await core.log.add(
            connection, [Decision(Event.EVIDENCE_RECEIVED, subject_of(verified.raw))], now=now
        )

    async def _counts(
        self,
        connection: AsyncConnection,
        stated: FactStatement,
        by: ParticipantId,
        row: AnyRow | None,
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

    async def _insert(
        self, connection: AsyncConnection, content: Evidence, counted: Sequence[FactStatement]
    ) -> None:
        for stated in counted:
            await insert_new(
                connection,
                fact,
                {
                    "envelope": stated.envelope,
                    "fact": stated.fact.value,
                    "by": content.by,
                    "code": stated.code,
                    "at": stated.at,
                    "evidence": content.id,
                },
            )

    async def _settle(self, connection: AsyncConnection, row: AnyRow) -> None:
        """Set the state to the fact that stands among all that were ever stated."""
        known = (
            await connection.execute(
                select(fact.c.fact, fact.c.code, fact.c.at).where(fact.c.envelope == row.id)
            )
        ).all()
        stands = standing({Fact(item.fact) for item in known})
        if stands is None:
            return
        chosen = next(item for item in known if item.fact == stands.value)
        submitted = next((item.at for item in known if item.fact == Fact.SUBMITTED.value), None)
        await connection.execute(
            update(outbox)
            .where(outbox.c.id == row.id)
            .values(state=stands.value, code=chosen.code, submitted_at=submitted)
        )

    async def _consequences(
        self,
        connection: AsyncConnection,
        stated: FactStatement,
        by: ParticipantId,
        row: AnyRow,
    ) -> None:
        now = self._core.now()
        if stated.fact in (Fact.DELIVERED, Fact.FILED, Fact.READ):
            await clear_alarms(
                connection, row.id, "receipt-missing", "undelivered", "send-failed", now=now
            )
        if stated.fact is Fact.DELIVERED:
            await threads.delivered(connection, row.thread, now=now)
        elif stated.fact is Fact.ERASED and row.grant is not None:
            await attested(
                self._core,
                connection,
                row.grant,
                by,
                stated.erasures,
                at=stated.at,
                message=row.id,
            )
        elif stated.fact in BAD_ENDINGS or stated.fact is Fact.FAILED:
            await raise_alarm(connection, stated.fact.value, row.id, now=now)
            event = BAD_ENDINGS.get(stated.fact)
            if event is not None:
                await threads.ended_by_hub(connection, row.thread, event, now=now)
            if stated.fact is Fact.STOPPED and row.grant is not None:
                gone = (StoreErasure(store=Store.HUB_PAYLOAD, outcome=Erasure.ERASED),)
                await attested(
                    self._core, connection, row.grant, by, gone, at=stated.at, message=row.id
                )
