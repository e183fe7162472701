"""Keeps the trust directory fresh, in the background, without ever going back.

A refresh is blocking work (TUF over HTTP or files), so it runs in a thread. A refresh that fails
leaves the last directory that verified in place: its own expiries end it, not a bad line. They do end
it: whoever keeps newer ones away gains seven days and no more.

Revocations come another way and faster, and lie over whichever directory is held: holding the
directory still does not hide them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

from broker.client.revocations import KnownRevocations
from broker.clock import Clock
from broker.telemetry import logger
from schemas.base import KeyId
from schemas.directory import TrustedDirectory
from schemas.errors import BrokerError, DirectoryRefused, DirectoryRolledBack, Unavailable


class DirectorySource(Protocol):
    """Fetches and verifies the directory. `keys.trust.DirectoryClient` is one."""

    def refresh(self, now: datetime) -> TrustedDirectory: ...
    def cached(self, now: datetime) -> TrustedDirectory: ...


class RevocationFeed(Protocol):
    """Where revocations are read from. `broker.client.HubClient` is one."""

    async def revocations(
        self, after: int, *, wait: timedelta = timedelta()
    ) -> tuple[tuple[int, bytes], ...]: ...


class DirectoryWatcher:
    """Holds the newest directory that verified.

    `current()` never blocks and never returns an older version than it did before.
    """

    def __init__(
        self,
        source: DirectorySource,
        *,
        clock: Clock,
        every: timedelta,
        revocations: KnownRevocations | None = None,
    ) -> None:
        self._revocations = revocations
        self._published: TrustedDirectory | None = None
        self._source = source
        self._clock = clock
        self._every = every
        self._current: TrustedDirectory | None = None
        self._ends_at = datetime.max.replace(tzinfo=UTC)
        self.refused: BrokerError | None = None
        """Why the last refresh failed; None after one that did not."""
        self._lock = asyncio.Lock()
        self._begun = 0
        """How often it was asked for. Counted, not timed: a clock can be put back."""

    def current(self) -> TrustedDirectory:
        """The newest directory that verified.

        Raises:
            Unavailable: None has verified yet, or the one that did has run out since and no newer
                one came. Not `DirectoryRefused`: who asks is to keep what it has, and try again.
        """
        if self._current is None:
            raise Unavailable("no trust directory yet")
        if self._clock.now() >= self._ends_at:
            raise Unavailable("the trust directory has run out")
        return self._current

    async def refresh(self) -> TrustedDirectory:
        """Fetch now. Several callers at once share one fetch.

        Raises:
            Unavailable: It could not be fetched, or what came does not verify (`refused` says why):
                never the fault of the message for which somebody asks. What was held before stays.
        """
        try:
            return await self._fetch()
        except DirectoryRefused as error:
            raise Unavailable(error.describe()) from error

    async def _fetch(self) -> TrustedDirectory:
        before = self._begun
        async with self._lock:
            if self._current is not None and self._begun > before:
                return self._current
            self._begun += 1
            try:
                fetched = await asyncio.to_thread(self._source.refresh, self._clock.now())
            except BrokerError as error:
                self.refused = error
                raise
            self.refused = None
            if self._published is not None and fetched.order < self._published.order:
                raise DirectoryRolledBack("an older directory than the one held")
            if self._published is None or fetched.digest != self._published.digest:
                logger().info("directory:changed", directory_version=fetched.version)
            return await asyncio.to_thread(self._hold, fetched)

    def _hold(self, directory: TrustedDirectory) -> TrustedDirectory:
        self._published = directory
        self._ends_at = directory.ends_at
        known = self._revocations
        self._current = directory if known is None else known.applied(directory, self._clock.now())
        return self._current

    async def follow_revocations(
        self, feed: RevocationFeed, *, wait: timedelta = timedelta()
    ) -> list[KeyId]:
        """Read on in the hub's feed of revocations; what it says counts from now on.

        Args:
            wait: How long the hub may hold the question while there is nothing new: its answer
                then comes at the moment in which a key is revoked.

        Returns:
            The keys that are compromised now and were not before.

        Raises:
            Unavailable: The hub does not answer, or what it said could not be kept.
        """
        known = self._revocations
        if known is None:
            return []
        before = set(self.current().compromised_since)
        while found := await feed.revocations(known.position, wait=wait):
            wait = timedelta()
            async with self._lock:
                try:
                    await asyncio.to_thread(known.add, list(found))
                finally:
                    if self._published is not None:
                        await asyncio.to_thread(self._hold, self._published)
        return sorted(set(self.current().compromised_since) - before)

    async def revocations_anew(self) -> list[bytes]:
        """All that was ever heard; the hub's feed is read from its beginning the next time.

        Raises:
            StorageUnavailable: It cannot be kept.
        """
        if self._revocations is None:
            return []
        async with self._lock:
            return await asyncio.to_thread(self._revocations.begin_anew)

    async def start(self) -> TrustedDirectory:
        """Have a directory: a fresh one, or with the hub away the one verified last, if it is
        still good.

        Raises:
            DirectoryRefused: What came, or what was kept, does not verify.
            Unavailable: Neither could be read.
        """
        try:
            return await self._fetch()
        except Unavailable:
            async with self._lock:
                kept = await asyncio.to_thread(self._source.cached, self._clock.now())
                return await asyncio.to_thread(self._hold, kept)

    async def run(self) -> None:
        """Refresh for ever; a failure is logged by its code and tried again."""
        while True:
            try:
                await self._fetch()
            except BrokerError as error:
                logger().warning("directory:not-refreshed", code=error.code)
            await asyncio.sleep(self._every.total_seconds())
