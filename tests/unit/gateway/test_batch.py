"""Group commit: each caller waits for its own, and one bad item spoils no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broker.gateway.batch import Batcher


async def test_what_gathers_while_one_batch_runs_goes_into_the_next_together() -> None:
    sizes: list[int] = []

    async def work(items: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(items))
        await asyncio.sleep(0.01)
        return [item * 2 for item in items]

    batch: Batcher[int, int] = Batcher(work, limit=50)

    results = await asyncio.gather(*(batch(item) for item in range(100)))

    assert results == [item * 2 for item in range(100)]
    assert len(sizes) <= 4


async def test_one_bad_item_fails_alone() -> None:
    async def work(items: Sequence[int]) -> list[int | Exception]:
        if 3 in items:
            raise ValueError("three")
        return list(items)

    batch: Batcher[int, int] = Batcher(work, limit=50)

    results = await asyncio.gather(*(batch(item) for item in range(5)), return_exceptions=True)

    assert [r for r in results if not isinstance(r, BaseException)] == [0, 1, 2, 4]
    assert isinstance(results[3], ValueError)


async def test_a_caller_that_goes_away_does_not_stop_the_work() -> None:
    done: list[int] = []

    async def work(items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(0.02)
        done.extend(items)
        return list(items)

    batch: Batcher[int, int] = Batcher(work, limit=5)
    caller = asyncio.create_task(batch(1))
    await asyncio.sleep(0.005)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0.05)

    assert done == [1]
