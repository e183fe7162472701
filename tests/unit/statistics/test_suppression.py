"""Nobody can compute a small count from all that was ever published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.gateway.statistics.suppression import SMALLEST, Decision, Figure, agrees, decide


def total(truth: Sequence[int], figure: Figure) -> int:
    return sum(truth[cell] for cell in figure)


class Reader:
    """One who has the tables, the method, and all the time there is: tries every world."""

    def __init__(
        self, truth: Sequence[int], shown: Iterable[Figure], hidden: Iterable[Figure], k: int
    ) -> None:
        self.size, self.k = len(truth), k
        self.most = sum(truth) + k
        self.equations = [(figure, total(truth, figure)) for figure in shown]
        self.caps = [figure for figure in hidden if total(truth, figure) < k]

    def cannot_rule_out(self, target: Figure, value: int) -> bool:
        """True if some world agrees with all that was published, and the target is this there."""
        return self._extend((), [*self.equations, (target, value)])

    def _extend(self, done: tuple[int, ...], equations: list[tuple[Figure, int]]) -> bool:
        count, most = len(done), self.most
        for figure, wanted in equations:
            have = sum(done[cell] for cell in figure if cell < count)
            if have > wanted or (have < wanted and max(figure) < count):
                return False
            if count in figure:
                most = min(most, wanted - have)
        for cap in self.caps:
            have = sum(done[cell] for cell in cap if cell < count)
            if have >= self.k:
                return False
            if count in cap:
                most = min(most, self.k - 1 - have)
        if count == self.size:
            return True
        return any(self._extend((*done, value), equations) for value in range(most + 1))

    def knows(self, target: Figure, value: int) -> bool:
        """True if the target can be nothing else."""
        return not any(
            self.cannot_rule_out(target, other) for other in range(self.most + 1) if other != value
        )


def whole_margins(*sizes: int) -> list[Figure]:
    """Every cell and every total of a table with these categories."""
    cells = list(product(*(range(size) for size in sizes)))
    found = []
    for fixed in (c for n in range(len(sizes) + 1) for c in combinations(range(len(sizes)), n)):
        for values in product(*(range(sizes[axis]) for axis in fixed)):
            found.append(
                frozenset(
                    number
                    for number, cell in enumerate(cells)
                    if all(cell[axis] == value for axis, value in zip(fixed, values, strict=True))
                )
            )
    return found


def check_proof(
    truth: Sequence[int], decision: Decision, candidates: Iterable[Figure], k: int
) -> None:
    small = [one for one in candidates if one not in decision.shown and total(truth, one) < k]
    for one in decision.guarded:
        for move, end in ((one.to_none, 0), (one.to_most, k - 1)):
            assert agrees(truth, move, published=decision.shown, small=small, k=k)
            assert (
                total(truth, one.figure)
                + sum(change for cell, change in move.items() if cell in one.figure)
                == end
            )


def test_three_infants_among_478_stay_unknown_though_the_total_is_known() -> None:
    adults, children, infants = (frozenset({cell}) for cell in range(3))
    everybody = adults | children | infants
    table = [adults, children, infants, everybody]

    decision = decide([370, 105, 3], table)

    assert decision.shown == {adults, everybody}
    [three] = decision.guarded
    assert three.figure == infants
    check_proof([370, 105, 3], decision, table, SMALLEST)


def test_counting_again_later_does_not_give_the_difference_away() -> None:
    # Quarter by quarter, 40 and then 45 since January: five in between would be plain to see.
    first, second = frozenset({0}), frozenset({1})
    begun = decide([40], [first])
    assert begun.shown == {first}

    later = decide([40, 5], [second, first | second], guard=[second], published=[first])

    assert later.shown == set()


def test_a_second_table_does_not_uncover_what_the_first_hid() -> None:
    # Girls, boys, women, men; ages were published first, sexes are asked for now.
    truth = [30, 4, 60, 70]
    girls, boys, women, men = (frozenset({cell}) for cell in range(4))
    ages = [girls | boys, women | men]
    cells = [girls, boys, women, men]
    first = decide(truth, [*ages, *cells])
    hidden = [one for one in cells if one not in first.shown]

    second = decide(
        truth, [girls | women, boys | men], published=first.shown, held_back=hidden, guard=cells
    )

    both = first.shown | second.shown
    reader = Reader(truth, both, hidden, SMALLEST)
    assert reader.cannot_rule_out(boys, 0)
    assert reader.cannot_rule_out(boys, 10)


def test_nothing_of_a_small_total_is_shown() -> None:
    parts = [frozenset({0}), frozenset({1})]

    assert decide([3, 4], [*parts, frozenset({0, 1})]).shown == set()


def test_where_nothing_is_small_everything_is_shown() -> None:
    table = whole_margins(2, 2)

    assert decide([11, 12, 13, 14], table).shown == set(table)


def test_nought_looks_like_any_other_small_count() -> None:
    none, few, many = (frozenset({cell}) for cell in range(3))

    assert decide([0, 4, 80], [none, few, many]).shown == {many}


@st.composite
def publications(draw: st.DrawFn) -> tuple[list[int], list[list[Figure]], list[Figure], int]:
    """A small world, several publications one after the other, and what is to be guarded."""
    truth = draw(st.lists(st.integers(0, 5), min_size=2, max_size=4))
    figures = st.frozensets(st.integers(0, len(truth) - 1), min_size=1)
    rounds = draw(st.lists(st.lists(figures, min_size=1, max_size=7), min_size=1, max_size=3))
    guard = draw(st.lists(figures, max_size=4))
    return truth, rounds, guard, draw(st.integers(2, 4))


@settings(max_examples=150, deadline=None)
@given(publications())
@example(
    ([3, 3, 3, 0], [[frozenset({0}), frozenset({1}), frozenset({2}), frozenset({0, 1, 2})]], [], 4)
)
@example(([5, 1], [[frozenset({0})], [frozenset({0, 1})]], [frozenset({1})], 3))
def test_with_all_tables_at_hand_nobody_narrows_a_small_count(
    case: tuple[list[int], list[list[Figure]], list[Figure], int],
) -> None:
    truth, rounds, guard, k = case
    published: set[Figure] = set()
    listed: set[Figure] = set()
    # Whoever will list it later guards it now: what was given away cannot be taken back.
    guarded = {*guard, *(figure for candidates in rounds for figure in candidates)}
    for candidates in rounds:
        listed |= set(candidates)
        decision = decide(
            truth,
            candidates,
            guard=guarded,
            published=published,
            held_back=listed - published - set(candidates),
            k=k,
        )
        assert not decision.computable
        published |= decision.shown
        check_proof(truth, decision, guarded - published, k)
    hidden = listed - published
    small = [one for one in guarded - published if 0 < total(truth, one) < k]

    reader = Reader(truth, published, guarded - published, k)
    assert all(total(truth, one) >= k for one in published)
    for one in small:
        assert reader.cannot_rule_out(one, 0)
        assert reader.cannot_rule_out(one, k - 1)
    assert not any(reader.knows(one, total(truth, one)) for one in hidden if total(truth, one) >= k)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=6, max_size=6), st.booleans())
def test_rows_columns_and_the_grand_total_together_give_nothing_small_away(
    truth: list[int], three_ways: bool
) -> None:
    table = whole_margins(*((2, 3, 1) if three_ways else (2, 3)))
    k = 3

    decision = decide(truth, table, k=k)

    hidden = [one for one in table if one not in decision.shown]
    reader = Reader(truth, decision.shown, hidden, k)
    for one in hidden:
        if 0 < total(truth, one) < k:
            assert reader.cannot_rule_out(one, 0)
            assert reader.cannot_rule_out(one, k - 1)
