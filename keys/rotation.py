"""The schedule of keys: each is published before it is needed, overlaps its successor, and dies.

    published   lead    in force                     overlap      ends   grace  destroyed
    |-----------------|------------------------------|------------|------|
                                          |----------|-------------------------------->  its successor

Dates do the work, so one publication by the country is enough for a rotation: a successor is
published active from a later moment, and readers go over to it by themselves. Once a sealing key has
ended, the hub hands nothing over that was sealed to it, and its private half is destroyed: whatever
somebody recorded on the way can never be opened again. Pure: `now` in, what is due out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keys.lifecycle import PrivateKey, move
from schemas.base import KeyId
from schemas.directory import Compartment, KeyStatus, KeyUse, PublishedKey

WARN_DAYS = (60, 30, 7)
"""Before the end of a key, or of a role of the directory."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long before and after."""

    lead: timedelta = timedelta(days=7)
    """From publication to use: some gateways are offline for days."""
    overlap: timedelta = timedelta(days=30)
    """Both are in force: as long as a message may be under way (`send.life`)."""
    grace: timedelta = timedelta(days=1)
    """From the end to the destruction of the private half."""
    forget: timedelta = timedelta(days=90)
    """From the end of a sealing key until the directory need not show it any more."""


STANDARD = Schedule()
Slot = tuple[KeyUse, int, Compartment | None]


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now."""

    make: tuple[Slot, ...]
    """Slots that need a successor."""
    retire: tuple[KeyId, ...]
    """Ended, and still published as active."""
    destroy: tuple[KeyId, ...]
    """Ended for so long that the private half goes."""
    drop: tuple[KeyId, ...]
    """Destroyed so long ago that the directory need not show them."""

    def __bool__(self) -> bool:
        return bool(self.make or self.retire or self.destroy or self.drop)


def slot_of(key: PublishedKey | PrivateKey) -> Slot:
    """What a key is for; a successor is of the same slot."""
    return key.use, key.suite, key.compartment


def due(keys: Sequence[PublishedKey], now: datetime, schedule: Schedule = STANDARD) -> Due:
    """What the schedule asks for now, of one participant's published keys."""
    alive = [key for key in keys if key.status in (KeyStatus.PENDING, KeyStatus.ACTIVE)]
    last: dict[Slot, datetime] = {}
    for key in keys:
        last.setdefault(slot_of(key), key.not_before)
    for key in alive:
        last[slot_of(key)] = max(last[slot_of(key)], key.not_after)
    ended = [key for key in keys if now >= key.not_after]
    return Due(
        make=tuple(
            slot
            for slot, until in last.items()
            if slot[0] is not KeyUse.LOG and until - now <= schedule.lead + schedule.overlap
        ),
        retire=tuple(key.kid for key in ended if key.status is KeyStatus.ACTIVE),
        destroy=tuple(
            key.kid
            for key in ended
            if now >= key.not_after + schedule.grace
            and key.status in (KeyStatus.ACTIVE, KeyStatus.RETIRED)
        ),
        drop=tuple(
            key.kid
            for key in ended
            if key.use is KeyUse.SEAL
            and now >= key.not_after + schedule.forget
            and key.status is KeyStatus.DESTROYED
        ),
    )


def outlived(
    held: Iterable[PrivateKey],
    published: Iterable[PublishedKey],
    now: datetime,
    schedule: Schedule = STANDARD,
) -> tuple[KeyId, ...]:
    """Private keys that ended so long ago that they are destroyed, by the dates that the directory
    shows; of a key that was never published, by its own."""
    shown = {key.kid: key.not_after for key in published}
    return tuple(
        key.kid for key in held if now >= shown.get(key.kid, key.not_after) + schedule.grace
    )


def rotated(
    keys: Sequence[PublishedKey], todo: Due, made: Iterable[PublishedKey]
) -> tuple[PublishedKey, ...]:
    """The keys as the country shall publish them next."""
    kept = []
    for key in keys:
        if key.kid in todo.retire:
            key = move(key, KeyStatus.RETIRED)
        if key.kid in todo.destroy:
            key = move(key, KeyStatus.DESTROYED)
        if key.kid not in todo.drop:
            kept.append(key)
    return (*kept, *made)


def state_of(key: PublishedKey, now: datetime) -> KeyStatus:
    """The state in its life, by status and dates: one that has ended is retired whatever is said."""
    if key.status is not KeyStatus.ACTIVE:
        return key.status
    if now < key.not_before:
        return KeyStatus.PENDING
    return KeyStatus.ACTIVE if now < key.not_after else KeyStatus.RETIRED


def last_of_slots(keys: Sequence[PublishedKey], now: datetime) -> tuple[PublishedKey, ...]:
    """Of each slot the key that ends last: nothing comes after it yet."""
    found: dict[Slot, PublishedKey] = {}
    for key in keys:
        if state_of(key, now) in (KeyStatus.PENDING, KeyStatus.ACTIVE):
            best = found.get(slot_of(key))
            if best is None or key.not_after > best.not_after:
                found[slot_of(key)] = key
    return tuple(found.values())


def days_left(keys: Sequence[PublishedKey], now: datetime) -> float:
    """Days until the first slot is without a key; 0 if it is already so."""
    ends = [key.not_after for key in last_of_slots(keys, now)]
    return max(0.0, (min(ends) - now) / timedelta(days=1)) if ends else 0.0


def warnings(keys: Sequence[PublishedKey], now: datetime) -> tuple[tuple[PublishedKey, int], ...]:
    """Keys that end soon and have no successor, each with the step of `WARN_DAYS` it has reached.

    A step counts only in the second half of a key's life: of a key of ninety days, sixty days are
    no news.
    """
    found = []
    for key in last_of_slots(keys, now):
        left, life = key.not_after - now, key.not_after - key.not_before
        steps = [days for days in WARN_DAYS if left <= timedelta(days=days) <= life / 2]
        if steps:
            found.append((key, min(steps)))
    return tuple(found)
