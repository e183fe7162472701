"""The transaction in which submissions are decided and recorded: accepted means durable (I-4).

Everything that a decision rests on is read in the transaction that records it, grants and
agreements FOR SHARE: a withdrawal that commits first is seen, one that comes second waits for us
and then finds the delivery that it must stop. Withdrawals go first within a batch.

On return all is committed: envelope, delivery, the evidence `submitted`, its leaf. Or nothing is.

Where this process relays too and has nothing else in hand, the delivery is claimed here at once
(step 7, `broker.hub.relay.direct`): what the relay would ask again was asked in this transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.leaves import new_leaf
from broker.hub.ending.closing import stop_waiting
from broker.hub.log.testimony import Testimony, testify
from broker.hub.relay.handover import relayed
from broker.hub.state import Hub
from broker.hub.store import (
    agreements,
    attachments,
    deliveries,
    envelopes,
    evidence,
    grants,
    obligations,
    openings,
)
from broker.hub.store.decisive import Decisive, decisive
from broker.hub.store.deliveries import ENVELOPE_ITEM, PASSING_ITEM, Item
from broker.hub.store.envelopes import StreamKey
from broker.hub.store.tables import ENVELOPE, OBLIGATION, PAYLOAD
from broker.hub.store.writing import Writing
from broker.rules.header import Header, Question, judge, refusal
from broker.telemetry import logger
from schemas.audit import Event
from schemas.base import b64u
from schemas.directory import TrustedDirectory
from schemas.envelope import NEVER_HELD_BACK, Kind, VerifiedEnvelope
from schemas.errors import (
    BrokerError,
    Conflict,
    ConsentWithdrawn,
    NotFound,
    SecondIncarnation,
    StreamGap,
    Unavailable,
)
from schemas.evidence import Fact, FactStatement


@dataclass(frozen=True, slots=True)
class Submission:
    """A verified envelope that waits for its decision."""

    envelope: VerifiedEnvelope
    header: Header


@dataclass(frozen=True, slots=True)
class Rejection:
    """A decision made before the rules were asked; it still has to be signed and recorded."""

    sender: str
    envelope: UUID
    digest: bytes
    error: BrokerError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided, with the signed evidence of it; durable."""

    evidence: bytes
    error: BrokerError | None = None
    repeated: bool = False
    """The same bytes had been accepted before: the same evidence."""


@dataclass
class _Facts:
    """What one batch is judged by, read and locked in its transaction."""

    directory: TrustedDirectory
    stored: Decisive
    uploads: set[tuple[str, str]]


