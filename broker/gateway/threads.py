"""Exchanges: which state a thread is in, and who is responsible for a case under transfer.

The tables of `schemas.states` decide; here they meet the database. What we do ourselves must move
the state. What the other side says may also be late: then it is kept and moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Table, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.erasure.order import rows_of_ended
from broker.gateway.notices.said import due
from broker.gateway.store.bulk import insert_rows, padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.stated import Exchange
from broker.gateway.store.tables import erasure_order, notice, thread, thread_event
from broker.gateway.store.together import Changes, Merge, Rows, insert_together
from schemas.base import ParticipantId
from schemas.bodies.common import Body
from schemas.catalogue import conversation
from schemas.errors import NotFound, NotPermitted
from schemas.families.base import MessageType
from schemas.machine import By, Effect, Machine, Outcome
from schemas.states import MACHINES, THREADED, add_signature, destroys, owner, step

SENDER, RECIPIENT = "sender", "recipient"


@dataclass(frozen=True, slots=True)
class ThreadState:
    """One exchange as it stands, or as it would begin."""

    id: UUID
    machine: str
    state: str
    partner: ParticipantId
    role: str
    """Ours: `sender` if we opened it."""
    case_ref: str
    business_id: UUID
    signed: frozenset[By]
    heard: UUID | None = None
    """The other side's newest message; its ids are in the order of its clock (UUIDv7)."""
    opener: str | None = None
    """The type that opened it."""

    def by(self, *, ours: bool) -> By:
        """Which party of the exchange speaks."""
        return By.SENDER if (self.role == SENDER) == ours else By.RECIPIENT

    def owner(self, ourselves: ParticipantId) -> ParticipantId | None:
        """Who is responsible for the case; None where the exchange is not about that."""
        if self.machine != "transfer":
            return None
        responsible = owner(self.state, self.signed)
        return ourselves if responsible is self.by(ours=True) else self.partner


@dataclass(frozen=True, slots=True)
class Step:
    """A thread after one message."""

    thread: ThreadState
    effect: Effect
    event: str
    before: str
    """The state in which it was said."""


def has_states(row: MessageType) -> bool:
    """False for types whose state is kept elsewhere: consent belongs to its grant."""
    return row.machine in THREADED


def take_step(
    before: ThreadState, row: MessageType, body: Body, *, ours: bool, message: UUID | None = None
) -> Step:
    """Apply one message to a thread.

    Args:
        message: The id of what the other side said.

    Raises:
        NotPermitted: The table does not allow it; for our own message, not even late.
    """
    by = before.by(ours=ours)
    event = row.event_in(before.machine, body)
    foreign = before.opener is not None and row.name not in conversation(
        before.opener, before.machine
    )
    if event is None or foreign or not row.direction.allows(by):
        raise NotPermitted("not a message of this exchange, or not of this party")
    machine, given, signed = MACHINES[before.machine], body.attests(), before.signed
    if missing := machine.guards.get(event, frozenset()) - given:
        raise NotPermitted(f"{machine.name}: {event} needs {', '.join(sorted(missing))}")
    outcome: Outcome
    overtaken = message is not None and before.heard is not None and message < before.heard
    if event in machine.backwards and overtaken and not ours:
        outcome = Outcome(before.state, Effect.RECORDED)
    elif machine.name == "transfer" and event == "complete":
        outcome, signed = add_signature(before.state, before.signed, by, given=given)
    else:
        outcome = step(machine, before.state, event, by, given=given, heard=not ours)
    if outcome.effect is Effect.REFUSED or (ours and outcome.effect is not Effect.MOVED):
        raise NotPermitted(f"{machine.name}: {event} is not possible in {before.state}")
    heard = before.heard if ours or overtaken else message
    after = replace(before, state=outcome.state, signed=signed, heard=heard)
    return Step(after, outcome.effect, event, before.state)


def not_permitted() -> NotPermitted:
    """The answer to a message of a thread that is not here, or is with somebody else."""
    return NotPermitted("no such thread between us")


def broker_event(before: ThreadState, event: str) -> ThreadState:
    """Apply what the hub or our own clock says; what does not fit changes nothing."""
    machine = MACHINES[before.machine]
    outcome = step(machine, before.state, event, By.BROKER)
    if outcome.effect is not Effect.MOVED:
        return before
    return replace(before, state=outcome.state)


def new_thread(
    row: MessageType,
    *,
    thread_id: UUID,
    partner: ParticipantId,
    role: str,
    case_ref: str,
    business_id: UUID,
) -> ThreadState:
    """A thread before its first message."""
    return ThreadState(
        thread_id,
        row.machine,
        _machine(row).initial,
        partner,
        role,
        case_ref,
        business_id,
        frozenset(),
        opener=row.name,
    )


