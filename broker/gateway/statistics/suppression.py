"""Which counts may be published, so that nobody can compute the ones that may not. Pure.

The world is a list of non-negative whole numbers, one for each finest cell (one age band, one sex,
one form of exploitation, one stretch of time ...). Everything that is or could be published is a
sum of some of them. Whoever reads the publications knows those sums, that no count is negative,
and, as the method is public, that a figure which is held back because it is small is below k.

**The promise.** Of every positive count below k that is guarded, published tables taken together
(all of them, of all times) leave open every end: there is one world in which it is 0 and another in
which it is k - 1, each agreeing with every figure that was ever published. Of a figure of k or more
that is held back to protect another, there are worlds in which it differs.

**The proof is part of the answer.** For each guarded count two *moves* are kept: what to add to and
take from the true world to come to the other one. That a move agrees with what is published is
checked by adding up, with no trust in how it was found. Finding may fail, or give up: then the
figure in question is held back, which costs the reader a number and no person anything.

Figures are tried from the largest to the smallest, so that totals are seen and small neighbours are
what is hidden. Beyond the promise: somebody who knows the true world but for one cell, and whoever
runs the method on every possible world and asks which would have been answered like this (no
published method withstands that); see docs/statistics.md.

Source of the problem and its words: A. Hundepool et al., *Statistical Disclosure Control* (2012),
chapter 4; k = 11 as the Counter Trafficking Data Collaborative has it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Figure = frozenset[int]
"""What is added up: the finest cells by their numbers."""
Move = Mapping[int, int]
"""From the true world to another: what is added to each cell. Cells that stay are not named."""

SMALLEST = 11
"""k: the smallest count that is shown."""
ATTEMPTS = 4
STEPS = 120
"""How long a move is looked for before the figure is held back instead."""
LOOK_AT = 24
"""Of the many cells of a row, so many are looked at in one step."""
PARTLY = 0.2
"""How often a cell mends a part of what is broken and leaves the rest to others."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A small count with the two moves that prove that nobody can compute it."""

    figure: Figure
    to_none: Move
    to_most: Move


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be seen."""

    shown: frozenset[Figure]
    """Of the candidates, those whose sum may be published."""
    guarded: tuple[Guarded, ...]
    """The small counts that stay hidden, with the proof."""
    computable: frozenset[Figure] = frozenset()
    """Small counts that earlier publications, with the news that these are small, give away. Then
    nothing more may be published, not even an empty cell. Empty as long as every publication went
    through here with the same guard."""


def decide(
    truth: Sequence[int],
    candidates: Iterable[Figure],
    *,
    guard: Iterable[Figure] = (),
    published: Iterable[Figure] = (),
    held_back: Iterable[Figure] = (),
    k: int = SMALLEST,
) -> Decision:
    """Choose which of the candidates may be published.

    Args:
        truth: The count of each finest cell.
        candidates: The figures somebody wants to publish now.
        guard: Further sums that nobody shall be able to compute, listed in a table or not. Name
            those too that a later table may list: that it is held back tells that it is small, so
            readers are taken to know of each of these whether it is. The candidates are guarded
            anyway.
        published: What was published before, with the sums that it has in `truth`.
        held_back: What earlier tables list without a number.
        k: The smallest count that is shown.
    """
    wanted = list(dict.fromkeys(candidates))
    hidden = {*held_back, *wanted, *guard} - set(published)
    small = sorted((one for one in hidden if _sum(truth, one) < k), key=_order)
    guarded = [figure for figure in small if _sum(truth, figure) > 0]
    search = _Search(truth, caps=small, k=k)
    lost = search.begin(guarded, sorted(published, key=_order))
    by_size = sorted(wanted, key=lambda one: (-_sum(truth, one), -len(one), _order(one)))
    shown = {
        figure
        for figure in by_size
        if figure in search.known or (_sum(truth, figure) >= k and search.show(figure))
    }
    proof = tuple(
        Guarded(figure, dict(search.moves[figure, 0]), dict(search.moves[figure, k - 1]))
        for figure in guarded
        if figure not in lost
    )
    return Decision(frozenset(shown), proof, frozenset(lost))


def agrees(
    truth: Sequence[int],
    move: Move,
    *,
    published: Iterable[Figure],
    small: Iterable[Figure] = (),
    k: int = SMALLEST,
) -> bool:
    """True if the world after this move is one that a reader cannot tell from the true one."""
    return (
        all(truth[cell] + change >= 0 for cell, change in move.items())
        and all(_sum_of(move, figure) == 0 for figure in published)
        and all(_sum(truth, figure) + _sum_of(move, figure) < k for figure in small)
    )


def _sum(truth: Sequence[int], figure: Figure) -> int:
    return sum(truth[cell] for cell in figure)


def _sum_of(move: Move, figure: Figure) -> int:
    return sum(change for cell, change in move.items() if cell in figure)


def _order(figure: Figure) -> tuple[int, ...]:
    return tuple(sorted(figure))


@dataclass(slots=True)
class _Search:
    """Keeps two moves for each guarded count while figure after figure becomes known."""

    truth: Sequence[int]
    caps: Sequence[Figure]
    k: int
    known: set[Figure] = field(default_factory=set)
    moves: dict[tuple[Figure, int], dict[int, int]] = field(default_factory=dict)
    _rows: list[Figure] = field(default_factory=list)
    _ends: list[bool] = field(default_factory=list)
    """Of each row: True for an equation, False for a cap."""
    _room: list[int] = field(default_factory=list)
    _of_cell: dict[int, list[int]] = field(default_factory=dict)

    def begin(self, guarded: Sequence[Figure], published: Sequence[Figure]) -> set[Figure]:
        """Find the first moves. Returns what cannot be hidden any more."""
        for figure in self.caps:
            self._add(figure, room=self.k - 1 - _sum(self.truth, figure), equation=False)
        for figure in published:
            self.known.add(figure)
            self._add(figure, room=0, equation=True)
        lost = set()
        for figure in guarded:
            ends = [(end, self._find(figure, end, {})) for end in (0, self.k - 1)]
            for end, move in ends:
                if move is None:
                    lost.add(figure)
                else:
                    self.moves[figure, end] = move
        for figure in lost:
            for end in (0, self.k - 1):
                self.moves.pop((figure, end), None)
        return lost

    def show(self, figure: Figure) -> bool:
        """Make one more figure known, if each guarded count keeps two moves; else change nothing."""
        self._add(figure, room=0, equation=True)
        mended: dict[tuple[Figure, int], dict[int, int]] = {}
        for (target, end), move in self.moves.items():
            if _sum_of(move, figure) == 0:
                continue
            # Moves that were found for others may serve; else this one is mended.
            other = self._serving(target, end, mended) or self._find(target, end, move)
            if other is None:
                self._drop()
                return False
            mended[target, end] = other
        self.moves |= mended
        self.known.add(figure)
        return True

    def _serving(
        self, target: Figure, end: int, mended: Mapping[tuple[Figure, int], dict[int, int]]
    ) -> dict[int, int] | None:
        wanted = end - _sum(self.truth, target)
        for move in mended.values():
            if _sum_of(move, target) == wanted:
                return move
        return None

    def _add(self, figure: Figure, *, room: int, equation: bool) -> None:
        number = len(self._rows)
        self._rows.append(figure)
        self._ends.append(equation)
        self._room.append(room)
        for cell in figure:
            self._of_cell.setdefault(cell, []).append(number)

    def _drop(self) -> None:
        figure = self._rows.pop()
        self._ends.pop()
        self._room.pop()
        for cell in figure:
            self._of_cell[cell].pop()

    def _find(self, target: Figure, end: int, start: Move) -> dict[int, int] | None:
        """A move that brings the target to this end, near `start`; None if none was found."""
        wanted = end - _sum(self.truth, target)
        for attempt in range(ATTEMPTS):
            # The chance is the same in every run: a publication can be made again and compared.
            chance = random.Random(f"{attempt}:{end}:{_order(target)}")  # noqa: S311
            begin = dict(start) if attempt % 2 == 0 else {}
            move = self._walk(target, wanted, begin, chance)
            if move is not None:
                return move
        return None

    def _walk(
        self, target: Figure, wanted: int, move: dict[int, int], chance: random.Random
    ) -> dict[int, int] | None:
        """Change one cell at a time where most is mended by it, until nothing is left to mend.

        A row that stays broken weighs more with every step (breakout local search, Morris 1993),
        so that no walk goes in a ring for long.
        """
        goal = len(self._rows)
        off = self._excess(move)
        miss = _sum_of(move, target) - wanted
        if miss:
            off[goal] = miss
        recent: dict[tuple[int, int], int] = {}
        weight: dict[int, int] = {}
        for step in range(STEPS):
            if not off:
                return {cell: change for cell, change in move.items() if change}
            for broken in off:
                weight[broken] = weight.get(broken, 1) + 1
            row = chance.choice(sorted(off))
            cells = self._worth_trying(target if row == goal else self._rows[row], off[row], move)
            if len(cells) > LOOK_AT:
                cells = chance.sample(cells, LOOK_AT)
            best: tuple[float, int, int] | None = None
            for cell in cells:
                change = -off[row]
                if change < 0:
                    change = -min(-change, self.truth[cell] + move.get(cell, 0))
                    if change == 0:
                        continue
                if recent.get((cell, 1 if change > 0 else -1), -1) >= step:
                    continue
                if abs(change) > 1 and chance.random() < PARTLY:
                    change = chance.randint(1, abs(change)) * (1 if change > 0 else -1)
                cost = self._cost(cell, change, off, weight, goal if cell in target else None)
                cost += chance.random() / 2
                if best is None or cost < best[0]:
                    best = (cost, cell, change)
            if best is None:
                continue
            _, cell, change = best
            recent[cell, -1 if change > 0 else 1] = step + 3 + chance.randrange(4)
            move[cell] = move.get(cell, 0) + change
            self._apply(cell, change, off, goal, target, move)
        return None

    def _worth_trying(self, figure: Figure, excess: int, move: Move) -> list[int]:
        """Cells that can mend a row: where there is too much, only those that have something."""
        if excess < 0:
            return sorted(figure)
        return sorted(cell for cell in figure if self.truth[cell] + move.get(cell, 0) > 0)

    def _excess(self, move: Move) -> dict[int, int]:
        """By how much a move breaks each row that it touches."""
        sums: dict[int, int] = {}
        for cell, change in move.items():
            for row in self._of_cell.get(cell, ()):
                sums[row] = sums.get(row, 0) + change
        found = {row: self._broken(row, total) for row, total in sums.items()}
        return {row: excess for row, excess in found.items() if excess}

    def _broken(self, row: int, total: int) -> int:
        return total if self._ends[row] else max(0, total - self._room[row])

    def _cost(
        self,
        cell: int,
        change: int,
        off: Mapping[int, int],
        weight: Mapping[int, int],
        goal: int | None,
    ) -> float:
        """What would be more broken than now, in weighted persons; caps count once they break."""
        cost = 0
        for row in self._of_cell.get(cell, ()):
            now = off.get(row, 0)
            if self._ends[row]:
                cost += (abs(now + change) - abs(now)) * weight.get(row, 1)
            elif now or change > 0:
                cost += (max(0, now + change) - now) * weight.get(row, 1)
        if goal is not None:
            now = off.get(goal, 0)
            cost += (abs(now + change) - abs(now)) * weight.get(goal, 1)
        return cost

    def _apply(
        self,
        cell: int,
        change: int,
        off: dict[int, int],
        goal: int,
        target: Figure,
        move: Move,
    ) -> None:
        for row in self._of_cell.get(cell, ()):
            if self._ends[row]:
                excess = off.get(row, 0) + change
            else:
                excess = self._broken(row, _sum_of(move, self._rows[row]))
            if excess:
                off[row] = excess
            else:
                off.pop(row, None)
        if cell in target:
            excess = off.get(goal, 0) + change
            if excess:
                off[goal] = excess
            else:
                off.pop(goal, None)
