"""What stated facts are judged by, in as few journeys to the database as its promises allow.

A receipt is the commonest thing that arrives, and who waits for it waits for each journey. So on
PostgreSQL two statements do what would be six, and SQLite, which has no network between, gets the
six. Two and not one: what stands is read only when the messages are locked, or of two evidences
at once each would miss the facts of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.store.alarms import alarmed
from broker.gateway.store.bulk import among, batches, padded
from broker.gateway.store.lookup import given
from broker.gateway.store.outbox import lock_many
from broker.gateway.store.tables import evidence, fact, thread
from broker.gateway.store.together import insert_missing


class Ours(NamedTuple):
    """A message of ours, locked; as much of it as facts about it are judged by."""

    id: UUID
    digest: str
    recipient: str
    state: str
    grant: UUID | None
    thread: UUID
    kind: str
    position: int


class Known(NamedTuple):
    """A fact that was stated before."""

    envelope: UUID
    fact: str
    by: str
    code: str | None
    at: datetime
    evidence: UUID


class Exchange(NamedTuple):
    """The row of a thread, locked."""

    id: UUID
    machine: str
    state: str
    partner: str
    role: str
    case_ref: str
    business_id: UUID
    signed_by_sender: bool
    signed_by_recipient: bool
    heard: UUID | None
    opener: str | None


@dataclass(frozen=True, slots=True)
class Before:
    """What was known of some messages before."""

    facts: list[Known]
    alarmed: list[UUID]
    """Those about which there is an open alarm."""
    exchanges: list[Exchange]
    """The threads that were asked for."""


_ARRIVED = f"""
WITH new AS (
    INSERT INTO evidence (id, by, raw, received_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[])
    ON CONFLICT DO NOTHING RETURNING id
), ours AS (
    SELECT id, digest, recipient, state, "grant", thread, kind, position FROM outbox
    WHERE id = ANY({given(5, "uuid")}) AND (SELECT count(*) FROM new) > 0 ORDER BY id FOR UPDATE
)
SELECT (SELECT array_agg(id) FROM new), (SELECT array_agg(ours) FROM ours)
"""  # noqa: S608 (our own words)
"""The messages are locked after the evidence is in, and only if any of it is new: of two that bring
the same evidence at once, the second waits here and holds nothing."""

_BEFORE = f"""
SELECT
    (SELECT array_agg(ROW(envelope, fact, by, code, at, evidence)) FROM fact
        WHERE envelope = ANY({given(1, "uuid")})),
    (SELECT array_agg(DISTINCT about::uuid) FROM alarm
        WHERE about = ANY({given(2, "text")}) AND cleared_at IS NULL),
    (SELECT array_agg(locked) FROM (SELECT {", ".join(Exchange._fields)} FROM thread
        WHERE id = ANY({given(3, "uuid")}) ORDER BY id FOR UPDATE) AS locked)
"""  # noqa: S608 (our own names)


async def keep_new(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], messages: Sequence[UUID]
) -> tuple[set[UUID], dict[UUID, Ours]]:
    """Insert the evidence that is not here yet, and lock the messages that it is about.

    Args:
        rows: Of the table `evidence`, sorted by id.

    Returns:
        The ids of what is new, and the messages that are ours; none if nothing is new.
    """
    if not rows:
        return set(), {}
    if connection.dialect.name == "postgresql":
        columns = [[row[name] for row in rows] for name in ("id", "by", "raw", "received_at")]
        [found] = await fetch(connection, _ARRIVED, (*columns, sorted(messages)))
        return set(found[0] or ()), {one[0]: Ours(*one) for one in found[1] or ()}
    new = {key for (key,) in await insert_missing(connection, evidence, rows)}
    locked = await lock_many(connection, messages) if new else {}
    return new, {key: Ours(*row) for key, row in locked.items()}


async def before(
    connection: AsyncConnection, messages: Sequence[UUID], threads: Sequence[UUID]
) -> Before:
    """What was stated of these messages before, and what a person was alarmed about.

    Args:
        threads: Locked in the order of their ids, so that two batches never wait in a ring.
    """
    if connection.dialect.name == "postgresql":
        arguments = (list(messages), [str(message) for message in messages], list(threads))
        [found] = await fetch(connection, _BEFORE, arguments)
        return Before(
            [Known(*one) for one in found[0] or ()],
            list(found[1] or ()),
            [Exchange(*one) for one in found[2] or ()],
        )
    facts: list[Known] = []
    for batch in batches(messages):
        rows = await connection.execute(_STATED, {"ids": padded(batch)})
        facts += [Known(*row) for row in rows]
    exchanges: list[Exchange] = []
    for batch in batches(threads):
        rows = await connection.execute(_EXCHANGES, {"ids": padded(batch)})
        exchanges += map(Exchange._make, rows)
    return Before(facts, await alarmed(connection, messages), exchanges)


_STATED = select(
    fact.c.envelope, fact.c.fact, fact.c.by, fact.c.code, fact.c.at, fact.c.evidence
).where(among(fact.c.envelope))
_EXCHANGES = select(*(thread.c[name] for name in Exchange._fields)).where(among(thread.c.id))
