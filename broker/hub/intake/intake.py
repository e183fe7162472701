"""From bytes to an accepted envelope: steps 4 to 6 in the life of a referral.

1. Parse strictly.
2. Verify: the key, whose it is, the signature.
3. The participant's rate, unless nothing may hold this kind back.
4. The log can be written; a withdrawal that cannot be recorded stops its grant all the same.
5. Wait for the batch: repetition, rules and record, one transaction for up to 128 submissions
   (`broker.hub.intake.acceptance`). The caller hears of it when it is durable.

What fails at 1 or 2 comes from nobody we know, or from somebody who pretends: `broker.hub.intake.refusals`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from broker.hub.grouping import Group
from broker.hub.intake.acceptance import Outcome, Rejection, Submission, accept
from broker.hub.intake.limiting import Limiter
from broker.hub.intake.refusals import refuse_parsed, refuse_unparsed
from broker.hub.intake.stops import Stop
from broker.hub.state import Hub
from broker.hub.store import grants
from broker.rules.header import Question, header_of, withdrawal_is_theirs, withdrawal_only_narrows
from broker.telemetry import logger
from keys.signing import parse_envelope, verify_envelope
from schemas.envelope import NEVER_HELD_BACK, Kind, VerifiedEnvelope
from schemas.errors import (
    BadSignature,
    BrokerError,
    KeyRevoked,
    KeyUnknown,
    LogUnavailable,
    RateLimited,
    Refused,
    StorageUnavailable,
    SuiteRefused,
    Unavailable,
)

RECOVERY_SECONDS = 1.0


class Intake:
    """Takes envelopes. One per process; `run` must be running."""

    def __init__(self, hub: Hub, limiter: Limiter) -> None:
        self._hub = hub
        self._limiter = limiter
        limits = hub.settings.limits
        self._group: Group[Submission | Rejection, Outcome] = Group(
            self._commit, most=limits.batch, waiting=limits.waiting
        )

    async def submit(self, raw: bytes) -> Outcome:
        """Take one envelope as it came.

        Returns:
            What was decided, durable, with the hub's signed evidence of it.

        Raises:
            Refused: Unsigned, to somebody whose signature we could not check, or a rate limit.
            Suspect: Quarantined.
            Unavailable: Nothing was decided; the same bytes may come again.
        """
        hub = self._hub
        started = time.perf_counter()
        directory = hub.directory.current()
        now = hub.clock.now()
        try:
            sealed = parse_envelope(raw)  # 1
        except (Refused, BadSignature) as error:
            refused = await refuse_unparsed(hub, raw, error)
            return await self._decide_limited(refused)
        try:
            envelope = verify_envelope(sealed, directory, now=now)  # 2
        except KeyUnknown:
            hub.metrics.strangers.labels(KeyUnknown.code).inc()
            raise
        except (BadSignature, SuiteRefused, KeyRevoked) as error:
            return await self._decide_limited(await refuse_parsed(hub, sealed, error))
        held_back = envelope.content.kind not in NEVER_HELD_BACK
        if held_back and not self._limiter.envelope(envelope.content.from_):  # 3
            hub.metrics.refused.labels(RateLimited.code).inc()
            raise RateLimited
        outcome = await self._decide(Submission(envelope, header_of(envelope.content)))
        if outcome.error is None and not outcome.repeated:
            hub.metrics.accept_seconds.observe(time.perf_counter() - started)
        return outcome

    async def _decide_limited(self, refused: Rejection) -> Outcome:
        """Sign and record a refusal that needs no rules, at the participant's rate.

        Raises:
            RateLimited: Each such refusal is kept for years; that was one too many.
        """
        if not self._limiter.refusal(refused.sender):
            self._hub.metrics.refused.labels(RateLimited.code).inc()
            raise RateLimited
        return await self._decide(refused)

    async def _decide(self, submission: Submission | Rejection) -> Outcome:
        """Steps 4 and 5."""
        withdrawal = (
            submission.envelope
            if isinstance(submission, Submission) and submission.header.kind is Kind.WITHDRAWAL
            else None
        )
        try:
            self._hub.require_log()  # 4
        except LogUnavailable:
            if withdrawal is not None:
                await self._stop_unrecorded(withdrawal)
            raise
        try:
            return await self._enqueue(submission)  # 5
        except Unavailable:
            if withdrawal is not None:
                await self._stop_unrecorded(withdrawal)
            raise

    async def _enqueue(self, submission: Submission | Rejection) -> Outcome:
        held_back = (
            isinstance(submission, Rejection) or submission.header.kind not in NEVER_HELD_BACK
        )
        # A withdrawal passes everything that waits: what it stops must not slip in before it.
        return await self._group.put(submission, urgent=not held_back)

    async def run(self) -> None:
        """Decide on what is submitted, for ever."""
        await self._group.run()

    async def _commit(self, batch: Sequence[Submission | Rejection]) -> list[Outcome]:
        self._hub.metrics.batch.observe(len(batch))
        return await accept(self._hub, batch)

    # --- while the log cannot be written ------------------------------------------------------

    async def _stop_unrecorded(self, envelope: VerifiedEnvelope) -> None:
        """Stop a grant although nothing can be recorded; see `broker.hub.intake.stops`."""
        tag = envelope.content.consent
        if tag is None:
            return
        hub = self._hub
        try:
            async with hub.database.read() as connection:
                view = (await grants.views_unlocked(connection, [tag.grant])).get(tag.grant)
            if view is None:
                return
            question = Question(
                header=header_of(envelope.content),
                sender=hub.directory.current().participant(envelope.content.from_),
                recipient=None,
                signing_key=None,
                agreement=None,
                grant=view,
                now=hub.clock.now(),
            )
            if withdrawal_is_theirs(question) or withdrawal_only_narrows(question):
                return
        except StorageUnavailable:
            # Whose grant it is cannot be asked. The signature is good; erring towards stopping
            # harms nobody for long, since recording it later asks again.
            pass
        await asyncio.to_thread(hub.stops.add, envelope.raw, tag.grant, frozenset(tag.scopes))
        logger().warning("withdrawal:stopped-unrecorded", grant_id=str(tag.grant))

    async def recover_stops(self) -> None:
        """Obey withdrawals that this or another process on the folder could not record, and record
        them as soon as that is possible; for ever."""
        hub = self._hub
        while True:
            await asyncio.to_thread(self.load_stops)
            pending = await asyncio.to_thread(hub.stops.pending)
            if pending and hub.sequencer.healthy(hub.clock.now()):
                await self._record_stops(pending)
            await asyncio.sleep(RECOVERY_SECONDS)

    async def _record_stops(self, pending: list[bytes]) -> None:
        hub = self._hub
        settled: list[bytes] = []
        for raw in pending:
            try:
                outcome = await self.submit(raw)
            except Unavailable as error:
                logger().warning("withdrawal:not-recorded-yet", code=error.code)
                break
            except BrokerError as error:
                # No longer verifiable: it was obeyed, and its sender has had no other answer.
                logger().error("withdrawal:refused-on-recovery", code=error.code)
            else:
                if outcome.error is not None:
                    logger().error("withdrawal:refused-on-recovery", code=outcome.error.code)
            settled.append(raw)
        if settled:
            await asyncio.to_thread(hub.stops.settled, settled)
            logger().info("withdrawal:recorded", count=len(settled))

    async def follow_stops(self) -> None:
        """Obey what another process of this hub could only stop; for ever."""
        while True:
            await asyncio.to_thread(self.load_stops)
            await asyncio.sleep(RECOVERY_SECONDS)

    def load_stops(self) -> None:
        """Obey what an earlier or another process of this hub could not record."""
        self._hub.stops.follow(_stop_of)


def _stop_of(raw: bytes) -> Stop | None:
    try:
        tag = parse_envelope(raw).content.consent
    except BrokerError:
        return None
    return None if tag is None else Stop(tag.grant, frozenset(tag.scopes))
