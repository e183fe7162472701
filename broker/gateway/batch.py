"""Group commit: many callers, one transaction, and each waits for its own durability."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Runs `work` on whatever has gathered while the one before was running.

    `work` gets up to `limit` items and answers each, in order, with a result or an exception. If
    it raises itself, the items are tried again one by one, so that one bad item spoils no other.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        limit: int,
    ) -> None:
        self._work = work
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Hand in one item; returns when it is done, raises what became of it."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        # A caller that goes away does not stop what is on its way to disk.
        return await asyncio.shield(future)

    async def _drain(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            try:
                results = await self._work([item for item, _ in taken])
            except Exception as error:
                if len(taken) == 1:
                    _settle(taken[0][1], error)
                    continue
                for item, future in taken:
                    try:
                        _settle(future, (await self._work([item]))[0])
                    except Exception as alone:
                        _settle(future, alone)
                continue
            except BaseException:
                # We are being stopped: whether it was stored is not known, so say neither.
                for _, future in [*taken, *self._waiting]:
                    future.cancel()
                raise
            for (_, future), result in zip(taken, results, strict=True):
                _settle(future, result)


def _settle(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
