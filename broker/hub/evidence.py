"""What comes back: a gateway's evidence, matched to what went out, recorded and passed on.

Only a signature makes a fact: a forged rejection changes nothing. Only the recipient can state
what happened to an envelope at its end, only to its sender, only about the very bytes. The
strongest fact stands, in whatever order they arrive (`schemas.evidence.PRECEDENCE`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.grouping import Group
from broker.hub.intake.limiting import Limiter
from broker.hub.intake.refusals import quarantine
from broker.hub.log.testimony import recorded
from broker.hub.state import Hub
from broker.hub.store import deliveries, envelopes, evidence
from broker.hub.store.deliveries import EVIDENCE_ITEM, Item
from broker.hub.store.envelopes import RANK, Subject
from broker.hub.store.tables import FACT
from broker.hub.store.writing import Writing
from keys.signing import verify_evidence
from schemas.audit import Event
from schemas.base import unb64u
from schemas.envelope import Lane
from schemas.errors import (
    BadSignature,
    BrokerError,
    Conflict,
    Forbidden,
    KeyUnknown,
    NotFound,
    RateLimited,
)
from schemas.evidence import GATEWAY_FACTS, Evidence, Fact, FactStatement, VerifiedEvidence

FINAL = frozenset({Fact.DELIVERED, Fact.FILED, Fact.READ, Fact.FAILED, Fact.REFUSED})
"""Facts after which there is nothing more to hand over."""


async def _verified(hub: Hub, raw: bytes) -> VerifiedEvidence:
    now = hub.clock.now()
    directory = hub.directory.current()
    try:
        verified = verify_evidence(raw, directory, now=now)
    except KeyUnknown:
        hub.metrics.strangers.labels(KeyUnknown.code).inc()
        raise
    except BadSignature as error:
        await quarantine(hub, raw, error)
        raise
    content = verified.content
    author = directory.participant(content.by)
    if author is None or author.suspended or content.by == hub.id:
        raise Forbidden
    if not {one.fact for one in content.facts} <= GATEWAY_FACTS:
        raise Forbidden("a fact that only the hub can state", where=("facts",))
    if content.to is not None and directory.participant(content.to) is None:
        raise NotFound(where=("to",))
    hub.require_log()
    return verified


class EvidenceIntake:
    """Takes evidence. One per process; `run` must be running."""

    def __init__(self, hub: Hub, limiter: Limiter) -> None:
        self._hub = hub
        self._limiter = limiter
        limits = hub.settings.limits
        self._group: Group[VerifiedEvidence, BrokerError | None] = Group(
            self._commit, most=limits.batch, waiting=limits.waiting
        )

    async def receive(self, raw: bytes) -> None:
        """Record a gateway's evidence and queue it for the envelopes' sender; durable on return.

        The same evidence again changes nothing. Facts about envelopes that the hub does not know,
        or has forgotten, are accepted without effect.

        Raises:
            KeyUnknown, KeyRevoked, BadSignature, MalformedJson, SchemaRefused, TooLarge: Not
                evidence by whom it says.
            Forbidden: A fact that is not this participant's to state.
            NotFound: To nobody in the directory.
            Conflict: About other bytes than were accepted, or an id that was used before.
            RateLimited: Too many that are about nothing that the hub knows. What is about an
                envelope of the hub's is never limited.
            Unavailable: Send it again later.
        """
        verified = await _verified(self._hub, raw)
        error = await self._group.put(verified)
        if error is not None:
            raise error

    async def run(self) -> None:
        """Record what is received, for ever."""
        await self._group.run()

    async def _commit(self, batch: Sequence[VerifiedEvidence]) -> list[BrokerError | None]:
        """All of a batch in one transaction; what is wrong with each, if anything is."""
        hub = self._hub
        errors: list[BrokerError | None] = []
        good: dict[UUID, VerifiedEvidence] = {}
        async with hub.database.begin() as connection:
            known, found, on_amqp = await envelopes.about(
                connection,
                evidence={one.content.id for one in batch},
                subjects={fact.envelope for one in batch for fact in one.content.facts},
                readers={one.content.to for one in batch if one.content.to is not None},
            )
            for one in batch:
                content = one.content
                before = known.get(content.id)
                try:
                    if before is None:
                        _check(content, found)
                        self._in_rate(content, found)
                        known[content.id], good[content.id] = one.raw, one
                    elif before != one.raw:
                        raise Conflict("evidence id")
                    errors.append(None)
                except BrokerError as error:
                    errors.append(error)
            at_once = on_amqp if hub.direct is not None and hub.direct.is_open() else frozenset()
            woken, claimed = await _record(hub, connection, list(good.values()), found, at_once)
            await hub.wake.elsewhere(connection, woken)
        if hub.direct is not None:
            hub.direct.hand_over(claimed)
        hub.wake.here(woken)
        hub.sequencer.wake()
        return errors

    def _in_rate(self, content: Evidence, found: Mapping[UUID, Subject]) -> None:
        if _about_known(content, found) or self._limiter.unknown_evidence(content.by):
            return
        raise RateLimited


async def _record(
    hub: Hub,
    connection: AsyncConnection,
    batch: Sequence[VerifiedEvidence],
    found: Mapping[UUID, Subject],
    at_once: Collection[str],
) -> tuple[set[str], list[Item]]:
    """Write the batch.

    Args:
        at_once: Whose evidence is claimed here, to be handed over right after the commit.

    Returns:
        Whom to wake after the commit, and what was claimed.
    """
    now = hub.clock.now()
    writing = Writing()
    rows: dict[UUID, dict[str, Any]] = {}
    strongest: dict[UUID, Fact] = {}
    woken: set[str] = set()
    for one in batch:
        content = one.content
        testimony = recorded(hub, content, one.raw, event=Event.EVIDENCE_RECEIVED, now=now)
        evidence.add(writing, [testimony.row])
        known = _about_known(content, found)
        unique = {(fact.envelope, fact.fact): fact for fact in known}
        writing.insert(
            FACT,
            [
                {
                    "envelope_id": fact.envelope,
                    "evidence_id": content.id,
                    "fact": fact.fact.value,
                    "at": fact.at,
                    "code": fact.code,
                }
                for fact in unique.values()
            ],
        )
        for fact in known:
            stands = strongest.get(fact.envelope, fact.fact)
            if fact.fact in FINAL and RANK[fact.fact] <= RANK[stands]:
                strongest[fact.envelope] = fact.fact
        # Nothing ties facts about unknown envelopes to whom they are addressed: alone, they are
        # recorded and go to nobody, or anybody could fill anybody's mailbox.
        if content.to is None or not known:
            continue
        urgent = any(found[fact.envelope].lane is Lane.URGENT for fact in known)
        rows[content.id] = row = deliveries.queued(
            recipient=content.to,
            lane=Lane.URGENT if urgent else Lane.ROUTINE,
            item=EVIDENCE_ITEM,
            object_id=content.id,
            due_at=now,
        )
        if hub.direct is not None and content.to in at_once:
            row |= {"due_at": hub.direct.leased_until(now), "attempts": 1}
        else:
            woken.add(content.to)
    if strongest:
        keep = now + timedelta(days=hub.settings.retention.ciphertext_days)
        writing.change(envelopes.standing_of_many(strongest, at=now, check_at=keep))
        writing.change(deliveries.none_left_of(sorted(strongest)))
    numbers = await deliveries.send(connection, writing, list(rows.values()))
    return woken, [
        Item(
            numbers[one.content.id], to, Lane(rows[one.content.id]["lane"]), EVIDENCE_ITEM, one.raw
        )
        for one in batch
        if one.content.id in rows and (to := one.content.to) in at_once and to is not None
    ]


def _about_known(content: Evidence, found: Mapping[UUID, Subject]) -> list[FactStatement]:
    """The facts that count: those about envelopes that the hub knows.

    An erasure may be attested, or a message opened, long after the hub has forgotten the envelope.
    That must not cost the rest of the evidence its effect.
    """
    return [fact for fact in content.facts if fact.envelope in found]


def _check(content: Evidence, found: Mapping[UUID, Subject]) -> None:
    for one in _about_known(content, found):
        envelope = found[one.envelope]
        if envelope.recipient != content.by:
            raise Forbidden("not addressed to who states this", where=("facts.envelope",))
        if content.to not in (None, envelope.sender):
            raise Forbidden("evidence goes to the sender", where=("to",))
        if unb64u(one.digest) != envelope.digest:
            raise Conflict("about other bytes", where=("facts.digest",))