async def load(
    connection: AsyncConnection, thread_id: UUID, *, lock: bool = False
) -> ThreadState | None:
    """A thread as it is stored."""
    query = select(thread).where(thread.c.id == thread_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else _from_row(row)


_QUERY = select(thread).order_by(thread.c.id)
_THREADS = Lookup(_QUERY, thread.c.id)
_LOCKED = Lookup(_QUERY.with_for_update(), thread.c.id)


async def load_many(
    connection: AsyncConnection, thread_ids: Sequence[UUID], *, lock: bool = False
) -> dict[UUID, ThreadState]:
    """Several threads; locked in the order of their ids, so that two batches never wait in a ring."""
    if not thread_ids:
        return {}
    rows = await (_LOCKED if lock else _THREADS)(connection, thread_ids)
    return {row.id: _from_row(row) for row in rows}


async def require(connection: AsyncConnection, thread_id: UUID) -> ThreadState:
    """A thread that must exist.

    Raises:
        NotFound: It does not.
    """
    found = await load(connection, thread_id)
    if found is None:
        raise NotFound("no such thread")
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in a thread's history."""

    step: Step
    message: UUID
    type_name: str
    by: ParticipantId
    opens: bool = False
    """The thread is new, and nobody else can know its id: nothing of it is stored."""


_CHANGING = ("state", "owner", "signed_by_sender", "signed_by_recipient", "heard", "updated_at")


async def record(
    connection: AsyncConnection,
    entries: Sequence[Entry],
    *,
    ourselves: ParticipantId,
    now: datetime,
) -> None:
    """Store threads' states and the messages that led to them, in the order given."""
    states, events = await move(connection, entries, ourselves=ourselves, now=now)
    await insert_together(connection, *events, merges=[states])


async def move(
    connection: AsyncConnection,
    entries: Sequence[Entry],
    *,
    ourselves: ParticipantId,
    now: datetime,
) -> tuple[Merge, list[tuple[Table, Rows]]]:
    """The threads' states and histories, for the caller to store together with what else there is."""
    last = {entry.step.thread.id: entry.step.thread for entry in entries}
    rows = [_row(state, ourselves, now) for state in last.values()]
    states = Merge(thread, rows, key=("id",), replace=_CHANGING)
    changed = [
        (one.id, one.machine, one.state, one.case_ref)
        for one in (entry.step.thread for entry in entries if entry.step.effect is Effect.MOVED)
    ]
    ended = [
        (one.id, one.partner)
        for one in (entry.step.thread for entry in entries if entry.step.effect is Effect.MOVED)
        if _is_none_of_ours(one)
    ]
    opened = {entry.step.thread.id for entry in entries if entry.opens}
    counts = await _counts(connection, [key for key in last if key not in opened])
    events: list[dict[str, object]] = []
    for entry in entries:
        position = counts.get(entry.step.thread.id, 0)
        counts[entry.step.thread.id] = position + 1
        events.append(
            {
                "thread": entry.step.thread.id,
                "message": entry.message,
                "position": position,
                "type": entry.type_name,
                "by": entry.by,
                "at": now,
                "state": entry.step.thread.state,
                "late": entry.step.effect is Effect.RECORDED,
                "event": entry.step.event,
                "before": entry.step.before,
            }
        )
    return states, [
        (thread_event, events),
        (notice, due(changed, now)),
        *_to_erase(ended, now),
    ]


def _is_none_of_ours(after: ThreadState) -> bool:
    """True if what came in it is to be destroyed. A recall says itself what it recalls."""
    if after.role != RECIPIENT or after.state == "recalled":
        return False
    return destroys(MACHINES[after.machine], after.state)


def _to_erase(
    ended: list[tuple[UUID, ParticipantId]], now: datetime
) -> list[tuple[Table, list[dict[str, object]]]]:
    """What came in an exchange that ended without becoming ours is destroyed."""
    return [(erasure_order, rows_of_ended(ended, now=now))] if ended else []


async def _counts(connection: AsyncConnection, thread_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many messages of each thread are known."""
    if not thread_ids:
        return {}
    rows = await connection.execute(
        select(thread_event.c.thread, func.count().label("known"))
        .where(thread_event.c.thread.in_(padded(thread_ids)))
        .group_by(thread_event.c.thread)
    )
    return {row.thread: int(row.known) for row in rows}


def _row(state: ThreadState, ourselves: ParticipantId, now: datetime) -> dict[str, object]:
    return {
        "id": state.id,
        "machine": state.machine,
        "state": state.state,
        "partner": state.partner,
        "role": state.role,
        "case_ref": state.case_ref,
        "business_id": state.business_id,
        "owner": state.owner(ourselves),
        "signed_by_sender": By.SENDER in state.signed,
        "signed_by_recipient": By.RECIPIENT in state.signed,
        "heard": state.heard,
        "opener": state.opener,
        "updated_at": now,
    }


def delivered(rows: Sequence[AnyRow | Exchange], *, now: datetime) -> Changes:
    """The opening messages of threads of ours, which are locked, reached the other side: what the
    caller is to store."""
    moved: list[dict[str, object]] = []
    for before in map(_from_row, rows):
        after = broker_event(before, "delivered")
        if after is not before:
            moved.append({"id": before.id, "state": after.state, "updated_at": now})
    return Changes(thread, moved, key="id")


async def ended_by_hub(
    connection: AsyncConnection,
    thread_id: UUID,
    event: str,
    *,
    now: datetime,
) -> bool:
    """The opening message will not arrive: `expire`, `undeliverable` or `withdraw`; True if that
    moved the thread."""
    return await _broker_moves(connection, thread_id, event, now=now)


async def put(
    connection: AsyncConnection,
    before: ThreadState,
    after: ThreadState,
    *,
    ourselves: ParticipantId,
    now: datetime,
) -> None:
    """Store what became of a thread, which is locked; the person is told of a state that is new."""
    if after == before:
        return
    row = _row(after, ourselves, now)
    await connection.execute(
        update(thread)
        .where(thread.c.id == after.id)
        .values({name: row[name] for name in _CHANGING})
    )
    if after.state != before.state:
        changed = [(after.id, after.machine, after.state, after.case_ref)]
        await insert_rows(connection, notice, due(changed, now))


async def withdraw_case_threads(
    connection: AsyncConnection,
    thread_ids: Sequence[UUID],
    *,
    now: datetime,
) -> None:
    """The person withdrew: every exchange under the grant that has not ended, ends."""
    for thread_id in thread_ids:
        await _broker_moves(connection, thread_id, "withdraw", now=now)


async def last_of_partner(
    connection: AsyncConnection,
    thread_id: UUID,
    partner: ParticipantId,
    *,
    answering: frozenset[str] = frozenset(),
) -> UUID | None:
    """What we answer if the worker does not say: the other side's newest message of a type that
    is answered so, or else its newest of all. The hub settles what is owed by this reference."""
    found: UUID | None = await connection.scalar(
        select(thread_event.c.message)
        .where(thread_event.c.thread == thread_id, thread_event.c.by == partner)
        .order_by(
            case((thread_event.c.type.in_(answering), 0), else_=1),
            thread_event.c.position.desc(),
        )
        .limit(1)
    )
    return found


async def history(connection: AsyncConnection, thread_id: UUID) -> Sequence[AnyRow]:
    """What was said, in the order in which we learned it."""
    rows = await connection.execute(
        select(thread_event)
        .where(thread_event.c.thread == thread_id)
        .order_by(thread_event.c.position)
    )
    return rows.all()


async def _broker_moves(
    connection: AsyncConnection,
    thread_id: UUID,
    event: str,
    *,
    now: datetime,
) -> bool:
    before = await load(connection, thread_id, lock=True)
    if before is None:
        return False
    after = broker_event(before, event)
    if after is before:
        return False
    await connection.execute(
        update(thread).where(thread.c.id == thread_id).values(state=after.state, updated_at=now)
    )
    changed = [(after.id, after.machine, after.state, after.case_ref)]
    await insert_rows(connection, notice, due(changed, now))
    # What withdraws orders the erasing itself, by the grant.
    if event != "withdraw" and _is_none_of_ours(after):
        rows = rows_of_ended([(after.id, after.partner)], now=now)
        await insert_rows(connection, erasure_order, rows, key=("message",))
    return True


def _machine(row: MessageType) -> Machine:
    return MACHINES[row.machine]


def _from_row(row: AnyRow | Exchange) -> ThreadState:
    signed = set()
    if row.signed_by_sender:
        signed.add(By.SENDER)
    if row.signed_by_recipient:
        signed.add(By.RECIPIENT)
    return ThreadState(
        row.id,
        row.machine,
        row.state,
        row.partner,
        row.role,
        row.case_ref,
        row.business_id,
        frozenset(signed),
        row.heard,
        row.opener,
    )
