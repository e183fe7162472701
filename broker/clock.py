"""Time as a parameter: what decides is given `now`, what runs is given a `Clock`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time in UTC, in whole milliseconds (what the wire carries)."""

    def now(self) -> datetime: ...


def is_recent(moment: datetime, now: datetime, within: timedelta) -> bool:
    """True if `moment` was no longer ago than `within`.

    A moment that is still to come was read from a clock that was ahead and has been put right since:
    how long ago it was nobody knows, so it was not lately.
    """
    return now - within <= moment <= now


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class TurnedClock:
    """A clock that tests turn by hand, or that runs a fixed offset away from the machine's."""

    def __init__(self, start: datetime | None = None, *, offset: timedelta = timedelta()) -> None:
        self._fixed = start
        self._offset = offset

    def now(self) -> datetime:
        return (self._fixed or SystemClock().now()) + self._offset

    def turn(self, by: timedelta) -> None:
        """Move the clock; negative runs it backwards, as a bad NTP server would."""
        self._offset += by