@dataclass
class _Writes:
    """What one batch will write, gathered so that each table is written once."""

    envelopes: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    obligations: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[UUID, str]] = field(default_factory=list)
    pauses: list[tuple[UUID, str]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    openings: list[dict[str, Any]] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    accepted: dict[UUID, Submission] = field(default_factory=dict)


async def accept(hub: Hub, batch: Sequence[Submission | Rejection]) -> list[Outcome]:
    """Decide and record a batch in one transaction.

    Raises:
        Unavailable: Nothing was decided, or it is not known: the same bytes may come again.
        sqlalchemy.exc.DBAPIError: The same, for one batch; its parts may do better alone.
    """
    now = hub.clock.now()
    outcomes: dict[int, Outcome] = {}
    writes = _Writes()
    # Withdrawals first, whatever the order of arrival.
    order = sorted(range(len(batch)), key=lambda place: not _is_withdrawal(batch[place]))
    async with hub.database.begin() as connection:
        found = await _read(hub, connection, batch, now)
        for place in order:
            item = batch[place]
            if isinstance(item, Rejection):
                outcomes[place] = _refuse(hub, writes, item, now)
            else:
                outcomes[place] = await _one(hub, connection, found, writes, item, now)
        claimed = await _write(hub, connection, found, writes, now)
    if hub.direct is not None:
        # Nothing is awaited since the commit, so no later batch of ours can have stopped these;
        # a withdrawal that could only be obeyed, in a file, may have.
        hub.direct.hand_over([one for by, one in claimed if not _is_stopped(hub, by.header)])
    hub.wake.here(writes.woken)
    hub.sequencer.wake()
    _count(hub, batch, outcomes)
    return [outcomes[place] for place in range(len(batch))]


def _is_withdrawal(item: Submission | Rejection) -> bool:
    return isinstance(item, Submission) and item.header.kind is Kind.WITHDRAWAL


def _stream(item: Submission) -> StreamKey:
    content = item.envelope.content
    stream = content.stream
    return (content.from_, content.to, content.lane.value, stream.incarnation, stream.number)


async def _read(
    hub: Hub,
    connection: AsyncConnection,
    batch: Sequence[Submission | Rejection],
    now: datetime,
) -> _Facts:
    items = [item for item in batch if isinstance(item, Submission)]
    directory = hub.directory.current()
    agreed = {item.header.agreement for item in items if item.header.agreement}
    granted = {item.header.grant for item in items if item.header.grant}
    ending = {item.header.grant for item in items if item.header.grant and _is_withdrawal(item)}
    open_ = hub.direct is not None and hub.direct.is_open()
    # The order of locks is the same everywhere: agreements, grants to be changed, grants.
    if ending:
        await agreements.views(connection, agreed)
        await grants.lock(connection, ending)
    stored = await decisive(
        connection,
        agreed=agreed,
        granted=granted,
        senders={item.header.sender for item in items},
        ids={item.envelope.content.id for item in items},
        streams=[_stream(item) for item in items],
        routes={(item.header.recipient, item.header.lane.value) for item in items} if open_ else (),
        window=hub.direct.window if hub.direct is not None else 0,
        now=now,
    )
    if hub.directory.is_behind(stored.newest):
        # Another process has seen a newer one, perhaps with a revocation: ours will, in a moment.
        raise Unavailable("a newer directory is on its way")
    files = {(ref.digest, item.header.sender) for item in items for ref in _files(item)}
    return _Facts(
        directory=directory,
        stored=stored,
        uploads=await attachments.uploaded(connection, files) if files else set(),
    )


def _files(item: Submission) -> Sequence[Any]:
    return item.envelope.content.attachments


async def _one(
    hub: Hub,
    connection: AsyncConnection,
    found: _Facts,
    writes: _Writes,
    item: Submission,
    now: datetime,
) -> Outcome:
    content = item.envelope.content
    before = found.stored.known.get(content.id)
    if before is not None:
        if before.digest == item.envelope.digest:
            return Outcome(before.evidence, repeated=True)
        return _refuse(hub, writes, _rejected(item, Conflict()), now)
    error = _judge(hub, found, item, now)
    if error is not None:
        return _refuse(hub, writes, _rejected(item, error), now)
    testimony = _record(hub, writes, item, now)
    found.stored.known[content.id] = envelopes.Known(item.envelope.digest, testimony.raw)
    found.stored.used.add(_stream(item))
    if item.header.kind is Kind.WITHDRAWAL:
        await _withdraw(hub, connection, found, writes, item, now)
    return Outcome(testimony.raw)


def _judge(hub: Hub, found: _Facts, item: Submission, now: datetime) -> BrokerError | None:
    header = item.header
    key = found.directory.key(item.envelope.signed_by)
    codes = judge(
        Question(
            header=header,
            sender=found.directory.participant(header.sender),
            recipient=found.directory.participant(header.recipient),
            signing_key=key[1] if key else None,
            agreement=found.stored.agreements.get(header.agreement) if header.agreement else None,
            grant=found.stored.grants.get(header.grant) if header.grant else None,
            now=now,
        )
    )
    if codes:
        return refusal(codes)
    if _is_stopped(hub, header):
        return ConsentWithdrawn()
    live = found.stored.incarnations.get(header.sender)
    if live is not None and live != item.envelope.content.stream.incarnation:
        return SecondIncarnation()
    if _stream(item) in found.stored.used:
        return StreamGap()
    for ref in _files(item):
        if (ref.digest, header.sender) not in found.uploads:
            return NotFound("an attachment was not uploaded", where=("attachments",))
    return None


def _is_stopped(hub: Hub, header: Header) -> bool:
    return header.kind not in NEVER_HELD_BACK and hub.stops.stops(header.grant, header.scopes)


def _rejected(item: Submission, error: BrokerError) -> Rejection:
    return Rejection(item.header.sender, item.envelope.content.id, item.envelope.digest, error)


def _refuse(hub: Hub, writes: _Writes, item: Rejection, now: datetime) -> Outcome:
    fact = FactStatement(
        fact=Fact.REFUSED,
        envelope=item.envelope,
        digest=b64u(item.digest),
        at=now,
        code=item.error.code,
    )
    testimony = testify(hub, [fact], to=item.sender, event=Event.ENVELOPE_REFUSED, now=now)
    writes.evidence.append(testimony.row)
    return Outcome(testimony.raw, error=item.error)


def _record(hub: Hub, writes: _Writes, item: Submission, now: datetime) -> Testimony:
    envelope, header = item.envelope, item.header
    content = envelope.content
    fact = FactStatement(
        fact=Fact.SUBMITTED, envelope=content.id, digest=b64u(envelope.digest), at=now
    )
    testimony = testify(hub, [fact], to=header.sender, event=Event.ENVELOPE_SUBMITTED, now=now)
    writes.evidence.append(testimony.row)
    patience = hub.settings.deadlines.after(header.lane, safety=header.kind is Kind.SAFETY)
    writes.envelopes.append(
        {
            "id": content.id,
            "digest": envelope.digest,
            "size": len(envelope.raw),
            "sender": header.sender,
            "recipient": header.recipient,
            "lane": header.lane.value,
            "kind": header.kind.value,
            "thread": content.thread,
            "suite": header.suite,
            "reply": header.reply,
            "grant_id": header.grant,
            "until": header.until,
            "agreement_id": header.agreement,
            "issued_at": header.issued_at,
            "incarnation": content.stream.incarnation,
            "stream_number": content.stream.number,
            "signed_by": envelope.signed_by,
            "directory_version": envelope.directory_version,
            "accepted_at": now,
            "expires_at": header.expires_at,
            "standing": envelopes.RANK[Fact.SUBMITTED],
            "standing_at": now,
            "check_at": min(now + patience, header.expires_at),
            "evidence_id": testimony.id,
        }
    )
    writes.payloads.append(
        {
            "envelope_id": content.id,
            "kept_at": now,
            "raw": envelope.raw,
            "scopes": " ".join(sorted(header.scopes)),
            "to_keys": " ".join(header.to_keys),
        }
    )
    passes = header.kind in NEVER_HELD_BACK
    writes.deliveries.append(
        deliveries.queued(
            recipient=header.recipient,
            lane=header.lane,
            item=PASSING_ITEM if passes else ENVELOPE_ITEM,
            object_id=content.id,
            grant_id=None if header.kind is Kind.WITHDRAWAL else header.grant,
            due_at=now,
        )
    )
    writes.accepted[content.id] = item
    for ref in _files(item):
        writes.links.append(
            {
                "envelope_id": content.id,
                "digest": ref.digest,
                "scope": ref.scope,
                "grant_id": None if header.kind in NEVER_HELD_BACK else header.grant,
            }
        )
    _obligations(writes, item, now)
    return testimony


def _obligations(writes: _Writes, item: Submission, now: datetime) -> None:
    content, header = item.envelope.content, item.header
    if header.kind is Kind.REQUEST:
        writes.obligations.append(
            {
                "request_id": content.id,
                "thread": content.thread,
                "asked_by": header.sender,
                "owed_by": header.recipient,
                "grant_id": header.grant,
                "state": obligations.ASKED,
                "answer_by": content.answer_by,
                "paused_at": None,
                "changed_at": now,
                "check_at": content.answer_by,
                "expires_at": header.expires_at,
            }
        )
    if header.kind is Kind.ANSWER and content.in_reply_to is not None:
        writes.answers.append((content.in_reply_to, header.sender))
    # Only a question stops the clock: an answer or a notice that says so is not one.
    if content.pauses_clock and header.kind is Kind.REQUEST:
        writes.pauses.append((content.thread, header.sender))


async def _withdraw(
    hub: Hub,
    connection: AsyncConnection,
    found: _Facts,
    writes: _Writes,
    item: Submission,
    now: datetime,
) -> None:
    """Set the grant's state and stop what waits under it, in the transaction that accepts."""
    grant = item.header.grant
    if grant is None:
        return
    before = found.stored.grants[grant]
    ended = await grants.withdraw(connection, grant, scopes=item.header.scopes, now=now)
    await grants.add_change(connection, grant, item.envelope.raw, now)
    found.stored.grants.update(await grants.views(connection, ended))
    after = found.stored.grants[grant]
    event = Event.GRANT_WITHDRAWN if after.withdrawn else Event.GRANT_NARROWED
    # By the digest that its acceptance states, so that who has the one can find the other.
    leaf, opening = new_leaf(event, now, item.envelope.digest)
    parties = (before.giver, before.recipient)
    writes.openings.append(openings.row(leaf, opening, now=now, parties=parties))
    # The obligations go only with the whole grant: what remains may still be answered.
    if after.withdrawn:
        await obligations.withdraw(connection, ended, now)
    gone = None if after.withdrawn else before.scopes - after.live_scopes()
    writes.woken |= await stop_waiting(hub, connection, ended, scopes=gone, now=now)
    writes.woken |= {before.giver, before.recipient}


async def _write(
    hub: Hub, connection: AsyncConnection, found: _Facts, writes: _Writes, now: datetime
) -> list[tuple[Submission, Item]]:
    """Write everything; what is to be handed over right after the commit."""
    writing = Writing()
    ours = _claim(hub, found, writes, now)
    relayed(hub, writing, [(one, writes.accepted[one].envelope.digest) for one in ours], now)
    evidence.add(writing, writes.evidence)
    openings.add(writing, writes.openings)
    writing.insert(ENVELOPE, writes.envelopes)
    writing.insert(PAYLOAD, writes.payloads)
    writing.insert(OBLIGATION, writes.obligations)
    numbers = await deliveries.send(connection, writing, writes.deliveries)
    if writes.answers:
        await obligations.answer(connection, writes.answers, now)
    for thread, owed_by in writes.pauses:
        await obligations.pause(connection, thread, owed_by=owed_by, now=now)
    await attachments.link(connection, writes.links)
    await hub.wake.elsewhere(connection, writes.woken)
    return [
        (
            by,
            Item(numbers[key], by.header.recipient, by.header.lane, ENVELOPE_ITEM, by.envelope.raw),
        )
        for key, by in writes.accepted.items()
        if key in ours
    ]


def _claim(hub: Hub, found: _Facts, writes: _Writes, now: datetime) -> set[UUID]:
    """Claim, of what is being accepted, what may be handed over at once; wake others for the rest.

    A lane's envelopes all or none: none of them overtakes another.
    """
    ours: set[UUID] = set()
    held = Counter(
        (row["recipient"], row["lane"]) for row in writes.deliveries if row["item"] == ENVELOPE_ITEM
    )
    for row in writes.deliveries:
        route = (row["recipient"], row["lane"])
        room = found.stored.room.get(route)
        passes = row["item"] == PASSING_ITEM
        if hub.direct is None or room is None or not (passes or held[route] <= room):
            writes.woken.add(row["recipient"])
            continue
        row |= {"due_at": hub.direct.leased_until(now), "attempts": 1}
        ours.add(row["object_id"])
    return ours


def _count(hub: Hub, batch: Sequence[Submission | Rejection], outcomes: dict[int, Outcome]) -> None:
    for place, outcome in outcomes.items():
        item = batch[place]
        if outcome.error is not None:
            hub.metrics.refused.labels(outcome.error.code).inc()
            sender = item.sender if isinstance(item, Rejection) else item.header.sender
            logger().info("envelope:refused", code=outcome.error.code, participant=sender)
        elif outcome.repeated:
            hub.metrics.repeated.inc()
        elif isinstance(item, Submission):
            hub.metrics.accepted.labels(item.header.lane.value, item.header.kind.value).inc()
