"""What a participant owes another: all that the blind hub knows of the state of a thread.

The hub cannot see whether a message asks for a referral or a transfer. It sees a coarse kind, a
reply, a deadline and whether the clock stands still. That is enough to say in time that an
answer is missing. The full machines are in `schemas.states`, which the gateways use.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from schemas.envelope import Kind
from schemas.machine import By, Edge, Machine, edges_from


class Owed(StrEnum):
    """Where an obligation stands."""

    NONE = "none"
    ASKED = "asked"
    PAUSED = "paused"
    OVERDUE = "overdue"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


class ObligationEvent(StrEnum):
    """What can happen to one."""

    ASK = "ask"
    PROGRESS = "progress"
    QUESTION = "question"
    REPLY = "reply"
    ANSWER = "answer"
    DEADLINE = "deadline"
    WITHDRAW = "withdraw"


_OPEN = (Owed.ASKED, Owed.PAUSED, Owed.OVERDUE)
_PARTIES = (By.SENDER, By.RECIPIENT)

_EDGES: dict[Edge, str] = {
    (Owed.NONE, ObligationEvent.ASK, By.SENDER): Owed.ASKED,
    (Owed.ASKED, ObligationEvent.PROGRESS, By.RECIPIENT): Owed.ASKED,
    (Owed.OVERDUE, ObligationEvent.PROGRESS, By.RECIPIENT): Owed.OVERDUE,
    (Owed.ASKED, ObligationEvent.QUESTION, By.RECIPIENT): Owed.PAUSED,
    (Owed.OVERDUE, ObligationEvent.QUESTION, By.RECIPIENT): Owed.PAUSED,
    (Owed.PAUSED, ObligationEvent.REPLY, By.SENDER): Owed.ASKED,
    (Owed.ASKED, ObligationEvent.DEADLINE, By.BROKER): Owed.OVERDUE,
    **edges_from(_OPEN, ObligationEvent.ANSWER, (By.RECIPIENT,), Owed.ANSWERED),
    **edges_from((Owed.NONE, *_OPEN), ObligationEvent.WITHDRAW, _PARTIES, Owed.WITHDRAWN),
}

OBLIGATION = Machine(
    name="obligation",
    initial=Owed.NONE,
    terminal=frozenset({Owed.ANSWERED, Owed.WITHDRAWN}),
    edges=_EDGES,
    paused=frozenset({Owed.PAUSED}),
)


def obligation_event(kind: Kind, *, by: By, pauses_clock: bool) -> ObligationEvent | None:
    """What an envelope of this kind means for the obligation of its thread; None if nothing."""
    if kind is Kind.WITHDRAWAL:
        return ObligationEvent.WITHDRAW
    if kind is Kind.REQUEST:
        return ObligationEvent.ASK if by is By.SENDER else None
    if kind is Kind.ANSWER:
        return ObligationEvent.ANSWER if by is By.RECIPIENT else None
    if kind is Kind.PROGRESS:
        if by is By.SENDER:
            return ObligationEvent.REPLY
        return ObligationEvent.QUESTION if pauses_clock else ObligationEvent.PROGRESS
    return None


def moved_deadline(answer_by: datetime, asked_at: datetime, replied_at: datetime) -> datetime:
    """The deadline after a pause: later by as long as the question was open, never earlier."""
    return answer_by + max(replied_at - asked_at, timedelta())
