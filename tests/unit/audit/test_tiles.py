"""Tiles are those of C2SP tlog-tiles, and appending tile by tile gives the same tree."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.log.merkle import (
    evaluate,
    inclusion_plan,
    leaf_hash,
    node_hash,
    root_plan,
    tree_root,
    verify_inclusion,
)
from broker.audit.log.tiles import (
    WIDTH,
    Edge,
    Tile,
    edge_tiles,
    entries_path,
    lookup_in,
    parse_tile_path,
    read_bundle,
    split,
    tile_list,
    tile_path,
    tiles_of,
    width,
    write_bundle,
)
from tests.support.audit_log import MemoryLog

LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(2000)]


def test_a_tree_of_70_000_has_the_tiles_that_the_specification_counts() -> None:
    full = Counter(tile.level for tile, count in tile_list(70_000) if count == WIDTH)
    partial = {tile.level: count for tile, count in tile_list(70_000) if count < WIDTH}
    assert full == {0: 273, 1: 1}
    assert partial == {0: 112, 1: 17, 2: 1}


def test_a_tree_of_256_has_a_full_tile_and_one_hash_above_it() -> None:
    assert list(tile_list(256)) == [(Tile(0, 0), 256), (Tile(1, 0), 1)]


@given(st.integers(0, 20_000_000))
def test_the_edge_is_what_lies_behind_the_last_full_tile(size: int) -> None:
    for tile, count in edge_tiles(size):
        assert width(tile, size) == count
        assert tile.number == 0 or width(Tile(tile.level, tile.number - 1), size) == WIDTH


def test_paths_are_written_in_threes() -> None:
    assert tile_path(Tile(0, 1_234_067)) == "tile/0/x001/x234/067"
    assert tile_path(Tile(1, 5), 17) == "tile/1/005.p/17"
    assert entries_path(273, 112) == "tile/entries/273.p/112"


@given(st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256), st.booleans())
def test_a_path_reads_back_as_it_was_written(
    level: int, number: int, count: int, entries: bool
) -> None:
    if entries:
        assert parse_tile_path(entries_path(number, count)) == (None, number, count)
    else:
        tile = Tile(level, number)
        assert parse_tile_path(tile_path(tile, count)) == (tile, number, count)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/1",
        "tile/00/001",
        "tile/64/001",
        "tile/0/x001",
        "tile/0/001/067",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/07",
        "tile/0/-01",
        "tile/0/x001/x001/x001/x001/x001/001",
        "tile/0/٠٠١",
        "tile/0/../001",
        "tile/entries/",
        "tile/0",
        "checkpoint",
        "",
    ],
)
def test_a_path_in_any_other_form_is_refused(path: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (int() and ours alike)
        parse_tile_path(path)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_appending_in_two_steps_gives_the_root_of_the_whole(one: int, other: int) -> None:
    start, size = sorted((one, other))
    edge = Edge()
    for leaf in LEAVES[:start]:
        list(edge.append(leaf))
    again = Edge(start, [list(row) for row in edge.levels])
    for leaf in LEAVES[start:size]:
        list(again.append(leaf))
    assert again.size == size
    assert again.root() == tree_root(LEAVES[:size])


def test_appending_gives_each_full_tile_once_with_its_root() -> None:
    count = WIDTH * WIDTH + 3
    edge = Edge()
    full = [item for number in range(count) for item in edge.append(LEAVES[number % 2000])]
    assert [item.tile for item in full if item.tile.level == 0] == [
        Tile(0, number) for number in range(WIDTH)
    ]
    assert [item.tile for item in full if item.tile.level == 1] == [Tile(1, 0)]
    assert full[0].root == tree_root(LEAVES[:WIDTH])
    above = next(item for item in full if item.tile.level == 1)
    assert split(above.hashes)[0] == full[0].root
    last = [LEAVES[number % 2000] for number in range(WIDTH * WIDTH, count)]
    assert edge.root() == node_hash(above.root, tree_root(last))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1100), st.data())
def test_proofs_from_tiles_alone_hold(size: int, data: st.DataObject) -> None:
    log = MemoryLog()
    log.entries = [number.to_bytes(4, "big") for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    plan = inclusion_plan(index, size)
    tiles = log.tiles(size)
    assert tiles_of(plan) <= tiles.keys()
    path = evaluate(plan, lookup_in(tiles))
    assert verify_inclusion(index, size, LEAVES[index], path, tree_root(LEAVES[:size]))
    assert evaluate(root_plan(size), lookup_in(tiles)) == [tree_root(LEAVES[:size])]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_reads_back_as_it_was_written(entries: list[bytes]) -> None:
    assert read_bundle(write_bundle(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5), st.data())
def test_a_bundle_that_was_cut_off_does_not_read_as_the_same(
    entries: list[bytes], data: st.DataObject
) -> None:
    whole = write_bundle(entries)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(ValueError):
        assert read_bundle(cut) != entries


def test_a_tile_is_whole_hashes_and_not_too_many() -> None:
    for data in (b"", bytes(33), bytes(32 * 257)):
        with pytest.raises(ValueError, match="not a tile"):
            split(data)
