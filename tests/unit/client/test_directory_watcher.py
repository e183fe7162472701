"""The directory that a running gateway holds ends by its own dates, whoever holds newer ones back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.client import DirectoryWatcher
from broker.clock import TurnedClock
from keys.ceremony.roles import ONLINE_LIFE, TARGETS_LIFE
from schemas.errors import (
    DirectoryExpired,
    DirectoryFrozen,
    DirectoryMismatch,
    DirectoryRefused,
    Unavailable,
)
from tests.support.ceremony import World, make_world
from tests.support.parties import NOW, make_party

MOMENT = timedelta(seconds=1)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, make_party("it.nrm"))


@pytest.fixture
async def watcher(world: World, clock: TurnedClock) -> DirectoryWatcher:
    made = DirectoryWatcher(world.reader(), clock=clock, every=timedelta(minutes=5))
    await made.start()
    return made


async def test_what_nobody_renews_is_believed_for_seven_days_and_no_longer(
    world: World, watcher: DirectoryWatcher, clock: TurnedClock
) -> None:
    clock.turn(ONLINE_LIFE - MOMENT)
    assert (await watcher.refresh()).digest == watcher.current().digest
    clock.turn(MOMENT)
    with pytest.raises(Unavailable):
        watcher.current()
    # Who asks for it because of a message keeps the message: it is nobody's fault who wrote it.
    with pytest.raises(Unavailable, match="directory-frozen"):
        await watcher.refresh()
    assert isinstance(watcher.refused, DirectoryFrozen)
    world.repository.refresh_timestamp(world.online, clock.now())
    assert await watcher.refresh() == watcher.current()
    assert watcher.refused is None


async def test_a_role_of_the_keepers_that_runs_out_ends_it_too(
    world: World, watcher: DirectoryWatcher, clock: TurnedClock
) -> None:
    world.repository.refresh_timestamp(world.online, NOW + TARGETS_LIFE - MOMENT)
    await watcher.refresh()
    clock.turn(TARGETS_LIFE)
    with pytest.raises(Unavailable):
        watcher.current()
    with pytest.raises(Unavailable, match="directory-expired"):
        await watcher.refresh()
    assert isinstance(watcher.refused, DirectoryExpired)


async def test_what_does_not_verify_leaves_what_is_held(
    world: World, watcher: DirectoryWatcher
) -> None:
    held = watcher.current()
    (file,) = (world.repository.path / "targets" / "it").iterdir()
    file.write_bytes(make_party("it.nrm").entry.to_json())
    for cached in (world.folder / "cache" / "targets").rglob("*.json"):
        cached.unlink(missing_ok=True)
    with pytest.raises(Unavailable):
        await watcher.refresh()
    assert isinstance(watcher.refused, DirectoryMismatch)
    assert watcher.current() is held


async def test_nobody_starts_with_a_directory_that_stands_still(
    world: World, clock: TurnedClock
) -> None:
    clock.turn(ONLINE_LIFE)
    with pytest.raises(DirectoryRefused, match="directory-frozen"):
        await DirectoryWatcher(world.reader(), clock=clock, every=timedelta(minutes=5)).start()


async def test_a_clock_that_is_put_back_keeps_no_newer_directory_away(
    world: World, watcher: DirectoryWatcher, clock: TurnedClock
) -> None:
    clock.turn(timedelta(hours=3))
    await watcher.refresh()
    clock.turn(timedelta(hours=-3))
    before = watcher.current().digest
    world.repository.refresh_timestamp(world.online, clock.now() + MOMENT)
    await watcher.refresh()
    assert watcher.current().digest != before
