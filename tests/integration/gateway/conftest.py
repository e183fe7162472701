"""Two gateways and a hub, or three: what most of these tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateways import World, world


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[World]:
    """Italy and Albania, with an agreement."""
    async with world(tmp_path / "network") as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    """Italy, Albania, and a shelter with which Albania has an agreement."""
    async with world(tmp_path / "network", "it.nrm", "al.nrm", "al.shelter") as made:
        yield made
