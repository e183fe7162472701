"""Step 3: number, seal, sign and store, all in one transaction, before the first attempt.

The stream number is part of what is sealed and signed, so it is taken in the transaction that
stores the bytes: a number is used exactly by what committed. Several messages share a
transaction; each caller waits for its own.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.batch import Batcher
from broker.gateway.core import Core
from broker.gateway.own_log import Decision
from broker.gateway.rights import ledger
from broker.gateway.send.compose import Composed
from broker.gateway.store import grants as grant_store
from broker.gateway.store import outbox, tables
from broker.gateway.store.together import Merge, Rows, insert_together
from keys.binding import subject_of
from keys.sealing import EnvelopeDraft, seal_envelope
from schemas.audit import Event
from schemas.base import ParticipantId, b64u
from schemas.bodies.common import Urgency
from schemas.clock import first_look
from schemas.envelope import NEVER_HELD_BACK, Kind, Lane, SealedEnvelope, Stream
from schemas.errors import Conflict, ConsentScope, ConsentWithdrawn

FEW = 2
"""So many are sealed on the spot: going to a thread and back takes longer."""
GROUP = 64
"""Messages in one transaction: sealing them takes about as long as the commit."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is on disk, sealed and signed, and will reach a final state."""

    id: UUID
    thread: UUID
    business_id: UUID
    state: str


@dataclass(frozen=True, slots=True)
class Handed:
    """A stored message on its way to the hub, as much of its row as that takes."""

    id: UUID
    envelope: bytes
    digest: str
    attempts: int
    hard_stop_at: datetime
    has_files: bool = False


class Push(Protocol):
    """Whoever takes messages to the hub (`outbox.py`)."""

    def is_ready(self) -> bool:
        """True if what is handed over now leaves now."""
        ...

    def push(self, messages: Sequence[Handed]) -> None:
        """Take messages that are stored as `sending`; those not answered become due again."""
        ...


LEASE = timedelta(seconds=30)
"""A message that was handed over and not heard of again is due after this."""

Request = tuple[UUID, str, str]
"""Business id, type, recipient: what makes two requests the same one."""


def _request(composed: Composed) -> Request:
    return (composed.message.business_id, composed.row.name, composed.recipient.id)


def _asked(composed: Composed, incarnation: str) -> str:
    """A keyed digest of what was asked for: the same for a repeated request, and no way to test
    a guess at a person's data once the grant's key is destroyed."""
    message = composed.message
    bare = message.model_copy(
        update={
            "scopes": (),
            "exception": None,
            "attachments": (),
            "grant_key": None,
            "recipient_case_ref": None,
            "not_to": None,
        }
    )
    rest = {
        "grant": str(composed.grant),
        "scopes": sorted(f"{entry.purpose} {entry.section}" for entry in message.scopes),
        "files": sorted(
            [file.section, file.name, file.media_type, file.size] for file in message.attachments
        ),
    }
    content = bare.to_json() + b"\n" + json.dumps(rest, sort_keys=True).encode()
    return b64u(hmac.digest(message.grant_key or incarnation.encode(), content, "sha256"))


