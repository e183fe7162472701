"""Rate limits per participant. Safety alerts, withdrawals and evidence never come here."""

from __future__ import annotations

import time
from collections import Counter

from broker.hub.settings import LimitSettings

MINUTE, HOUR = 60.0, 3600.0


class Windows:
    """How much each has done in a sliding window, by two counters.

    What was done in the window before counts for as much of it as the sliding one still covers. Who
    did nothing for two windows is forgotten.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._window = 0
        self._before: Counter[str] = Counter()
        self._now: Counter[str] = Counter()

    def hit(self, who: str, cost: int = 1) -> bool:
        """Count it, unless that is too much; then nothing is counted."""
        window, passed = divmod(time.monotonic() / self._seconds, 1)
        if window != self._window:
            self._before = self._now if window == self._window + 1 else Counter()
            self._now, self._window = Counter(), int(window)
        if self._before[who] * (1 - passed) + self._now[who] + cost > self._limit:
            return False
        self._now[who] += cost
        return True


class Limiter:
    """Counts in this process: two hubs behind one address allow twice as much."""

    def __init__(self, settings: LimitSettings) -> None:
        self._envelopes = Windows(settings.envelopes_per_minute, MINUTE)
        self._refusals = Windows(settings.envelopes_per_minute, MINUTE)
        self._registrations = Windows(settings.requests_per_minute, MINUTE)
        self._requests = Windows(settings.requests_per_minute, MINUTE)
        self._unknown_evidence = Windows(settings.requests_per_minute, MINUTE)
        self._bytes = Windows(settings.attachment_bytes_per_hour, HOUR)

    def envelope(self, participant: str) -> bool:
        """Count one envelope; False if that is one too many."""
        return self._envelopes.hit(participant)

    def refusal(self, participant: str) -> bool:
        """Count one refusal to sign and keep; False if that is one too many.

        Apart from `envelope`: who has a participant's old key must not use up its rate.
        """
        return self._refusals.hit(participant)

    def registration(self, participant: str) -> bool:
        """Count one grant, agreement or suspension; False if that is one too many."""
        return self._registrations.hit(participant)

    def request(self, participant: str) -> bool:
        """Count one request; False if that is one too many."""
        return self._requests.hit(participant)

    def unknown_evidence(self, participant: str) -> bool:
        """Count one evidence about nothing that the hub knows; False if that is one too many.

        It is kept for years like any other, and nothing that went through the hub bounds it.
        """
        return self._unknown_evidence.hit(participant)

    def upload(self, participant: str, size: int) -> bool:
        """Count bytes of an attachment; False if that is too much."""
        return self._bytes.hit(participant, max(1, size))


class QuarantineLimit:
    """How many suspects are kept in one participant's name; beyond it they are only counted."""

    def __init__(self, per_hour: int = 600) -> None:
        self._windows = Windows(per_hour, HOUR)

    def hit(self, participant: str) -> bool:
        """Count one; False if it is not to be kept."""
        return self._windows.hit(participant)
