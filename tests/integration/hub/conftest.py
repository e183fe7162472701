"""A hub on each database, with Italy, Albania and an Albanian shelter enrolled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.clock import TurnedClock
from tests.support.hub import Served, World, turned_clock

NAMES = ("it.nrm", "al.nrm", "al.shelter", "al.coordinator", "it.rapporteur")


@pytest.fixture
def clock() -> TurnedClock:
    return turned_clock()


@pytest.fixture
def world(tmp_path: Path, clock: TurnedClock, database_url: str) -> World:
    return World(tmp_path, clock, database=database_url, names=NAMES)


@pytest.fixture
async def served(world: World) -> AsyncIterator[Served]:
    async with world.serving() as served:
        yield served
