"""The clock of one answer: when it is due, from when somebody is warned, and what stops it.

Pure arithmetic over the history of an exchange. A clarification stops the clock: while the thread is
in one of its machine's `paused` states no time passes, however often that happens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.families.base import MessageType
from schemas.machine import Machine

WARN_AT = 0.8
"""Share of the time after which a warning is due (domain rows `deadline.warning`, `.breached`)."""

Pause = tuple[datetime, datetime | None]
"""From when until when the clock stood still; no end: it still does."""


class Standing(StrEnum):
    """How an answer that is still owed stands."""

    RUNNING = "running"
    PAUSED = "paused"
    WARNED = "warned"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock says at one moment."""

    standing: Standing
    due_at: datetime
    """While the clock stands still, as if it went on now."""
    look_at: datetime | None
    """Before this nothing can change by time alone; None once the deadline has passed."""


def pauses_of(machine: Machine, history: Iterable[tuple[datetime, str]]) -> list[Pause]:
    """When the clock stood still, from (moment, state from then on) in order."""
    found: list[Pause] = []
    since: datetime | None = None
    for at, state in history:
        if state in machine.paused:
            since = since or at
        elif since is not None:
            found.append((since, at))
            since = None
    return found if since is None else [*found, (since, None)]


def deadline(
    asked_at: datetime,
    within: timedelta,
    pauses: Iterable[Pause],
    now: datetime,
) -> datetime:
    """When the answer is due, given when questions were open; a pause without an end is still open.

    Overlapping pauses count once, so that a question asked twice buys no extra time.
    """
    due = asked_at + within
    covered_until = asked_at
    for start, end in sorted(pauses, key=lambda pause: pause[0]):
        start = max(start, covered_until)
        stop = now if end is None else end
        if stop > start:
            due += stop - start
            covered_until = stop
    return due


def read_clock(
    asked_at: datetime, answer_by: datetime, pauses: Iterable[Pause], now: datetime
) -> Reading:
    """How things stand now with something asked then and due by then if nothing stops the clock."""
    stops = list(pauses)
    within = answer_by - asked_at
    due_at = deadline(asked_at, within, stops, now)
    warn_at = deadline(asked_at, within * WARN_AT, stops, now)
    if due_at <= now:
        return Reading(Standing.BREACHED, due_at, None)
    if any(end is None for _, end in stops):
        return Reading(Standing.PAUSED, due_at, due_at if warn_at <= now else warn_at)
    if warn_at <= now:
        return Reading(Standing.WARNED, due_at, due_at)
    return Reading(Standing.RUNNING, due_at, warn_at)


def first_look(row: MessageType, asked_at: datetime, answer_by: datetime | None) -> datetime | None:
    """When somebody must look at a fresh message for the first time; None if it asks for nothing."""
    if answer_by is None:
        return None
    if not row.alarm:
        return answer_by  # its silence is an answer: nobody is warned of it
    return asked_at + (answer_by - asked_at) * WARN_AT


def settled_by(row: MessageType, names: Iterable[str], *, pausing: frozenset[str]) -> bool:
    """True if one of the types that were said since is the answer that this type asks for.

    That somebody took it over is no answer, unless it is all that was asked; nor is a question.
    """
    wanted = set(row.replies) - pausing
    if row.overdue or len(row.replies) > 1:
        wanted -= {"referral.received", "disclosure.list"}  # her data are still to come
    return not wanted.isdisjoint(names)
