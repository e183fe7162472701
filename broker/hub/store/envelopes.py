"""Accepted envelopes: one row per id for as long as the id must be remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, null, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.hub.store import payload
from broker.hub.store.sql import AnyRow, given, one_of
from broker.hub.store.tables import ENVELOPE, EVIDENCE, FACT, GRANT, PAYLOAD, STREAM
from broker.hub.store.writing import Change
from broker.rules.header import Header
from schemas.envelope import NEVER_HELD_BACK, WIRE_VERSION, Kind, Lane
from schemas.evidence import PRECEDENCE, Fact

RANK: Mapping[Fact, int] = {fact: place for place, fact in enumerate(PRECEDENCE)}
"""How strong a fact stands; 0 is strongest. Stored as `standing`."""

OPEN = RANK[Fact.UNDELIVERED]
"""An envelope whose standing is this or weaker has no final fact yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """An id that was accepted before."""

    digest: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """One accepted envelope, as the loops need it."""

    id: UUID
    digest: bytes
    raw: bytes | None
    header: Header
    signed_by: str
    stream_number: int
    standing: Fact
    check_at: datetime | None


_ADDRESSING = (
    ENVELOPE.c.id,
    ENVELOPE.c.digest,
    ENVELOPE.c.sender,
    ENVELOPE.c.recipient,
    ENVELOPE.c.lane,
    ENVELOPE.c.kind,
    ENVELOPE.c.suite,
    ENVELOPE.c.reply,
    ENVELOPE.c.grant_id,
    ENVELOPE.c.until,
    ENVELOPE.c.agreement_id,
    ENVELOPE.c.issued_at,
    ENVELOPE.c.expires_at,
    ENVELOPE.c.signed_by,
    ENVELOPE.c.stream_number,
    ENVELOPE.c.standing,
    ENVELOPE.c.check_at,
)
_SEALED = (PAYLOAD.c.raw, PAYLOAD.c.scopes, PAYLOAD.c.to_keys)
_WITHOUT = tuple(null().label(column.name) for column in _SEALED)


def stored(row: AnyRow) -> Stored:
    """An envelope's row with its payload's, if that is still here; it may have other columns too."""
    until: date | None = row.until
    return Stored(
        id=row.id,
        digest=row.digest,
        raw=row.raw,
        header=Header(
            sender=row.sender,
            recipient=row.recipient,
            suite=row.suite,
            version=WIRE_VERSION,
            lane=Lane(row.lane),
            kind=Kind(row.kind),
            reply=row.reply,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            agreement=row.agreement_id,
            grant=row.grant_id,
            scopes=frozenset((row.scopes or "").split()),
            until=until,
            to_keys=tuple((row.to_keys or "").split()),
            # Files were judged with the scopes of the tag, which are judged again.
            attachments=False,
        ),
        signed_by=row.signed_by,
        stream_number=row.stream_number,
        standing=PRECEDENCE[row.standing],
        check_at=row.check_at,
    )


async def known(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, Known]:
    """Which of these ids were accepted before, with the evidence of that."""
    rows = await connection.execute(
        select(ENVELOPE.c.id, ENVELOPE.c.digest, EVIDENCE.c.raw)
        .join(EVIDENCE, EVIDENCE.c.id == ENVELOPE.c.evidence_id)
        .where(one_of(connection, ENVELOPE.c.id, ids))
    )
    return {row.id: Known(row.digest, row.raw) for row in rows}


StreamKey = tuple[str, str, str, str, int]
"""Sender, recipient, lane, incarnation, number."""


