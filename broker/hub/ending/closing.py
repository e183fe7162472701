"""Ending an envelope's way before it was handed over: stopped or expired.

The sender gets evidence with the code; the recipient gets a tombstone, which closes the stream
number and gives no reason; the sealed bytes and attachments are destroyed. A fact that the
recipient states later (it had it after all) outranks ours: see `schemas.evidence.PRECEDENCE`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.log.testimony import testify
from broker.hub.state import Hub
from broker.hub.store import attachments, deliveries, envelopes, evidence, payload
from broker.hub.store.envelopes import Stored
from schemas.audit import Event
from schemas.base import b64u
from schemas.envelope import NEVER_HELD_BACK, Lane
from schemas.errors import ConsentWithdrawn
from schemas.evidence import MAX_FACTS, Fact, FactStatement, StoreErasure

EVENTS = {
    Fact.STOPPED: Event.ENVELOPE_STOPPED,
    Fact.EXPIRED: Event.ENVELOPE_EXPIRED,
    Fact.TOMBSTONE: Event.ENVELOPE_STOPPED,
    Fact.UNDELIVERED: Event.ENVELOPE_UNDELIVERED,
    Fact.OVERDUE: Event.ENVELOPE_UNDELIVERED,
    Fact.ERASED: Event.CASE_ERASED,
    Fact.RELAYED: Event.ENVELOPE_RELAYED,
}


async def stop_waiting(
    hub: Hub,
    connection: AsyncConnection,
    grants: Sequence[UUID],
    *,
    scopes: frozenset[str] | None,
    now: datetime,
) -> set[str]:
    """Stop what waits under grants that were withdrawn, or under the scopes taken back.

    Files are destroyed whether their envelopes wait or were handed over: who has not fetched one
    yet must not get it any more.

    Returns:
        Whom to wake after the commit.
    """
    hub.withdrawn.add(grants)
    await attachments.unlink_under(connection, grants, scopes=scopes)
    waiting = await deliveries.take_waiting_under(connection, grants, now)
    if not waiting:
        return set()
    found = await envelopes.load(connection, waiting, lock=True)
    stopped = [
        one
        for one in found.values()
        if one.header.kind not in NEVER_HELD_BACK and (scopes is None or one.header.scopes & scopes)
    ]
    codes = {one.id: ConsentWithdrawn.code for one in stopped}
    return await close(hub, connection, stopped, Fact.STOPPED, codes=codes, now=now)


async def close(
    hub: Hub,
    connection: AsyncConnection,
    items: Sequence[Stored],
    fact: Fact,
    *,
    codes: dict[UUID, str],
    now: datetime,
) -> set[str]:
    """End these envelopes' way with `stopped` or `expired`.

    Returns:
        Whom to wake after the commit.
    """
    if not items:
        return set()
    ids = [one.id for one in items]
    woken = await announce(hub, connection, items, fact, codes=codes, now=now)
    woken |= await _tombstones(hub, connection, items, now)
    await envelopes.set_standing(connection, ids, fact, at=now, check_at=None)
    await deliveries.done_with(connection, ids)
    await payload.forget(connection, ids)
    await attachments.unlink(connection, ids)
    for one in items:
        hub.metrics.stopped.labels(codes.get(one.id, fact.value)).inc()
    return woken


async def announce(
    hub: Hub,
    connection: AsyncConnection,
    items: Sequence[Stored],
    fact: Fact,
    *,
    codes: dict[UUID, str],
    now: datetime,
    erasures: tuple[StoreErasure, ...] = (),
) -> set[str]:
    """State a fact about envelopes to their senders: signed, recorded, queued."""
    by_sender: dict[tuple[str, Lane], list[Stored]] = defaultdict(list)
    for one in items:
        by_sender[one.header.sender, one.header.lane].append(one)
    for (sender, lane), theirs in by_sender.items():
        for some in _at_most(theirs, MAX_FACTS):
            statements = [
                FactStatement(
                    fact=fact,
                    envelope=one.id,
                    digest=b64u(one.digest),
                    at=now,
                    code=codes.get(one.id),
                    erasures=erasures,
                )
                for one in some
            ]
            await send(hub, connection, statements, to=sender, lane=lane, now=now)
    return {sender for sender, _ in by_sender}


async def _tombstones(
    hub: Hub, connection: AsyncConnection, items: Sequence[Stored], now: datetime
) -> set[str]:
    by_recipient: dict[tuple[str, str, Lane], list[Stored]] = defaultdict(list)
    for one in items:
        header = one.header
        # A tombstone closes a number of one stream, so no two senders share one.
        by_recipient[header.recipient, header.sender, header.lane].append(one)
    for (recipient, _, lane), theirs in by_recipient.items():
        for some in _at_most(theirs, MAX_FACTS):
            statements = [
                FactStatement(
                    fact=Fact.TOMBSTONE,
                    envelope=one.id,
                    digest=b64u(one.digest),
                    at=now,
                    stream_number=one.stream_number,
                )
                for one in some
            ]
            await send(hub, connection, statements, to=recipient, lane=lane, now=now)
    return {recipient for recipient, _, _ in by_recipient}


async def send(
    hub: Hub,
    connection: AsyncConnection,
    statements: Sequence[FactStatement],
    *,
    to: str,
    lane: Lane,
    now: datetime,
) -> None:
    """Sign facts of one kind for one participant, record them, and queue them for it."""
    fact = statements[0].fact
    testimony = testify(hub, statements, to=to, event=EVENTS[fact], now=now)
    await evidence.record(connection, [testimony.row])
    await envelopes.add_facts(
        connection,
        [
            {
                "envelope_id": one.envelope,
                "evidence_id": testimony.id,
                "fact": one.fact.value,
                "at": one.at,
                "code": one.code,
            }
            for one in statements
        ],
    )
    await deliveries.insert_many(
        connection,
        [
            {
                "recipient": to,
                "lane": lane.value,
                "item": deliveries.EVIDENCE_ITEM,
                "object_id": testimony.id,
                "grant_id": None,
                "due_at": now,
            }
        ],
    )


def _at_most(items: Iterable[Stored], count: int) -> Iterator[list[Stored]]:
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some
