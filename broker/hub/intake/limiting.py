"""Rate limits per participant. Safety alerts, withdrawals and evidence never come here."""

from __future__ import annotations

from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from broker.hub.settings import LimitSettings


class Limiter:
    """Counts in this process: two hubs behind one address allow twice as much."""

    def __init__(self, settings: LimitSettings) -> None:
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._envelopes = RateLimitItemPerMinute(settings.envelopes_per_minute)
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute)
        self._bytes = RateLimitItemPerHour(settings.attachment_bytes_per_hour)

    def envelope(self, participant: str) -> bool:
        """Count one envelope; False if that is one too many."""
        return self._windows.hit(self._envelopes, "envelope", participant)

    def refusal(self, participant: str) -> bool:
        """Count one refusal to sign and keep; False if that is one too many.

        Apart from `envelope`: who has a participant's old key must not use up its rate.
        """
        return self._windows.hit(self._envelopes, "refusal", participant)

    def registration(self, participant: str) -> bool:
        """Count one grant, agreement or suspension; False if that is one too many."""
        return self._windows.hit(self._requests, "registration", participant)

    def request(self, participant: str) -> bool:
        """Count one request; False if that is one too many."""
        return self._windows.hit(self._requests, "request", participant)

    def unknown_evidence(self, participant: str) -> bool:
        """Count one evidence about nothing that the hub knows; False if that is one too many.

        It is kept for years like any other, and nothing that went through the hub bounds it.
        """
        return self._windows.hit(self._requests, "unknown-evidence", participant)

    def upload(self, participant: str, size: int) -> bool:
        """Count bytes of an attachment; False if that is too much."""
        return self._windows.hit(self._bytes, "upload", participant, cost=max(1, size))


class QuarantineLimit:
    """How many suspects are kept in one participant's name; beyond it they are only counted."""

    def __init__(self, per_hour: int = 600) -> None:
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerHour(per_hour)

    def hit(self, participant: str) -> bool:
        """Count one; False if it is not to be kept."""
        return self._windows.hit(self._limit, participant)
