"""An exchange without a message that will certainly never be there.

Whoever says something moves its own side at once, and the other side moves when it hears it. What
the hub or the other gateway refuses is never heard; then the two would differ for good: one has
signed and the other not, one has answered and the other waits. So it counts as not said, and what
was said after it counts as the other side hears it: having missed something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.machine import By, Effect, Machine, step


@dataclass(frozen=True, slots=True)
class Said:
    """One message in the history of an exchange."""

    event: str
    by: By
    before: str
    """The state in which it came."""
    moved: bool
    overtaken: bool = False
    """Its party has said something later, which came first."""


@dataclass(frozen=True, slots=True)
class Stands:
    """What a message did, now that another counts as not said."""

    before: str
    after: str
    moved: bool


def unsaid(machine: Machine, said: Sequence[Said], now_at: str) -> tuple[str, list[Stands]]:
    """The state of an exchange without the first of these, and what the others did then.

    Args:
        said: It, and everything that either party said since, in the order in which it came.
        now_at: The state as it is: clocks and the hub move it beside what is said.
    """
    first = said[0]
    was, state = _after(machine, first.before, first), first.before
    stands: list[Stands] = []
    for one in said[1:]:
        state, was = _beside(machine, state, was, one.before), one.before
        before, after = state, state if one.overtaken else _after(machine, state, one)
        moved = one.moved if after == before else True
        stands.append(Stands(before, after, moved))
        state = after
        if one.moved:
            was = _after(machine, was, one)
    return _beside(machine, state, was, now_at), stands


def _after(machine: Machine, state: str, said: Said) -> str:
    given = machine.guards.get(said.event, frozenset())  # asked for when it was said
    outcome = step(machine, state, said.event, said.by, given=given, heard=True)
    return outcome.state if outcome.effect is Effect.MOVED else state


def _beside(machine: Machine, state: str, was: str, came_to: str) -> str:
    """Let a clock or the hub do to `state` what it has done to `was`."""
    if was == came_to:
        return state
    if came_to in machine.terminal:
        return came_to  # that has ended it, whatever was said
    for (source, event, by), target in machine.edges.items():
        if (source, by, target) == (was, By.BROKER, came_to):
            return machine.edges.get((state, event, By.BROKER), state)
    return state
