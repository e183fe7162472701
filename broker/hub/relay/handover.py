"""Taking what is due for one participant, with the rules asked again: step 7, on both channels.

Between acceptance and hand-over a consent may have been withdrawn, an agreement suspended, a key
revoked, a participant removed. What may not travel any more is stopped here, with evidence to the
sender and a tombstone to the recipient, in the transaction that claims.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.ending.closing import close
from broker.hub.log.testimony import testify
from broker.hub.state import Hub
from broker.hub.store import deliveries, envelopes, evidence
from broker.hub.store.decisive import rules
from broker.hub.store.deliveries import Claim, Item
from broker.hub.store.envelopes import Stored
from broker.hub.store.writing import Writing
from broker.rules.header import AT_HANDOVER, Question, judge
from schemas.audit import Event
from schemas.base import b64u
from schemas.envelope import NEVER_HELD_BACK, Lane
from schemas.errors import Expired, Unavailable
from schemas.evidence import MAX_FACTS, Fact, FactStatement


async def take(hub: Hub, *, recipient: str, lane: Lane, limit: int, lease: timedelta) -> list[Item]:
    """Claim what is due for one participant's lane, and stop what may not travel any more.

    While the log cannot be written, only evidence, withdrawals and safety alerts are given out.

    Returns:
        At most `limit` items, oldest first, claimed until the lease ends; committed.
    """

    async def claim(connection: AsyncConnection, now: datetime) -> list[Claim]:
        return await deliveries.claim_due(
            connection, recipient=recipient, lane=lane.value, now=now, lease=lease, limit=limit
        )

    return await take_claimed(hub, claim)


async def take_claimed(
    hub: Hub, claim: Callable[[AsyncConnection, datetime], Awaitable[Sequence[Claim]]]
) -> list[Item]:
    """The same for whatever `claim` claims in the transaction that it is given."""
    now = hub.clock.now()
    recording = hub.sequencer.healthy(now)
    async with hub.database.begin() as connection:
        claims = await claim(connection, now)
        if not claims:
            return []
        items, woken = await _cleared(hub, connection, claims, now, recording=recording)
        await hub.wake.elsewhere(connection, woken)
    hub.wake.here(woken)
    return items


async def _cleared(
    hub: Hub,
    connection: AsyncConnection,
    claims: Sequence[Claim],
    now: datetime,
    *,
    recording: bool,
) -> tuple[list[Item], set[str]]:
    of_envelopes = [one for one in claims if one.item == deliveries.ENVELOPE_ITEM]
    of_evidence = [one for one in claims if one.item == deliveries.EVIDENCE_ITEM]
    found = {one.object_id: one.envelope for one in of_envelopes if one.envelope is not None}
    raw = {one.object_id: one.evidence for one in of_evidence if one.evidence is not None}
    if wanted := [one.object_id for one in of_envelopes if one.envelope is None]:
        found |= await envelopes.load(connection, wanted)
    if wanted := [one.object_id for one in of_evidence if one.evidence is None]:
        raw |= await evidence.raw_of(connection, wanted)
    codes = await _judge_again(hub, connection, list(found.values()), now)
    woken: set[str] = set()
    for fact in (Fact.STOPPED, Fact.EXPIRED):
        ended = [
            one for one in found.values() if codes.get(one.id) and _fact(codes[one.id]) is fact
        ]
        if recording:
            woken |= await close(hub, connection, ended, fact, codes=codes, now=now)
    # Under a withdrawal that is not recorded yet they are skipped: recording it closes them.
    given = {one.id for one in found.values() if one.id not in codes and not _is_stopped(hub, one)}
    for one in found.values():
        raw_envelope = one.raw
        if raw_envelope is None or one.id not in given:
            continue
        if recording or one.header.kind in NEVER_HELD_BACK:
            raw[one.id] = raw_envelope
    # Forgotten meanwhile: nothing to hand over any more.
    gone = [
        one.id
        for one in claims
        if one.object_id not in raw
        and (one.object_id not in found or found[one.object_id].raw is None)
    ]
    await deliveries.done(connection, gone)
    first = [
        found[one.object_id]
        for one in of_envelopes
        if one.attempts == 1 and one.object_id in raw and recording
    ]
    writing = Writing()
    relayed(hub, writing, [(one.id, one.digest) for one in first], now)
    await writing.send(connection)
    return [
        Item(one.id, one.recipient, Lane(one.lane), one.item, raw[one.object_id])
        for one in claims
        if one.object_id in raw
    ], woken


def _is_stopped(hub: Hub, one: Stored) -> bool:
    header = one.header
    return header.kind not in NEVER_HELD_BACK and hub.stops.stops(header.grant, header.scopes)


def _fact(code: str) -> Fact:
    return Fact.EXPIRED if code == Expired.code else Fact.STOPPED


async def _judge_again(
    hub: Hub, connection: AsyncConnection, items: Sequence[Stored], now: datetime
) -> dict[UUID, str]:
    """The first code that refuses, for each envelope that may not travel any more."""
    if not items:
        return {}
    directory = hub.directory.current()
    asked = await rules(
        connection,
        agreed={one.header.agreement for one in items if one.header.agreement},
        granted={one.header.grant for one in items if one.header.grant},
    )
    if hub.directory.is_behind(asked.newest):
        raise Unavailable("a newer directory is on its way")
    codes: dict[UUID, str] = {}
    for one in items:
        header = one.header
        key = directory.key(one.signed_by)
        found = judge(
            Question(
                header=header,
                sender=directory.participant(header.sender),
                recipient=directory.participant(header.recipient),
                signing_key=key[1] if key else None,
                agreement=asked.agreements.get(header.agreement) if header.agreement else None,
                grant=asked.grants.get(header.grant) if header.grant else None,
                now=now,
            ),
            AT_HANDOVER,
        )
        if found:
            codes[one.id] = Expired.code if Expired.code in found else found[0]
    return codes


def relayed(hub: Hub, writing: Writing, items: Sequence[tuple[UUID, bytes]], now: datetime) -> None:
    """Record that these were handed over: one evidence for many, for the log alone.

    Args:
        items: Envelopes, each with its digest.
    """
    for start in range(0, len(items), MAX_FACTS):
        facts = [
            FactStatement(fact=Fact.RELAYED, envelope=envelope, digest=b64u(digest), at=now)
            for envelope, digest in items[start : start + MAX_FACTS]
        ]
        testimony = testify(hub, facts, to=None, event=Event.ENVELOPE_RELAYED, now=now)
        evidence.add(writing, [testimony.row])
