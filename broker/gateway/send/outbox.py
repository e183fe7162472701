"""The outbox's worker: the same bytes until the hub's signed word, or the hard stop.

* What is stored while the hub is there is pushed at once, from memory. The table is looked at for
  everything else: what waited, what failed, what another loop stored.
* Withdrawals and safety alerts go first, then the urgent lane.
* One hub, one back-off: when it cannot be reached, nothing is tried until it is over, and then one
  message alone, so that a dead hub is not hammered and one bad message holds up no other.
* Only evidence that verifies changes a state. An unsigned refusal is hearsay: the message is tried
  again, and ends as `failed` with an alarm when its time is up. Its bytes are kept; a worker may
  send them again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from broker.client import Refusal, Submitted
from broker.gateway.consent.giving import Consents
from broker.gateway.core import Core, wait_for
from broker.gateway.network.evidence import EvidenceBook
from broker.gateway.send.attachments import Attachments
from broker.gateway.send.sender import Handed
from broker.gateway.store import outbox as store
from broker.gateway.store.alarms import clear_alarms, clear_alarms_of, raise_alarm
from broker.gateway.store.dialect import AnyRow, upsert
from broker.gateway.store.tables import doubt, outbox
from broker.telemetry import logger
from keys.signing import verify_evidence
from schemas.errors import BadSignature, BrokerError, NotFound, NotPermitted, Unavailable
from schemas.evidence import Fact, VerifiedEvidence

POLL = timedelta(seconds=2)
"""The safety net under the wake-up."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came of one attempt."""

    row: AnyRow | Handed
    evidence: VerifiedEvidence | None = None
    code: str | None = None
    hub_away: bool = False


