"""Boxes and lines in layers, so that no line runs through a box and no two boxes touch. Pure.

The method of Sugiyama, Tagawa and Toda (1981): each box gets a layer, a line that passes a layer
gets a place of its own in it, places are ordered so that few lines cross, then moved so that lines
run straight. In a layer lines are vertical, so what is written in a box can be crossed by none. The
same input gives the same picture on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

GAP_ACROSS = 16
GAP_DOWN = 30
_LINE_WIDTH = 4
_PORT = 12
"""Between two lines that leave a box side by side."""
_SWEEPS = 24
_STRAIGHTENING = 400

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a box, in the units of the picture."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Placed:
    """The picture: the middle of each box, the stations of each line, and how large it all is."""

    boxes: Mapping[str, Point]
    lines: Mapping[tuple[str, str], tuple[Point, ...]]
    """From the first box to the second: pairs of points, of which each even one begins a gap between
    layers and each odd one ends it."""
    size: Size


def place(sizes: Mapping[str, Size], links: Sequence[tuple[str, str]]) -> Placed:
    """Place boxes, of which earlier ones stand above later ones.

    Args:
        sizes: Every box, in the order of the story: a link to an earlier one is drawn upwards.
        links: From box to box; each pair once, and none from a box to itself.
    """
    order = {name: number for number, name in enumerate(sizes)}
    down = [(a, b) if order[a] < order[b] else (b, a) for a, b in links]
    layer_of = _layers(list(sizes), down)
    drawing = _Drawing(sizes, layer_of, down)
    drawing.untangle()
    drawing.straighten()
    return drawing.result(links)


def _layers(names: Sequence[str], down: Sequence[tuple[str, str]]) -> dict[str, int]:
    """As high as what leads to it allows; then, where nothing is lost by it, closer to what follows."""
    into: dict[str, list[str]] = {name: [] for name in names}
    out: dict[str, list[str]] = {name: [] for name in names}
    for above, below in down:
        into[below].append(above)
        out[above].append(below)
    layer: dict[str, int] = {}
    for name in names:
        layer[name] = max((layer[above] + 1 for above in into[name]), default=0)
    for name in reversed(names):
        if out[name] and len(out[name]) >= len(into[name]):
            layer[name] = min(layer[below] for below in out[name]) - 1
    lowest = min(layer.values(), default=0)
    return {name: number - lowest for name, number in layer.items()}


Item = tuple[str, str, int]
"""A box as (name, "", 0), or the place of a line in a layer that it passes."""


class _Drawing:
    def __init__(
        self,
        sizes: Mapping[str, Size],
        layer_of: Mapping[str, int],
        down: Sequence[tuple[str, str]],
    ) -> None:
        self.sizes = sizes
        self.layer_of = layer_of
        self.rows: list[list[Item]] = [[] for _ in range(max(layer_of.values(), default=0) + 1)]
        self.above: dict[Item, list[Item]] = {}
        self.below: dict[Item, list[Item]] = {}
        self.chains: dict[tuple[str, str], list[Item]] = {}
        for name, layer in layer_of.items():
            self._add((name, "", 0), layer)
        for first, last in down:
            chain: list[Item] = [(first, "", 0)]
            for layer in range(layer_of[first] + 1, layer_of[last]):
                item = (first, last, layer)
                self._add(item, layer)
                chain.append(item)
            chain.append((last, "", 0))
            self.chains[first, last] = chain
            for one, other in itertools.pairwise(chain):
                self.below[one].append(other)
                self.above[other].append(one)
        self.x: dict[Item, float] = {}

    def _add(self, item: Item, layer: int) -> None:
        self.rows[layer].append(item)
        self.above[item], self.below[item] = [], []

    # --- Order ---------------------------------------------------------------------------------

    def untangle(self) -> None:
        """Order each layer by what it is linked to, up and down in turn; keep the best found."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            if sweep % 2 == 0:
                for row in self.rows[1:]:
                    self._sort(row, self.above)
            else:
                for row in reversed(self.rows[:-1]):
                    self._sort(row, self.below)
            self._swap_neighbours()
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _sort(self, row: list[Item], linked: Mapping[Item, list[Item]]) -> None:
        at = self._positions()
        middle = {}
        for number, item in enumerate(row):
            found = sorted(at[other] for other in linked[item])
            middle[item] = sum(found) / len(found) if found else float(number)
        row.sort(key=lambda item: middle[item])

    def _positions(self) -> dict[Item, int]:
        return {item: number for row in self.rows for number, item in enumerate(row)}

    def _swap_neighbours(self) -> None:
        better = True
        while better:
            better = False
            at = self._positions()
            for row in self.rows:
                for number in range(len(row) - 1):
                    one, other = row[number], row[number + 1]
                    if self._tangled(one, other, at) > self._tangled(other, one, at):
                        row[number], row[number + 1] = other, one
                        at[one], at[other] = at[other], at[one]
                        better = True

    def _tangled(self, left: Item, right: Item, at: Mapping[Item, int]) -> int:
        """How many lines of the two cross if `left` stands left of `right`."""
        return sum(
            at[a] > at[b]
            for linked in (self.above, self.below)
            for a in linked[left]
            for b in linked[right]
        )

    def _crossings(self) -> int:
        at, found = self._positions(), 0
        for row in self.rows:
            for number, left in enumerate(row):
                for right in row[number + 1 :]:
                    found += sum(at[a] > at[b] for a in self.below[left] for b in self.below[right])
        return found

    # --- Places --------------------------------------------------------------------------------

    def _width(self, item: Item) -> float:
        if item[1]:
            return _LINE_WIDTH
        ports = max(len(self.above[item]), len(self.below[item])) * _PORT
        return max(self.sizes[item[0]].width, ports)

    def _pull(self, item: Item, other: Item) -> float:
        """How much a line wants to be vertical: most where it only passes."""
        return {0: 1.0, 1: 3.0, 2: 10.0}[bool(item[1]) + bool(other[1])]

    def straighten(self) -> None:
        """Move items within their order towards what they are linked to."""
        for row in self.rows:
            at = 0.0
            for item in row:
                self.x[item] = at + self._width(item) / 2
                at += self._width(item) + GAP_ACROSS
        for sweep in range(_STRAIGHTENING):
            rows = self.rows if sweep % 2 == 0 else self.rows[::-1]
            for row in rows:
                self._settle(row)

    def _settle(self, row: Sequence[Item]) -> None:
        """Put a layer where its lines pull it (least squares), nothing overlapping.

        That is an isotonic regression, solved by pooling neighbours that would overlap.
        """
        offset, offsets = 0.0, []
        for number, item in enumerate(row):
            if number:
                offset += (self._width(row[number - 1]) + self._width(item)) / 2 + GAP_ACROSS
            offsets.append(offset)
        pools: list[tuple[float, float, int]] = []  # mean, weight, how many
        for item, shift in zip(row, offsets, strict=True):
            pulls = [
                (self._pull(item, other), self.x[other])
                for other in (*self.above[item], *self.below[item])
            ]
            weight = sum(pull for pull, _ in pulls) or 0.01
            wanted = sum(pull * x for pull, x in pulls) / weight if pulls else self.x[item]
            mean, count = wanted - shift, 1
            while pools and pools[-1][0] > mean:
                before, heavy, many = pools.pop()
                mean = (before * heavy + mean * weight) / (heavy + weight)
                weight, count = weight + heavy, count + many
            pools.append((mean, weight, count))
        moved = [mean for mean, _, count in pools for _ in range(count)]
        for item, base, shift in zip(row, moved, offsets, strict=True):
            self.x[item] = base + shift

    # --- The picture ---------------------------------------------------------------------------

    def result(self, links: Sequence[tuple[str, str]]) -> Placed:
        left = min((self.x[item] - self._width(item) / 2 for item in self.x), default=0.0)
        right = max((self.x[item] + self._width(item) / 2 for item in self.x), default=0.0)
        tops, heights, y = [], [], 0.0
        for row in self.rows:
            height = max((self.sizes[name].height for name, line, _ in row if not line), default=0)
            tops.append(y)
            heights.append(float(height))
            y += height + GAP_DOWN
        layer = {item: number for number, row in enumerate(self.rows) for item in row}

        def top_and_bottom(item: Item) -> tuple[float, float]:
            middle = tops[layer[item]] + heights[layer[item]] / 2
            half = heights[layer[item]] / 2 if item[1] else self.sizes[item[0]].height / 2
            return middle - half, middle + half

        ports = dict(self._ports())
        lines = {}
        for pair, chain in self.chains.items():
            points: list[Point] = []
            for one, other in itertools.pairwise(chain):
                points.append((ports[one, other, "out"] - left, top_and_bottom(one)[1]))
                points.append((ports[one, other, "in"] - left, top_and_bottom(other)[0]))
            lines[pair] = tuple(points)
        turned = {
            (a, b): lines[a, b] if (a, b) in lines else tuple(reversed(lines[b, a]))
            for a, b in links
        }
        boxes = {
            name: (self.x[name, "", 0] - left, sum(top_and_bottom((name, "", 0))) / 2)
            for name in self.sizes
        }
        return Placed(boxes, turned, Size(right - left, max(y - GAP_DOWN, 0.0)))

    def _ports(self) -> Iterator[tuple[tuple[Item, Item, str], float]]:
        """Where on the edge of a box each of its lines begins or ends: side by side, in order."""
        for item in self.x:
            for side, linked in (("out", self.below[item]), ("in", self.above[item])):
                ordered = sorted(linked, key=lambda other: self.x[other])
                for number, other in enumerate(ordered):
                    shift = (number - (len(ordered) - 1) / 2) * (0 if item[1] else _PORT)
                    pair = (item, other, "out") if side == "out" else (other, item, "in")
                    yield pair, self.x[item] + shift