async def used_numbers(connection: AsyncConnection, keys: Sequence[StreamKey]) -> set[StreamKey]:
    """Which of these stream numbers were used before."""
    streams: dict[tuple[str, str, str, str], list[int]] = {}
    for key in keys:
        streams.setdefault((key[0], key[1], key[2], key[3]), []).append(key[4])
    used: set[StreamKey] = set()
    for stream, numbers in streams.items():
        sender, recipient, lane, incarnation = stream
        wide = max(numbers) - min(numbers) > 4 * len(numbers)
        taken = select(ENVELOPE.c.stream_number).where(
            ENVELOPE.c.sender == sender,
            ENVELOPE.c.recipient == recipient,
            ENVELOPE.c.lane == lane,
            ENVELOPE.c.incarnation == incarnation,
            # One range, as a rule: submissions of a batch follow each other.
            one_of(connection, ENVELOPE.c.stream_number, numbers)
            if wide
            else ENVELOPE.c.stream_number.between(min(numbers), max(numbers)),
        )
        # Below the highest number that retention folded away, all were used; said as negative.
        folded = select(-STREAM.c.highest).where(
            STREAM.c.sender == sender,
            STREAM.c.recipient == recipient,
            STREAM.c.lane == lane,
            STREAM.c.incarnation == incarnation,
        )
        found = set((await connection.execute(union_all(taken, folded))).scalars())
        highest_folded = -min(found | {0})
        used |= {
            (*stream, number) for number in numbers if number in found or number <= highest_folded
        }
    return used


async def load(
    connection: AsyncConnection, ids: Iterable[UUID], *, lock: bool = False
) -> dict[UUID, Stored]:
    """Envelopes by id; locked in id order if their standing is about to change."""
    query = (
        select(*_ADDRESSING, *_SEALED)
        .outerjoin(PAYLOAD, PAYLOAD.c.envelope_id == ENVELOPE.c.id)
        .where(one_of(connection, ENVELOPE.c.id, ids))
        .order_by(ENVELOPE.c.id)
    )
    if lock:
        query = query.with_for_update(of=ENVELOPE)
    return {row.id: stored(row) for row in await connection.execute(query)}


@dataclass(frozen=True, slots=True)
class Subject:
    """Of an envelope, what evidence about it is checked against."""

    digest: bytes
    sender: str
    recipient: str
    lane: Lane


_ABOUT = f"""
WITH subject AS (
    SELECT id, digest, sender, recipient, lane FROM envelope
    WHERE id = ANY({given(2, "uuid")}) ORDER BY id FOR NO KEY UPDATE
)
SELECT (SELECT array_agg(ROW(id, raw)) FROM evidence WHERE id = ANY({given(1, "uuid")})),
    (SELECT array_agg(subject) FROM subject),
    (SELECT array_agg(id) FROM participant WHERE id = ANY({given(3, "text")}) AND channel = 'amqp')
"""  # noqa: S608 (our own words)


async def about(
    connection: AsyncConnection,
    *,
    evidence: Iterable[UUID],
    subjects: Iterable[UUID],
    readers: Iterable[str] = (),
) -> tuple[dict[UUID, bytes], dict[UUID, Subject], frozenset[str]]:
    """Which of these evidences are known already, and the envelopes that they are about; and who
    of these readers is on RabbitMQ (on SQLite nobody is said to be).

    The envelopes are locked in id order, since their standing is about to change.
    """
    there: Iterable[str] = ()
    if connection.dialect.name == "postgresql":
        arguments = (list(evidence), list(subjects), list(readers))
        [row] = await fetch(connection, _ABOUT, arguments)
        known, found, there = row[0] or (), row[1] or (), row[2] or ()
    else:
        known = await connection.execute(
            select(EVIDENCE.c.id, EVIDENCE.c.raw).where(one_of(connection, EVIDENCE.c.id, evidence))
        )
        found = await connection.execute(
            select(*_ADDRESSING[:5]).where(one_of(connection, ENVELOPE.c.id, subjects))
        )
    return (
        {one[0]: one[1] for one in known},
        {one[0]: Subject(one[1], one[2], one[3], Lane(one[4])) for one in found},
        frozenset(there),
    )