class Outbox:
    """Delivers to the hub. One task."""

    def __init__(
        self, core: Core, consents: Consents, book: EvidenceBook, attachments: Attachments
    ) -> None:
        self._core = core
        self._consents = consents
        self._book = book
        self._attachments = attachments
        self._hub_failures = 0
        self.hub_reachable = False
        self._running = False
        self._handed: deque[Handed] = deque()
        self._pushing: asyncio.Task[None] | None = None

    # --- pushed from memory -------------------------------------------------------------------

    def is_ready(self) -> bool:
        """True if what is handed over now leaves now."""
        room = len(self._handed) < self._core.settings.send.parallel
        return self._running and self.hub_reachable and not self._hub_failures and room

    def push(self, messages: Sequence[Handed]) -> None:
        """Take messages that are stored as `sending`; those not answered become due again."""
        self._handed.extend(messages)
        if self._pushing is None or self._pushing.done():
            self._pushing = asyncio.create_task(self._push())

    async def _push(self) -> None:
        while self._handed:
            count = min(len(self._handed), self._core.settings.send.parallel)
            group = [self._handed.popleft() for _ in range(count)]
            try:
                heard = await self._ask(group)
                # Our lease on these is long, and the hub repeats its answers: no haste.
                self._book.keep_soon([item.evidence for item in heard if item.evidence])
                await self._record([item for item in heard if item.evidence is None])
            except Exception as error:
                # Their lease ends, and they are found in the table.
                logger().error("outbox:push-failed", exc_info=error)
            if self._hub_failures:
                self._core.wakes.outbox.set()

    # --- found in the table -------------------------------------------------------------------

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await self._retry(self.reconcile)
        self._running = True
        while True:
            moved = await self._retry(self.run_once)
            if self._hub_failures:
                await asyncio.sleep(self._pause().total_seconds())
            elif not moved:
                await wait_for(self._core.wakes.outbox, POLL)

    async def run_once(self) -> int:
        """Try what is due once; returns how many messages the hub answered for."""
        core = self._core
        try:
            await self._consents.register_waiting()
        except Unavailable:
            # Withdrawals need no registration, so they are tried all the same.
            self._hub_failures = max(self._hub_failures, 1)
        limit = 1 if self._hub_failures else core.settings.send.parallel
        async with core.database.begin() as connection:
            due = await store.claim_due(connection, now=core.now(), limit=limit)
        if not due:
            if self._hub_failures:
                self._hub_failures = 0 if await core.hub.ready() else self._hub_failures + 1
                self.hub_reachable = not self._hub_failures
            return 0
        return await self._try(due)

    async def _try(self, due: Sequence[AnyRow | Handed]) -> int:
        """Try these at once; returns how many the hub answered for."""
        heard = await self._ask(due)
        await self._record(heard)
        return sum(not item.hub_away for item in heard)

    async def _ask(self, due: Sequence[AnyRow | Handed]) -> list[_Heard]:
        heard = await asyncio.gather(*(self._attempt(row) for row in due))
        answered = not all(item.hub_away for item in heard)
        self._hub_failures = 0 if answered else self._hub_failures + 1
        self.hub_reachable = answered
        return heard

    async def reconcile(self) -> None:
        """At start: what was on its way when we stopped may have arrived. Ask before resending.

        Resending the same bytes would be safe too; asking first tells us at once what was accepted.
        """
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(outbox.c.id, outbox.c.digest).where(outbox.c.state == "sending")
                )
            ).all()
        for row in rows:
            try:
                known = await core.hub.envelope_state(row.id)
            except BrokerError as error:
                logger().info("outbox:not-reconciled", message_id=str(row.id), code=error.code)
                known = None
            if known is not None and known.digest != row.digest:
                async with core.database.begin() as connection:
                    await raise_alarm(connection, "id-conflict", row.id, now=core.now())
            # Known or not, the same bytes go once more: the hub repeats its signed answer.
            async with core.database.begin() as connection:
                await store.postpone(connection, row.id, core.now())

    async def replay(self, message: UUID) -> None:
        """A worker sends a failed message again, with its original bytes.

        Raises:
            NotFound: No such message.
            NotPermitted: It has not failed.
        """
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            row = await store.get(connection, message)
            if row is None:
                raise NotFound("no such message")
            if row.state != "failed" or row.expires_at <= now:
                raise NotPermitted("only what has failed, and has not expired, is sent again")
            await connection.execute(
                update(outbox)
                .where(outbox.c.id == message)
                .values(
                    state="queued",
                    code=None,
                    attempts=0,
                    next_attempt_at=now,
                    hard_stop_at=min(now + core.settings.send.hard_stop, row.expires_at),
                )
            )
            await clear_alarms(connection, message, "send-failed", "unsigned-refusal", now=now)
        core.wakes.outbox.set()

    # --- one attempt --------------------------------------------------------------------------

    async def _attempt(self, row: AnyRow | Handed) -> _Heard:
        core = self._core
        try:
            if row.has_files:
                await self._attachments.upload_for(row.id)
            answer = await core.hub.submit(row.envelope)
        except Unavailable as error:
            return _Heard(row, code=error.code, hub_away=error.code == "hub-unreachable")
        except BrokerError as error:
            return _Heard(row, code=error.code)
        raw = answer.evidence
        if raw is None:
            return _Heard(row, code=answer.code if isinstance(answer, Refusal) else None)
        try:
            return _Heard(row, evidence=self._verified(row, raw, answer))
        except BrokerError as error:
            logger().error("outbox:unverified-answer", message_id=str(row.id), code=error.code)
            return _Heard(row, code="bad-signature")

    def _verified(
        self, row: AnyRow | Handed, raw: bytes, answer: Submitted | Refusal
    ) -> VerifiedEvidence:
        """Evidence of our hub, about these very bytes, that says what the answer says.

        Raises:
            BadSignature: Anything else.
        """
        core = self._core
        evidence = verify_evidence(raw, core.trusted(), now=core.now())
        wanted = Fact.SUBMITTED if isinstance(answer, Submitted) else Fact.REFUSED
        if evidence.content.by != core.settings.hub.id or not any(
            stated.fact is wanted and stated.envelope == row.id and stated.digest == row.digest
            for stated in evidence.content.facts
        ):
            raise BadSignature("evidence of something else")
        return evidence

    async def _record(self, heard: Sequence[_Heard]) -> None:
        """Keep all answers in one transaction."""
        if not heard:
            return
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            good = [item for item in heard if item.evidence is not None]
            told = await self._book.keep(
                connection, [item.evidence for item in good if item.evidence]
            )
            complained = [item.row.id for item in good if item.row.attempts > 3]
            if complained:
                await clear_alarms_of(connection, complained, "unsigned-refusal", now=now)
            for item in heard:
                if item.evidence is not None:
                    continue
                if now >= item.row.hard_stop_at:
                    await self._give_up(connection, item.row, item.code)
                    continue
                if item.code is not None and not item.hub_away and item.row.attempts == 3:
                    await raise_alarm(connection, "unsigned-refusal", item.row.id, now=now)
                # While the hub is away its own back-off rules, so that nothing waits longer for it.
                delay = timedelta() if item.hub_away else self._delay(item.row.attempts)
                await store.postpone(connection, item.row.id, now + delay)
        core.news.tell(told)

    async def _give_up(self, connection: Any, row: AnyRow | Handed, code: str | None) -> None:
        # The hub's receipt may have come over the other channel in the meantime: that stands.
        if await store.give_up(connection, row.id, code=code or "unavailable"):
            now = self._core.now()
            await raise_alarm(connection, "send-failed", row.id, now=now)
            # It may have been accepted, and the answer lost: the hub is asked when it can be.
            doubtful = {"message": row.id, "since": now}
            await upsert(connection, doubt, doubtful, key=("message",))

    # --- time ---------------------------------------------------------------------------------

    def _delay(self, attempts: int) -> timedelta:
        """Back-off of one message: doubles, has a ceiling, and is spread by half."""
        settings = self._core.settings.send
        longest = settings.longest_retry.total_seconds()
        base = min(settings.first_retry.total_seconds() * 2 ** min(attempts - 1, 20), longest)
        return timedelta(seconds=base * random.uniform(0.5, 1.0))  # noqa: S311 (spreads load)

    def _pause(self) -> timedelta:
        """Back-off of the whole hub; short at first, for a restart, and capped."""
        seconds = min(0.25 * 2 ** min(self._hub_failures, 10), 5.0)
        return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311

    async def _retry(self, work: Any) -> int:
        while True:
            try:
                return await work() or 0
            except Unavailable as error:
                logger().warning("outbox:waits", code=error.code)
                await asyncio.sleep(1.0)
