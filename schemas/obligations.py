"""What a participant owes another: all that the blind hub knows of the state of a thread.

The hub cannot see whether a message asks for a referral or a transfer. It sees a coarse kind, a
reply, a deadline and whether the clock stands still. That is enough to say in time that an
answer is missing: each envelope of kind `request` is one obligation, an `answer` to it settles
it, and a `request` that pauses the clock (a question) stops the deadlines of what its author owes
in the thread until it is answered itself.

This table is the specification; the hub's store carries it out in SQL for many rows at once, and
a test holds the two together. The machines that know types are in `schemas.states`.
"""

from __future__ import annotations

from enum import StrEnum

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
    """What can happen to one. In `By`, the sender asked and the recipient owes."""

    ASK = "ask"
    QUESTION = "question"
    REPLY = "reply"
    ANSWER = "answer"
    DEADLINE = "deadline"
    WITHDRAW = "withdraw"


_OPEN = (Owed.ASKED, Owed.PAUSED, Owed.OVERDUE)

_EDGES: dict[Edge, str] = {
    (Owed.NONE, ObligationEvent.ASK, By.SENDER): Owed.ASKED,
    # A question after the deadline comes too late to excuse it.
    (Owed.ASKED, ObligationEvent.QUESTION, By.RECIPIENT): Owed.PAUSED,
    (Owed.PAUSED, ObligationEvent.REPLY, By.SENDER): Owed.ASKED,
    (Owed.ASKED, ObligationEvent.DEADLINE, By.BROKER): Owed.OVERDUE,
    **edges_from(_OPEN, ObligationEvent.ANSWER, (By.RECIPIENT,), Owed.ANSWERED),
    **edges_from(
        _OPEN, ObligationEvent.WITHDRAW, (By.SENDER, By.RECIPIENT, By.BROKER), Owed.WITHDRAWN
    ),
}

OBLIGATION = Machine(
    name="obligation",
    initial=Owed.NONE,
    terminal=frozenset({Owed.ANSWERED, Owed.WITHDRAWN}),
    edges=_EDGES,
    paused=frozenset({Owed.PAUSED}),
)
