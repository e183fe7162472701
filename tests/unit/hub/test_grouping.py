"""Group commit: who shares, who waits, who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import IntegrityError

from broker.hub.grouping import Group
from schemas.errors import StorageUnavailable, Unavailable


class Committer:
    """Remembers what was committed together; a negative number is a row that cannot be written."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        await self.may_go.wait()
        if min(batch) < 0:
            raise IntegrityError("invented", {}, ValueError())
        return [2 * one for one in batch]


@asynccontextmanager
async def running(
    committer: Committer, *, most: int = 8, waiting: int = 100
) -> AsyncIterator[Group[int, int]]:
    group = Group(committer, most=most, waiting=waiting)
    task = asyncio.create_task(group.run())
    try:
        yield group
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_one_alone_waits_for_nobody() -> None:
    committer = Committer()
    async with running(committer) as group, asyncio.timeout(1):
        assert await group.put(1) == 2

    assert committer.batches == [[1]]


async def test_what_arrives_during_a_commit_shares_the_next_and_each_gets_its_own_answer() -> None:
    committer = Committer()
    async with running(committer, most=3) as group:
        committer.may_go.clear()
        first = asyncio.create_task(group.put(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.create_task(group.put(number)) for number in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        committer.may_go.set()

        assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]

    assert committer.batches == [[1], [2, 3, 4], [5]]


async def test_one_bad_row_refuses_none_of_its_neighbours() -> None:
    committer = Committer()
    async with running(committer) as group:
        answers = await asyncio.gather(*map(group.put, (1, -2, 3)), return_exceptions=True)

    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], StorageUnavailable)


async def test_what_is_urgent_passes_everything_that_waits_and_is_not_refused_for_their_number() -> (
    None
):
    committer = Committer()
    async with running(committer, most=1, waiting=2) as group:
        committer.may_go.clear()
        tasks = [asyncio.create_task(group.put(1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(group.put(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await group.put(4)
        tasks.append(asyncio.create_task(group.put(5, urgent=True)))
        await asyncio.sleep(0)
        committer.may_go.set()
        await asyncio.gather(*tasks)

    assert committer.batches == [[1], [5], [2], [3]]
