"""What comes back: a gateway's evidence, matched to what went out, recorded and passed on.

Only a signature makes a fact: a forged rejection changes nothing. Only the recipient can state
what happened to an envelope at its end, only to its sender, only about the very bytes. The
strongest fact stands, in whatever order they arrive (`schemas.evidence.PRECEDENCE`).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.refusals import quarantine
from broker.hub.state import Hub
from broker.hub.store import deliveries, envelopes, evidence
from broker.hub.store.envelopes import Stored
from broker.hub.testimony import recorded
from keys.signing import verify_evidence
from schemas.audit import Event
from schemas.base import unb64u
from schemas.envelope import Lane
from schemas.errors import BadSignature, Conflict, Forbidden, KeyUnknown, NotFound
from schemas.evidence import GATEWAY_FACTS, Evidence, Fact, VerifiedEvidence

FINAL = frozenset({Fact.DELIVERED, Fact.FILED, Fact.READ, Fact.FAILED, Fact.REFUSED})
"""Facts after which there is nothing more to hand over."""


async def receive(hub: Hub, raw: bytes) -> None:
    """Record a gateway's evidence and queue it for the envelopes' sender; durable on return.

    The same evidence again changes nothing.

    Raises:
        KeyUnknown, KeyRevoked, BadSignature, MalformedJson, SchemaRefused, TooLarge: Not evidence
            by whom it says.
        Forbidden: A fact that is not this participant's to state.
        NotFound: About an envelope that was never accepted.
        Conflict: About other bytes than were accepted, or an id that was used before.
        Unavailable: Send it again later.
    """
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
    woken: set[str] = set()
    try:
        async with hub.database.begin() as connection:
            if await _is_repeated(connection, content, raw):
                return
            woken = await _record(hub, connection, verified)
            await hub.wake.elsewhere(connection, woken)
    except IntegrityError:
        # The same evidence came twice at once; the other one was first.
        async with hub.database.begin() as connection:
            if await _is_repeated(connection, content, raw):
                return
        raise
    hub.wake.here(woken)
    hub.sequencer.wake()


async def _is_repeated(connection: AsyncConnection, content: Evidence, raw: bytes) -> bool:
    before = (await evidence.raw_of(connection, [content.id])).get(content.id)
    if before is None:
        return False
    if before != raw:
        raise Conflict("evidence id")
    return True


async def _record(hub: Hub, connection: AsyncConnection, verified: VerifiedEvidence) -> set[str]:
    content = verified.content
    now = hub.clock.now()
    ids = {one.envelope for one in content.facts}
    found = await envelopes.load(connection, ids, lock=True)
    _check(content, found)
    testimony = recorded(hub, content, verified.raw, event=Event.EVIDENCE_RECEIVED, now=now)
    await evidence.record(connection, [testimony.row])
    unique = {(one.envelope, one.fact): one for one in content.facts}
    await envelopes.add_facts(
        connection,
        [
            {
                "envelope_id": one.envelope,
                "evidence_id": content.id,
                "fact": one.fact.value,
                "at": one.at,
                "code": one.code,
            }
            for one in unique.values()
        ],
    )
    await _settle(hub, connection, content)
    if content.to is None:
        return set()
    urgent = any(one.header.lane is Lane.URGENT for one in found.values())
    await deliveries.insert_many(
        connection,
        [
            {
                "recipient": content.to,
                "lane": (Lane.URGENT if urgent else Lane.ROUTINE).value,
                "item": deliveries.EVIDENCE_ITEM,
                "object_id": content.id,
                "grant_id": None,
                "due_at": now,
            }
        ],
    )
    return {content.to}


def _check(content: Evidence, found: dict[UUID, Stored]) -> None:
    for one in content.facts:
        envelope = found.get(one.envelope)
        if envelope is None:
            # An erasure may be attested long after the hub has forgotten the envelope.
            if one.fact is Fact.ERASED:
                continue
            raise NotFound(where=("facts.envelope",))
        if envelope.header.recipient != content.by:
            raise Forbidden("not addressed to who states this", where=("facts.envelope",))
        if content.to not in (None, envelope.header.sender):
            raise Forbidden("evidence goes to the sender", where=("to",))
        if unb64u(one.digest) != envelope.digest:
            raise Conflict("about other bytes", where=("facts.digest",))


async def _settle(hub: Hub, connection: AsyncConnection, content: Evidence) -> None:
    now = hub.clock.now()
    by_fact: dict[Fact, list[UUID]] = defaultdict(list)
    for one in content.facts:
        if one.fact in FINAL:
            by_fact[one.fact].append(one.envelope)
    keep = timedelta(days=hub.settings.retention.ciphertext_days)
    for fact, ids in by_fact.items():
        await envelopes.set_standing(connection, ids, fact, at=now, check_at=now + keep)
    settled = sorted({one for ids in by_fact.values() for one in ids})
    if settled:
        await deliveries.done_with(connection, settled)
