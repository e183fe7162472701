"""Leaves a failing endpoint alone for a while, then tries it with one request; pure.

closed --enough failures in a row--> open --its rest is over--> half open --probe succeeds--> closed
                                      ^                            |
                                      +------- probe fails --------+   (the rest doubles)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Pass(StrEnum):
    """What a request goes through as."""

    USUAL = "usual"
    PROBE = "probe"
    """The one request by which an endpoint is tried again."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state; every change gives a new one. Times are seconds of one monotonic clock."""

    threshold: int = 5
    """Failures in a row that open it."""
    rest: float = 5.0
    """The first rest; it doubles with each failed probe."""
    longest: float = 300.0
    failures: int = 0
    resting: float = 0.0
    """How long the present rest is; 0 while closed."""
    until: float | None = None
    """When it ends; None while closed."""
    probing: bool = False

    @property
    def is_closed(self) -> bool:
        return self.until is None

    def enter(self, now: float) -> tuple[Breaker, Pass | None]:
        """Ask to send a request; None: not now."""
        if self.until is None:
            return self, Pass.USUAL
        if self.probing or now < self.until:
            return self, None
        return replace(self, probing=True), Pass.PROBE

    def succeeded(self) -> Breaker:
        """Any word of the endpoint itself, also of a request from before it opened, closes it."""
        return replace(self, failures=0, resting=0.0, until=None, probing=False)

    def failed(self, now: float, entered: Pass) -> Breaker:
        """A request failed. What began before it opened says nothing new while it is open."""
        if entered is Pass.PROBE and self.probing:
            return self._opened(now)
        if self.until is not None:
            return self
        counted = replace(self, failures=self.failures + 1)
        return counted._opened(now) if counted.failures >= self.threshold else counted

    def gave_up(self, entered: Pass) -> Breaker:
        """A request that entered was never sent, for reasons of our own: the next may probe."""
        return replace(self, probing=False) if entered is Pass.PROBE else self

    def _opened(self, now: float) -> Breaker:
        resting = min(max(self.rest, 2 * self.resting), self.longest)
        return replace(self, resting=resting, until=now + resting, probing=False)
