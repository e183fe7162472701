"""What our own exchanges are when a message of ours is certain never to be there.

It moved our side when it was stored. Refused by the hub or by the other gateway, stopped or expired,
it moved nothing else; so it counts as not said (`schemas.states.unsaid`), what it answered is owed
again, and the alarm about it tells a worker. The message that opened an exchange ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, outbox, thread_event
from schemas.base import ParticipantId
from schemas.states import MACHINES
from schemas.states.unsaid import Said, Stands, unsaid


async def not_there(
    core: Core,
    connection: AsyncConnection,
    thread: UUID,
    message: UUID,
    event: str,
    *,
    for_good: bool = True,
) -> None:
    """A message of ours did not arrive.

    Args:
        event: What that is for its exchange if it opened it: `undeliverable`, `expire`, `withdraw`.
        for_good: It will not come late, either.
    """
    now = core.now()
    before = await threads.load(connection, thread, lock=True)
    if before is None:
        return
    said = await threads.history(connection, thread)
    place = next((place for place, one in enumerate(said) if one.message == message), None)
    if place is None or said[place].unsaid:
        return
    if place == 0 and await threads.ended_by_hub(connection, thread, event, now=now):
        return
    if any(one.before is None for one in said[place:]) or not for_good:
        return  # not known, or it may come; the alarm about the message must do
    after, stands = without(before, said, place, core.participant)
    changes: dict[UUID, dict[str, object]] = {
        one: {"before": did.before, "state": did.after, "late": not did.moved}
        for one, did in stands.items()
    }
    changes[message] = {"unsaid": True}
    for one, change in changes.items():
        row = (thread_event.c.thread == thread, thread_event.c.message == one)
        await connection.execute(update(thread_event).where(*row).values(**change))
    await threads.put(connection, before, after, ourselves=core.participant, now=now)
    # What it answered is owed again.
    for box in (inbox, outbox):
        owing = update(box).where(box.c.thread == thread, box.c.answer_by.is_not(None))
        await connection.execute(owing.values(look_at=now))


def without(
    current: threads.ThreadState, history: Sequence[AnyRow], place: int, ourselves: ParticipantId
) -> tuple[threads.ThreadState, dict[UUID, Stands]]:
    """An exchange without the message at one place of its history, which is ours; and what those
    after it did then. Pure."""
    machine = MACHINES[current.machine]
    rest = [row for row in history[place:] if not row.unsaid]
    said = [
        Said(
            row.event,
            current.by(ours=row.by == ourselves),
            row.before,
            moved=not row.late,
            overtaken=row.event in machine.backwards
            and any(
                other.by == row.by and other.message > row.message
                for other in history
                if other.position < row.position
            ),
        )
        for row in rest
    ]
    state, stands = unsaid(machine, said, current.state)
    signed = current.signed
    if current.machine == "transfer" and rest[0].event == "complete":
        signed -= {current.by(ours=True)}
    after = replace(current, state=state, signed=signed)
    return after, {row.message: did for row, did in zip(rest[1:], stands, strict=True)}
