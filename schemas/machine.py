"""A state machine as data, and the one function that moves it.

Messages travel at least once and may come late, twice, or not at all. So an event is not simply
legal or illegal. `step` gives one of three effects:

* `moved`: there is an edge; the state is now another (or the same, if the edge says so).
* `recorded`: the event is true but old: a duplicate, something overtaken by a later event, or
  something that reached an ended exchange. It is kept, and never moves the state back.
* `refused`: no history of honest parties leads here: an unknown event, the wrong party, or an
  event whose precondition never happened.

What we do ourselves must be `moved`; what the other side tells us may also be `recorded`. And what
it tells us may `leap`: its messages come late or not at all, so one that it could have come to by
acts of its own (and the clock's) that we have not heard of is as true as if we had.

An ended exchange stays ended. Only a machine's `last_word` is still heard: sent in error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.errors import NotPermitted


class By(StrEnum):
    """Who causes an event, seen from the exchange and not from the machine it runs on."""

    SENDER = "sender"
    """The participant that opened the thread."""
    RECIPIENT = "recipient"
    """The participant that the opening message was addressed to."""
    BROKER = "broker"
    """The hub's evidence, or the gateway's own clock."""


class Effect(StrEnum):
    """What an event did."""

    MOVED = "moved"
    RECORDED = "recorded"
    REFUSED = "refused"


Edge = tuple[str, str, By]
"""(state, event, by): read as 'in this state, this event, caused by this party'."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after an event, and what the event did."""

    state: str
    effect: Effect


@dataclass(frozen=True)
class Machine:
    """Transitions as a table. Everything that is not in `edges` is late or refused."""

    name: str
    initial: str
    terminal: frozenset[str]
    edges: Mapping[Edge, str]
    paused: frozenset[str] = frozenset()
    """States in which the deadline of what was asked does not run."""
    guards: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Event to what must be attested with it, whoever says it."""
    backwards: frozenset[str] = frozenset()
    """Events that set a state back on purpose. One that was overtaken by a later message of the same
    party is old, and is recorded only."""
    last_word: str | None = None
    """The one state that an ended exchange may still go to."""
    states: frozenset[str] = field(init=False)
    _after: Mapping[tuple[str, By], frozenset[str]] = field(init=False, repr=False)
    _leaps: Mapping[Edge, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        states = {self.initial, *self.terminal}
        for (source, _event, _by), target in self.edges.items():
            states |= {source, target}
            if source in self.terminal and target != self.last_word:
                raise ValueError(f"{self.name}: an edge leaves the terminal state {source}")
        if not self.paused <= states:
            raise ValueError(f"{self.name}: a paused state is not in the table")
        reach = _reachable(states, self.edges)
        after: dict[tuple[str, By], set[str]] = {}
        for source, event, by in self.edges:
            after.setdefault((event, by), set()).update(reach[source])
        object.__setattr__(self, "states", frozenset(states))
        object.__setattr__(self, "_after", {key: frozenset(into) for key, into in after.items()})
        object.__setattr__(self, "_leaps", _leaps(states - self.terminal, self.edges))

    def events(self, state: str, by: By) -> frozenset[str]:
        """What `by` may do now."""
        return frozenset(event for (at, event, who) in self.edges if at == state and who is by)

    def could_be_late(self, state: str, event: str, by: By) -> bool:
        """True if a history exists in which this event was possible before `state`."""
        return state in self._after.get((event, by), frozenset())

    def leap(self, state: str, event: str, by: By) -> str | None:
        """Where this event leads once `by` has done, unheard, what had to come before it."""
        return self._leaps.get((state, event, by))


def step(
    machine: Machine,
    state: str,
    event: str,
    by: By,
    *,
    given: Collection[str] = (),
    heard: bool = False,
) -> Outcome:
    """Apply one event to one state; see the module's docstring for the three effects.

    Args:
        given: What is attested together with the event; see `Machine.guards`.
        heard: The other party says it, so that it may leap over what we have not heard.

    Raises:
        ValueError: `state` is not a state of this machine (a bug, or a foreign database).
    """
    if state not in machine.states:
        raise ValueError(f"{machine.name} has no such state")
    if machine.guards.get(event, frozenset()) - set(given):
        return Outcome(state, Effect.REFUSED)
    target = machine.edges.get((state, event, by))
    if target is not None:
        return Outcome(target, Effect.MOVED)
    if machine.could_be_late(state, event, by):
        return Outcome(state, Effect.RECORDED)
    target = machine.leap(state, event, by) if heard else None
    if target is not None:
        return Outcome(target, Effect.MOVED)
    return Outcome(state, Effect.REFUSED)


def next_state(machine: Machine, state: str, event: str, by: By) -> str:
    """The state after something that we do ourselves.

    Raises:
        NotPermitted: The table does not allow it now.
    """
    outcome = step(machine, state, event, by)
    if outcome.effect is not Effect.MOVED:
        raise NotPermitted(f"{machine.name}: {event} by {by} is not possible in {state}")
    return outcome.state


def edges_from(
    states: Iterable[str], event: str, parties: Iterable[By], target: str
) -> dict[Edge, str]:
    """The same edge from several states and parties."""
    parties = tuple(parties)
    return {(state, event, by): target for state in states for by in parties}


def _reachable(states: set[str], edges: Mapping[Edge, str]) -> dict[str, frozenset[str]]:
    """For each state, those that can come strictly after one of its edges was taken or missed."""
    direct: dict[str, set[str]] = {state: set() for state in states}
    for (source, _event, _by), target in edges.items():
        direct[source].add(target)
    found = {}
    for state in states:
        seen: set[str] = set()
        queue = list(direct[state])
        while queue:
            at = queue.pop()
            if at not in seen:
                seen.add(at)
                queue.extend(direct[at])
        found[state] = frozenset(seen)
    return found


def _leaps(states: Iterable[str], edges: Mapping[Edge, str]) -> dict[Edge, str]:
    """For each state and party: the events that it can come to alone, by the shortest way."""
    found: dict[Edge, str] = {}
    leaving: dict[str, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge[0], []).append(edge)
    for start in states:
        for party in (By.SENDER, By.RECIPIENT):
            seen, queue = {start}, deque([start])
            while queue:
                for edge in leaving.get(queue.popleft(), ()):
                    if edge[2] is party:
                        found.setdefault((start, edge[1], party), edges[edge])
                    if edge[2] in (party, By.BROKER) and edges[edge] not in seen:
                        seen.add(edges[edge])
                        queue.append(edges[edge])
    return found
