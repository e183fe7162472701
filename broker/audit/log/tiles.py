"""Tiles: the tree in pieces of 256 hashes that never change once full (C2SP tlog-tiles). Pure.

Level 0 holds leaf hashes; each hash of level n + 1 is the root of one full tile of level n.
The database, the files of an export and what a witness fetches are all these same tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.audit.log.merkle import HASH_SIZE, Lookup, Node, Plan, fold, join

WIDTH = 256
HEIGHT = 8
MAX_ENTRY = 65_535
"""An entry bundle gives each entry's length in two bytes."""
_PATH = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,4}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)
# Fifteen digits at most: an entry's number then fits the database's 64 bits.


class Tile(NamedTuple):
    """Which tile: hashes `number * 256` up to `(number + 1) * 256` of a level."""

    level: int
    number: int


class FullTile(NamedTuple):
    """A tile that has just become full, with its root (one hash of the level above)."""

    tile: Tile
    hashes: bytes
    root: bytes


def width(tile: Tile, size: int) -> int:
    """How many hashes the tile has in a tree of `size` leaves: 0 (absent) to 256 (full)."""
    available = size >> (HEIGHT * tile.level)
    return max(0, min(WIDTH, available - tile.number * WIDTH))


def tiles_of(plan: Plan) -> set[Tile]:
    """The tiles that hold what the plan needs."""
    return {_place(node)[0] for nodes in plan for node in nodes}


def lookup_in(tiles: Mapping[Tile, Sequence[bytes]]) -> Lookup:
    """Find nodes in tiles that were fetched. A node that is not there raises `KeyError`."""

    def lookup(node: Node) -> bytes:
        tile, offset, count = _place(node)
        hashes = tiles[tile][offset : offset + count]
        if len(hashes) != count:
            raise KeyError(node)
        return fold(hashes)

    return lookup


def _place(node: Node) -> tuple[Tile, int, int]:
    level, inside = divmod(node.height, HEIGHT)
    count = 1 << inside
    index, offset = divmod(node.number * count, WIDTH)
    return Tile(level, index), offset, count


def tile_list(size: int) -> Iterator[tuple[Tile, int]]:
    """Every tile of a tree of `size` leaves with its width, level by level."""
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        for index in range((count + WIDTH - 1) // WIDTH):
            tile = Tile(level, index)
            yield tile, width(tile, size)
        level += 1


def split(data: bytes) -> list[bytes]:
    """Cut a tile's bytes into hashes.

    Raises:
        ValueError: Not a whole number of hashes, none, or too many.
    """
    count, rest = divmod(len(data), HASH_SIZE)
    if rest or not 1 <= count <= WIDTH:
        raise ValueError("not a tile")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


# --- names of files and their content ------------------------------------------------------


def tile_path(tile: Tile, count: int = WIDTH) -> str:
    """`tile/<level>/<index>[.p/<width>]`, as files and as URLs."""
    return f"tile/{tile.level}/{_number(tile.number)}{_partial(count)}"


def entries_path(index: int, count: int = WIDTH) -> str:
    """`tile/entries/<index>[.p/<width>]`."""
    return f"tile/entries/{_number(index)}{_partial(count)}"


def parse_tile_path(path: str) -> tuple[Tile | None, int, int]:
    """Read a path under `tile/`: the tile (None for an entry bundle), its index, its width.

    Raises:
        ValueError: Not exactly what `tile_path` or `entries_path` would have written.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError("not a tile path")
    level, number, partial = match.groups()
    index = int(number.replace("x", "").replace("/", ""))
    count = WIDTH if partial is None else int(partial)
    tile = None if level == "entries" else Tile(int(level), index)
    written = entries_path(index, count) if tile is None else tile_path(tile, count)
    if written != path or count > WIDTH:
        raise ValueError("not a tile path")
    return tile, index, count


def _number(index: int) -> str:
    text = f"{index % 1000:03d}"
    while index := index // 1000:
        text = f"x{index % 1000:03d}/{text}"
    return text


def _partial(count: int) -> str:
    return "" if count == WIDTH else f".p/{count}"


def write_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries one after another, each after its length in two bytes, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def read_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        ValueError: A length points past the end.
    """
    entries, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise ValueError("bundle is cut off")
        entries.append(data[at + 2 : end])
        at = end
    return entries


# --- appending -----------------------------------------------------------------------------


@dataclass
class Edge:
    """The right edge of a tree: of each level, the hashes that do not fill a tile yet.

    This is all that appending needs; it is at most 255 hashes a level.
    """

    size: int = 0
    levels: list[list[bytes]] = field(default_factory=list)

    def append(self, leaf: bytes) -> Iterator[FullTile]:
        """Add a leaf's hash; gives the tiles that became full by it, lowest level first."""
        first, level, added = self.size, 0, leaf
        self.size += 1
        while True:
            if level == len(self.levels):
                self.levels.append([])
            row = self.levels[level]
            row.append(added)
            if len(row) < WIDTH:
                return
            added = fold(row)
            yield FullTile(Tile(level, first >> (HEIGHT * (level + 1))), b"".join(row), added)
            row.clear()
            level += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        peaks: list[bytes] = []
        for row in reversed(self.levels):
            at = 0
            while at < len(row):
                count = 1 << ((len(row) - at).bit_length() - 1)
                peaks.append(fold(row[at : at + count]))
                at += count
        return join(peaks)


def edge_tiles(size: int) -> list[tuple[Tile, int]]:
    """The partial tiles at the right edge with their widths; a level that is just full has 0."""
    found = []
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        found.append((Tile(level, count // WIDTH), count % WIDTH))
        level += 1
    return found
