"""Group commit: what arrives while one transaction commits shares the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from broker.telemetry import logger
from schemas.errors import Refused, StorageUnavailable, Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Group(Generic[Item, Answer]):
    """Collects items for a function that commits many at once; each caller waits for its own.

    `run` must be running. Nothing waits for a timer: one item alone is a batch of one.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        most: int,
        waiting: int,
    ) -> None:
        """
        Args:
            commit: Answers each item, in order; raises if none of it was done.
            most: Items in one call.
            waiting: Items that may wait before `put` refuses.
        """
        self._commit = commit
        self._most = most
        self._limit = waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._something = asyncio.Event()

    async def put(self, item: Item, *, urgent: bool = False) -> Answer:
        """Wait until the item is committed.

        Args:
            urgent: It passes everything that waits, and is never refused for their number.

        Raises:
            Unavailable: Nothing was done, or it is not known: repeating must be safe.
        """
        if not urgent and len(self._waiting) >= self._limit:
            raise Unavailable("too much is waiting")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if urgent:
            self._waiting.appendleft((item, future))
        else:
            self._waiting.append((item, future))
        self._something.set()
        return await future

    async def run(self) -> None:
        """Commit batches, for ever."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                count = min(self._most, len(self._waiting))
                # Whoever hung up is answered nevertheless: it will ask again.
                await self._do([self._waiting.popleft() for _ in range(count)])

    async def _do(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._commit([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            if len(batch) > 1 and isinstance(error, (SQLAlchemyError, Refused)):
                # One bad row must not refuse its neighbours: each alone, then.
                logger().warning("hub:batch-split", count=len(batch), error=type(error).__name__)
                for one in batch:
                    await self._do([one])
                return
            self._fail(batch, error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _fail(self, batch: list[tuple[Item, asyncio.Future[Answer]]], error: Exception) -> None:
        if isinstance(error, DBAPIError):
            # Two hubs crossed (deadlock, serialisation, the same id at once): nothing was decided.
            logger().warning("hub:not-committed", error=type(error).__name__)
            error = StorageUnavailable(type(error).__name__)
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