async def due_for_check(connection: AsyncConnection, now: datetime, limit: int) -> list[Stored]:
    """Envelopes whose silence means something now, without their payload.

    Locked; another hub takes others.
    """
    rows = await connection.execute(
        select(*_ADDRESSING, *_WITHOUT)
        .where(ENVELOPE.c.check_at <= now)
        .order_by(ENVELOPE.c.check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [stored(row) for row in rows]


async def set_standing(
    connection: AsyncConnection,
    ids: Sequence[UUID],
    fact: Fact,
    *,
    at: datetime,
    check_at: datetime | None,
) -> None:
    """Let a fact stand for those of these envelopes for which nothing stronger does."""
    if ids:
        await connection.execute(
            update(ENVELOPE)
            .where(one_of(connection, ENVELOPE.c.id, ids), ENVELOPE.c.standing > RANK[fact])
            .values(standing=RANK[fact], standing_at=at, check_at=check_at)
        )


def standing_of_many(
    facts: Mapping[UUID, Fact], *, at: datetime, check_at: datetime | None
) -> Change:
    """The same for many envelopes, a fact for each."""

    async def one_by_one(connection: AsyncConnection) -> None:
        by_fact: dict[Fact, list[UUID]] = {}
        for envelope, fact in facts.items():
            by_fact.setdefault(fact, []).append(envelope)
        for fact, ids in by_fact.items():
            await set_standing(connection, ids, fact, at=at, check_at=check_at)

    return Change(
        "UPDATE envelope SET standing = u.rank, standing_at = {2}::timestamptz, "
        "check_at = {3}::timestamptz FROM unnest({0}::uuid[], {1}::smallint[]) AS u(id, rank) "
        "WHERE envelope.id = u.id AND envelope.standing > u.rank",
        (list(facts), [RANK[fact] for fact in facts.values()], at, check_at),
        one_by_one,
    )


async def look_again(
    connection: AsyncConnection, ids: Sequence[UUID], check_at: datetime | None
) -> None:
    """Set when silence about these envelopes means something next."""
    if ids:
        await connection.execute(
            update(ENVELOPE).where(one_of(connection, ENVELOPE.c.id, ids)).values(check_at=check_at)
        )


async def forget_ids(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete final envelopes that expired before a moment, folding their streams' highest numbers.

    Returns:
        How many were deleted.
    """
    rows = (
        await connection.execute(
            select(
                ENVELOPE.c.id,
                ENVELOPE.c.sender,
                ENVELOPE.c.recipient,
                ENVELOPE.c.lane,
                ENVELOPE.c.incarnation,
                ENVELOPE.c.stream_number,
            )
            .where(
                ENVELOPE.c.expires_at < before,
                ENVELOPE.c.standing < OPEN,
                ENVELOPE.c.check_at.is_(None),  # its payload went when this became so
            )
            .order_by(ENVELOPE.c.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if not rows:
        return 0
    highest: dict[tuple[str, str, str, str], int] = {}
    for row in rows:
        stream = (row.sender, row.recipient, row.lane, row.incarnation)
        highest[stream] = max(highest.get(stream, 0), row.stream_number)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for stream, number in sorted(highest.items()):
        await connection.execute(
            dialect.insert(STREAM)
            .values(
                sender=stream[0],
                recipient=stream[1],
                lane=stream[2],
                incarnation=stream[3],
                highest=number,
                folded_at=before,
            )
            .on_conflict_do_update(
                index_elements=["sender", "recipient", "lane", "incarnation"],
                set_={"highest": number, "folded_at": before},
                where=STREAM.c.highest < number,
            )
        )
    ids = [row.id for row in rows]
    await connection.execute(delete(FACT).where(one_of(connection, FACT.c.envelope_id, ids)))
    await payload.forget(connection, ids)
    await connection.execute(delete(ENVELOPE).where(one_of(connection, ENVELOPE.c.id, ids)))
    return len(ids)


async def add_facts(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record what evidence states about envelopes; `submitted` is in the envelope's own row."""
    if rows:
        await connection.execute(insert(FACT), list(rows))


async def facts_of(connection: AsyncConnection, envelope: UUID) -> list[AnyRow]:
    """Facts about one envelope with the evidence that states each, oldest first."""
    rows = await connection.execute(
        select(
            FACT.c.fact, FACT.c.at, FACT.c.code, FACT.c.evidence_id, EVIDENCE.c.by, EVIDENCE.c.to
        )
        .join(EVIDENCE, EVIDENCE.c.id == FACT.c.evidence_id)
        .where(FACT.c.envelope_id == envelope)
        .order_by(FACT.c.at, FACT.c.fact)
    )
    return list(rows)


async def party_view(connection: AsyncConnection, envelope: UUID) -> AnyRow | None:
    """What a party may ask about an id."""
    rows = await connection.execute(
        select(
            ENVELOPE.c.sender,
            ENVELOPE.c.recipient,
            ENVELOPE.c.digest,
            ENVELOPE.c.standing,
            ENVELOPE.c.accepted_at,
            ENVELOPE.c.expires_at,
            ENVELOPE.c.evidence_id,
        ).where(ENVELOPE.c.id == envelope)
    )
    return rows.first()


async def highest(
    connection: AsyncConnection,
    *,
    sender: str,
    recipient: str,
    lane: str,
    incarnation: str | None,
) -> tuple[str, int] | None:
    """The newest incarnation of a stream and its highest number.

    Args:
        incarnation: The one that last held the sender's lease; asked first, since its numbers
            are found without reading the whole stream.
    """
    same = (
        ENVELOPE.c.sender == sender,
        ENVELOPE.c.recipient == recipient,
        ENVELOPE.c.lane == lane,
    )
    if incarnation is None:
        incarnation = await connection.scalar(
            select(ENVELOPE.c.incarnation)
            .where(*same)
            .order_by(ENVELOPE.c.accepted_at.desc())
            .limit(1)
        )
    top = await connection.scalar(
        select(ENVELOPE.c.stream_number)
        .where(*same, ENVELOPE.c.incarnation == incarnation)
        .order_by(ENVELOPE.c.stream_number.desc())
        .limit(1)
    )
    if incarnation is not None and top is not None:
        return incarnation, int(top)
    folded = (
        await connection.execute(
            select(STREAM.c.incarnation, STREAM.c.highest)
            .where(
                STREAM.c.sender == sender,
                STREAM.c.recipient == recipient,
                STREAM.c.lane == lane,
            )
            .order_by(STREAM.c.folded_at.desc())
            .limit(1)
        )
    ).first()
    return None if folded is None else (folded.incarnation, int(folded.highest))


async def numbers(
    connection: AsyncConnection,
    *,
    stream: tuple[str, str, str, str],
    after: int,
    limit: int,
    now: datetime,
) -> Sequence[AnyRow]:
    """What was accepted in one stream (sender, recipient, lane, incarnation), in order of number.

    Only what has not expired: of the rest neither side remembers the ids for long.
    """
    sender, recipient, lane, incarnation = stream
    rows = await connection.execute(
        select(
            ENVELOPE.c.stream_number,
            ENVELOPE.c.id,
            ENVELOPE.c.digest,
            ENVELOPE.c.standing,
            ENVELOPE.c.accepted_at,
        )
        .where(
            ENVELOPE.c.sender == sender,
            ENVELOPE.c.recipient == recipient,
            ENVELOPE.c.lane == lane,
            ENVELOPE.c.incarnation == incarnation,
            ENVELOPE.c.stream_number > after,
            ENVELOPE.c.expires_at > now,
        )
        .order_by(ENVELOPE.c.stream_number)
        .limit(limit)
    )
    return rows.all()


async def delivered_under_ended(
    connection: AsyncConnection, under: Sequence[UUID], limit: int
) -> list[Stored]:
    """Lock what was delivered under these grants, or under scopes of theirs, that have ended.

    Found among what still awaits the end of its ciphertext (`check_at`), without an index of its
    own: withdrawals are rare, and every accepted envelope would pay for it.
    """
    rows = await connection.execute(
        select(*_ADDRESSING, *_SEALED, GRANT.c.withdrawn, GRANT.c.removed)
        .join(GRANT, GRANT.c.id == ENVELOPE.c.grant_id)
        .join(PAYLOAD, PAYLOAD.c.envelope_id == ENVELOPE.c.id)
        .where(
            one_of(connection, ENVELOPE.c.grant_id, under),
            ENVELOPE.c.check_at.is_not(None),
            ENVELOPE.c.standing < OPEN,
            ENVELOPE.c.kind.not_in(sorted(kind.value for kind in NEVER_HELD_BACK)),
            or_(GRANT.c.withdrawn, GRANT.c.removed != ""),
        )
        .order_by(ENVELOPE.c.id)
        .with_for_update(of=ENVELOPE, skip_locked=True)
    )
    ended = [
        row for row in rows if row.withdrawn or set(row.scopes.split()) & set(row.removed.split())
    ]
    return [stored(row) for row in ended[:limit]]