class Sender:
    """Puts composed messages into the outbox."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._batch: Batcher[Composed, Stored] = Batcher(self._store_group, limit=GROUP)
        self.outbox: Push | None = None
        """Who pushes; without, everything waits to be found in the table."""

    async def send(self, composed: Composed) -> Stored:
        """Store one message; on return it is durable.

        Raises:
            ConsentWithdrawn, ConsentScope: The grant changed since the message was composed.
            NotPermitted: The thread moved on since then.
            StorageUnavailable: Not known to be stored; the worker may try again.
        """
        return await self._batch(composed)

    async def _store_group(self, group: Sequence[Composed]) -> Sequence[Stored | Exception]:
        """Store a group. A request that names its business id may be repeated, after a lost answer
        say: it is answered with what it led to the first time, and one with another content is refused. Groups are stored one after the
        other, so two at once cannot both be the first."""
        pushed: list[Handed] = []
        asked = [
            # Under a business id that was made here nothing can be asked for again.
            _asked(composed, self._core.incarnation)
            if composed.named or composed.replaces is not None
            else None
            for composed in group
        ]
        async with self._core.database.begin() as connection:
            stored, said = await self._asked_before(connection, group)
            fresh: dict[Request, Composed] = {}
            for composed, digest in zip(group, asked, strict=True):
                if _request(composed) not in stored:
                    fresh.setdefault(_request(composed), composed)
                    said.setdefault(_request(composed), digest)
            if fresh:
                made = await self._store_many(connection, list(fresh.values()), pushed)
                stored.update(zip(fresh, made, strict=True))
        if pushed and self.outbox is not None:
            self.outbox.push(pushed)
        if len(pushed) < len(fresh):
            self._core.wakes.outbox.set()
        self._core.log.wake()
        return [
            stored[_request(composed)]
            if said.get(_request(composed)) in (None, digest)
            else Conflict("another content under this business id")
            for composed, digest in zip(group, asked, strict=True)
        ]

    async def _asked_before(
        self, connection: AsyncConnection, group: Sequence[Composed]
    ) -> tuple[dict[Request, Stored], dict[Request, str | None]]:
        """What requests led to that came before, and the digests of what they asked for."""
        named = [composed.message.business_id for composed in group if composed.named]
        stored: dict[Request, Stored] = {}
        said: dict[Request, str | None] = {}
        for row in await outbox.with_business_ids(connection, named):
            key = (row.business_id, row.type, row.recipient)
            stored[key] = Stored(row.id, row.thread, row.business_id, row.state)
            said[key] = row.request
        return stored, said

    async def store(self, connection: AsyncConnection, composed: Composed) -> Stored:
        """Number, seal, sign and insert one message inside the caller's transaction."""
        return (await self._store_many(connection, [composed]))[0]

    async def _store_many(
        self,
        connection: AsyncConnection,
        group: Sequence[Composed],
        pushed: list[Handed] | None = None,
    ) -> list[Stored]:
        """Store a group; into `pushed` goes what is to be pushed once that is committed."""
        core = self._core
        await self._still_granted(connection, group)
        states, events = await self._move_threads(connection, group)
        numbers = await self._number(connection, group)
        if len(group) > FEW:
            sealed = await asyncio.to_thread(self._seal_all, group, numbers)
        else:
            sealed = self._seal_all(group, numbers)
        rows = [
            self._row(composed, envelope, number)
            for composed, envelope, number in zip(group, sealed, numbers, strict=True)
        ]
        if pushed is not None and self.outbox is not None and self.outbox.is_ready():
            pushed += _handed_over(group, rows)
        files = [
            {
                "message": composed.id,
                "digest": item.ref.digest,
                "size": item.ref.bucket,
                "uploaded_at": None,
            }
            for composed in group
            for item in composed.files
        ]
        disclosed = [row for composed in group for row in self._disclosed(composed)]
        decisions = [ledger.decision(row) for row in disclosed]
        for composed, envelope in zip(group, sealed, strict=True):
            decisions.append(Decision(Event.MESSAGE_SENT, envelope.digest, composed.id))
            if composed.exception is not None:
                decisions.append(Decision(Event.EXCEPTION_USED, envelope.digest, composed.id))
        await insert_together(
            connection,
            *events,
            (tables.outbox, rows),
            (tables.outbox_attachment, files),
            (tables.disclosure, disclosed),
            *core.log.rows(decisions, now=core.now()),
            merges=[states],
        )
        return [
            Stored(composed.id, composed.thread, composed.message.business_id, "queued")
            for composed in group
        ]

    async def _number(self, connection: AsyncConnection, group: Sequence[Composed]) -> list[int]:
        """The next numbers of each stream, in the order of the group.

        Streams are taken in one order, so that two transactions never wait for each other in a ring.
        """
        wanted = Counter((composed.recipient.id, composed.lane) for composed in group)
        following: dict[tuple[str, Lane], int] = {}
        for recipient, lane in sorted(wanted):
            count = wanted[recipient, lane]
            last = await outbox.take_numbers(
                connection, recipient=recipient, lane=lane, count=count
            )
            following[recipient, lane] = last - count + 1
        numbers = []
        for composed in group:
            stream = (composed.recipient.id, composed.lane)
            numbers.append(following[stream])
            following[stream] += 1
        return numbers

    def _seal_all(self, group: Sequence[Composed], numbers: Sequence[int]) -> list[SealedEnvelope]:
        return [
            self._seal(composed, number) for composed, number in zip(group, numbers, strict=True)
        ]

    def _seal(self, composed: Composed, number: int) -> SealedEnvelope:
        core = self._core
        draft = EnvelopeDraft(
            suite=core.settings.suite,
            id=composed.id,
            replaces=composed.replaces,
            from_=core.participant,
            to=composed.recipient.id,
            lane=composed.lane,
            stream=Stream(incarnation=core.incarnation, number=number),
            thread=composed.thread,
            kind=composed.row.kind,
            issued_at=composed.issued_at,
            expires_at=composed.expires_at,
            in_reply_to=composed.in_reply_to,
            answer_by=composed.answer_by,
            pauses_clock=composed.row.pauses_clock,
            agreement=composed.agreement,
            consent=composed.consent,
            attachments=composed.attachments,
        )
        return seal_envelope(
            draft,
            composed.parts,
            recipient=composed.recipient,
            signer=core.signer,
            now=core.now(),
        )

    def _row(self, composed: Composed, sealed: SealedEnvelope, number: int) -> dict[str, Any]:
        now = self._core.now()
        settings = self._core.settings
        return {
            "id": composed.id,
            "business_id": composed.message.business_id,
            "thread": composed.thread,
            "in_reply_to": composed.in_reply_to,
            "type": composed.row.name,
            "kind": composed.row.kind.value,
            "recipient": composed.recipient.id,
            "lane": composed.lane.value,
            "stream_number": number,
            "grant": composed.grant,
            "case_ref": composed.message.case_ref,
            "urgency": composed.urgency.value,
            "derived_from": composed.message.derived_from,
            "envelope": sealed.raw,
            "digest": b64u(sealed.digest),
            "state": "queued",
            "code": None,
            "attempts": 0,
            "next_attempt_at": now,
            "created_at": now,
            "expires_at": composed.expires_at,
            "hard_stop_at": min(now + settings.send.hard_stop, composed.expires_at),
            "receipt_by": now + self._receipt_within(composed),
            "answer_by": composed.answer_by,
            "look_at": first_look(composed.row, now, composed.answer_by),
            "submitted_at": None,
            "request": _asked(composed, self._core.incarnation) if composed.named else None,
        }

    def _disclosed(self, composed: Composed) -> list[dict[str, Any]]:
        return ledger.rows_of(
            composed.message,
            id=composed.id,
            way="sent",
            partner=composed.recipient.id,
            thread=composed.thread,
            grant=composed.grant,
            at=self._core.now(),
        )

    def _receipt_within(self, composed: Composed) -> timedelta:
        deadlines = self._core.settings.deadlines
        if composed.row.kind is Kind.WITHDRAWAL:
            return deadlines.withdrawal
        if composed.row.kind is Kind.SAFETY or composed.urgency is Urgency.EMERGENCY:
            return deadlines.emergency
        return deadlines.urgent if composed.urgency is Urgency.URGENT else deadlines.normal

    async def _still_granted(self, connection: AsyncConnection, group: Sequence[Composed]) -> None:
        """Ask again, under a lock: a withdrawal between composing and storing wins (I-3)."""
        tags = [
            composed.consent
            for composed in group
            if composed.consent is not None
            and composed.row.kind not in NEVER_HELD_BACK
            and not composed.row.passes_agreement
        ]
        grants = await grant_store.load_grants(connection, {tag.grant for tag in tags}, lock=True)
        for tag in tags:
            grant = grants.get(tag.grant)
            if grant is None:
                continue  # just being given, in this very transaction
            if grant.withdrawn:
                raise ConsentWithdrawn
            if set(tag.scopes) & grant.removed:
                raise ConsentScope

    async def _move_threads(
        self, connection: AsyncConnection, group: Sequence[Composed]
    ) -> tuple[Merge, list[tuple[Table, Rows]]]:
        """Take each step again on the state of now: somebody's message may have come in between.

        Returns the threads' states and histories, still to be stored.
        """
        moving = [composed for composed in group if composed.step is not None]
        known = await threads.load_many(
            connection, [composed.thread for composed in moving if not composed.opens], lock=True
        )
        ourselves = self._core.participant
        entries = []
        for composed in moving:
            step = composed.step
            current = known.get(composed.thread)
            if current is not None:
                step = threads.take_step(current, composed.row, composed.body, ours=True)
            if step is not None:
                known[composed.thread] = step.thread
                entries.append(_entry(composed, step, ourselves))
        return await threads.move(connection, entries, ourselves=ourselves, now=self._core.now())


def _handed_over(group: Sequence[Composed], rows: Sequence[dict[str, Any]]) -> list[Handed]:
    """Mark as `sending` what may leave at once: the hub knows its grant, and it has no files."""
    handed = []
    for composed, row in zip(group, rows, strict=True):
        if composed.files or not composed.registered:
            continue
        row |= {"state": "sending", "attempts": 1, "next_attempt_at": row["created_at"] + LEASE}
        handed.append(Handed(row["id"], row["envelope"], row["digest"], 1, row["hard_stop_at"]))
    return handed


def _entry(composed: Composed, step: threads.Step, ourselves: ParticipantId) -> threads.Entry:
    return threads.Entry(step, composed.id, composed.row.name, ourselves, opens=composed.opens)


async def log_refusal(core: Core, draft: bytes) -> None:
    """Record in our own log that the rules refused a draft. The subject is the draft's hash under
    a random salt: only whoever keeps the draft can show what the leaf is about."""
    async with core.database.begin() as connection:
        decision = Decision(Event.CONSENT_DECIDED, subject_of(draft))
        await core.log.add(connection, [decision], now=core.now())
