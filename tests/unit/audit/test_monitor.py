"""Whoever follows a log sees it grow, and holds the proof when it does anything else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from broker.audit.log.checkpoint import Contradiction, open_checkpoint
from broker.audit.log.tiles import Tile, entries_path, tile_path
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.verify import verify_log
from broker.audit.witnesses.monitor import Monitor, fetch_from
from schemas.errors import BadSignature, LogInconsistent
from tests.support.audit_log import ORIGIN, START, LogKeys, MemoryLog, some_leaf


class Notebook:
    """Remembers checkpoints."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def remember(self, checkpoint: bytes) -> None:
        self.kept.append(checkpoint)


def follow(log: MemoryLog, folder: Path, notebook: Notebook) -> Monitor:
    return Monitor(
        log=log.keys.verifiers,
        fetch=fetch_from(folder),
        remember=notebook.remember,
        trusted=notebook.kept[-1] if notebook.kept else None,
    )


@pytest.mark.parametrize("steps", [(1, 2, 3), (255, 1, 1), (0, 5), (300, 300), (256, 256, 512)])
async def test_a_log_that_grows_is_followed_also_over_restarts(
    steps: tuple[int, ...], tmp_path: Path
) -> None:
    log, notebook = MemoryLog(), Notebook()
    for number, step in enumerate(steps):
        log.grow(step)
        log.write(tmp_path)
        followed = await follow(log, tmp_path, notebook).update()
        assert followed.grew_by == step
        assert followed.head.checkpoint.size == len(log.entries)
        assert len(notebook.kept) == number + 1


async def test_a_log_that_stands_still_is_followed_by_its_date(tmp_path: Path) -> None:
    log, notebook = MemoryLog(), Notebook()
    log.grow(10)
    log.write(tmp_path)
    monitor = follow(log, tmp_path, notebook)
    await monitor.update()
    log.write(tmp_path, START + timedelta(hours=1))
    followed = await monitor.update()
    assert followed.grew_by == 0
    assert followed.head.dated_by_log == START + timedelta(hours=1)


@pytest.mark.parametrize(("before", "after"), [(300, 300), (300, 700), (256, 513), (3, 4)])
async def test_a_log_with_another_past_is_held_with_both_heads(
    before: int, after: int, tmp_path: Path
) -> None:
    log, notebook = MemoryLog(), Notebook()
    log.grow(before)
    log.write(tmp_path)
    monitor = follow(log, tmp_path, notebook)
    await monitor.update()
    log.entries[1] = some_leaf(99)
    log.grow(after - before)
    log.write(tmp_path)
    with pytest.raises(Contradiction) as caught:
        await monitor.update()
    one, other = (open_checkpoint(raw, log.keys.verifiers) for raw in caught.value.checkpoints)
    assert (one.checkpoint.size, other.checkpoint.size) == (before, after)
    assert one.checkpoint.root != other.checkpoint.root
    assert len(notebook.kept) == 1


async def test_a_log_that_shrinks_is_held_with_both_heads(tmp_path: Path) -> None:
    log, notebook = MemoryLog(), Notebook()
    log.grow(50)
    log.write(tmp_path)
    monitor = follow(log, tmp_path, notebook)
    await monitor.update()
    del log.entries[40:]
    log.write(tmp_path)
    with pytest.raises(Contradiction, match="shrunk"):
        await monitor.update()


async def test_tiles_that_are_not_the_checkpoints_are_noticed(tmp_path: Path) -> None:
    log, notebook = MemoryLog(), Notebook()
    log.grow(300)
    log.write(tmp_path)
    tile = tmp_path / tile_path(Tile(0, 1), 44)
    good = tile.read_bytes()
    for bad in (good[:-1] + b"x", good[:-32], good + bytes(32), b"short"):
        tile.write_bytes(bad)
        with pytest.raises(LogInconsistent):
            await follow(log, tmp_path, notebook).update()
    assert notebook.kept == []


async def test_a_checkpoint_by_another_key_or_of_another_log_is_refused(tmp_path: Path) -> None:
    log, notebook = MemoryLog(), Notebook()
    log.grow(5)
    log.write(tmp_path)
    monitor = follow(log, tmp_path, notebook)
    await monitor.update()
    stranger = MemoryLog(LogKeys())
    stranger.grow(6)
    stranger.write(tmp_path)
    with pytest.raises(BadSignature):
        await monitor.update()


# --- the whole log -------------------------------------------------------------------------


def policy_of(log: MemoryLog) -> Policy:
    return Policy.of_logs(log.keys.vkey, log.keys.pq_vkey)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
def test_a_whole_log_verifies_with_the_earlier_heads(size: int, tmp_path: Path) -> None:
    log = MemoryLog()
    log.grow(size)
    log.write(tmp_path)
    earlier = [log.head(size=kept).raw for kept in {0, size // 2, size}]
    verdict = verify_log(tmp_path, policy_of(log), earlier=earlier)
    assert verdict.proven, verdict.lines()
    assert verdict.log_size == size
    assert verdict.events == ({"envelope:submitted": size} if size else {})
    assert verdict.index is None
    assert verdict.lines()[-1].startswith("PROVEN")
    assert any(f"all {size} entries of the log {ORIGIN}" in line for line in verdict.lines())


def test_an_earlier_head_of_another_history_is_noticed(tmp_path: Path) -> None:
    log = MemoryLog()
    log.grow(20)
    kept = log.head().raw
    log.entries[7] = some_leaf(7)
    log.grow(20)
    log.write(tmp_path)
    assert verify_log(tmp_path, policy_of(log)).proven
    assert not verify_log(tmp_path, policy_of(log), earlier=[kept]).proven
    assert not verify_log(tmp_path, policy_of(log), earlier=[log.head(size=41).raw]).proven
    assert not verify_log(tmp_path, policy_of(log), earlier=[b"nonsense"]).proven


@pytest.mark.parametrize(
    "path",
    [
        entries_path(0),
        entries_path(1, 44),
        tile_path(Tile(0, 0)),
        tile_path(Tile(0, 1), 44),
        tile_path(Tile(1, 0), 1),
        "checkpoint",
    ],
)
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_anywhere_in_the_folder_is_noticed(path: str, damage: str, tmp_path: Path) -> None:
    log = MemoryLog()
    log.grow(300)
    log.write(tmp_path)
    file = tmp_path / path
    data = file.read_bytes()
    if damage == "remove":
        if path == "checkpoint":
            file.write_bytes(b"")
        else:
            file.unlink()
    else:
        at = len(data) // 2 if path != "checkpoint" else 20
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        file.write_bytes(flipped if damage == "flip" else data[:-1])
    verdict = verify_log(tmp_path, policy_of(log))
    assert not verdict.proven
    assert verdict.lines()[-1] == "NOT PROVEN."


def test_a_leaf_that_says_more_than_it_may_is_noticed(tmp_path: Path) -> None:
    log = MemoryLog()
    log.grow(3)
    log.entries.append(b'{"name":"somebody"}')
    log.write(tmp_path)
    verdict = verify_log(tmp_path, policy_of(log))
    assert not verdict.proven
    assert any("entry 3" in line for line in verdict.lines())
    assert not any("somebody" in line for line in verdict.lines())
