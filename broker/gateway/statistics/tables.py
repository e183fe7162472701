"""From people to tables that may be seen. Pure: people and the ledger in, figures out.

The plan of tables is fixed: exploitation by sex and age by sex, for each corridor and for all
corridors, with every total, quarter by quarter or over several quarters. It is fixed because what
protects a table must be known before the first one is out: who may ask for any cross-table gets
to any person by asking often enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from broker.gateway.statistics.people import Headings
from broker.gateway.statistics.periods import Quarter
from broker.gateway.statistics.suppression import SMALLEST, Figure, decide
from schemas.codes import EXCHANGE, code_list
from schemas.errors import PolicyRefused

EVERY: None = None
"""A heading that is not looked at: a total."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the tables a figure stands. None under a heading counts all of it."""

    corridor: str | None = None
    exploitation: str | None = None
    age: str | None = None
    sex: str | None = None

    def holds(self, person: Headings) -> bool:
        return (
            self.corridor in (EVERY, person.corridor)
            and self.exploitation in (EVERY, person.exploitation)
            and self.age in (EVERY, person.age)
            and self.sex in (EVERY, person.sex)
        )


@dataclass(frozen=True, slots=True)
class Published:
    """The tables of one period. A count of None is held back."""

    quarters: tuple[Quarter, ...]
    counts: dict[Place, int | None]


def _no_longer_adds_up() -> PolicyRefused:
    return PolicyRefused(
        "the records of this period are not those that were published: someone withdrew, was erased"
        " or came late, and a second table would show whom"
    )


def plan(corridors: Iterable[str], used: _Used | None = None) -> Iterator[Place]:
    """Every place of the tables; with `used`, only where anybody can be."""
    exploitations = code_list(EXCHANGE, "exploitation").codes if used is None else used.exploitation
    ages = code_list(EXCHANGE, "age_band").codes if used is None else used.age
    sexes = code_list(EXCHANGE, "sex_band").codes if used is None else used.sex
    for corridor, sex in product((EVERY, *corridors), (EVERY, *sexes)):
        yield Place(corridor, sex=sex)
        for exploitation in exploitations:
            yield Place(corridor, exploitation=exploitation, sex=sex)
        for age in ages:
            yield Place(corridor, age=age, sex=sex)


@dataclass(frozen=True, slots=True)
class _Used:
    corridor: tuple[str, ...]
    exploitation: tuple[str, ...]
    age: tuple[str, ...]
    sex: tuple[str, ...]


def tabulate(
    people: Sequence[Headings],
    period: Sequence[Quarter],
    ledger: Sequence[Published] = (),
    *,
    k: int = SMALLEST,
) -> Published:
    """The tables of a period, with held back what anybody could compute together with the ledger.

    Args:
        people: All that are counted, of whatever quarter.
        ledger: Every publication so far.

    Raises:
        PolicyRefused: Tables that overlap this period were published of other records.
    """
    asked = tuple(sorted(set(period)))
    earlier = _touching(asked, ledger)
    span = sorted({*asked, *(quarter for one in earlier for quarter in one.quarters)})
    counted = [person for person in people if person.quarter in span]
    world = _World(counted, span)
    published: dict[Figure, None] = {}
    held_back: dict[Figure, None] = {}
    for one in earlier:
        for place, count in one.counts.items():
            figure = world.figure(place, one.quarters)
            if count is None:
                if figure:
                    held_back[figure] = None
            elif world.count(figure) != count:
                raise _no_longer_adds_up()
            else:
                published[figure] = None
    corridors = sorted({person.corridor for person in counted if person.quarter in asked})
    places = list(plan(corridors))
    figures = {place: world.figure(place, asked) for place in places}
    guard = {
        world.figure(place, quarters)
        for place in plan(world.used.corridor, world.used)
        for quarters in (*((quarter,) for quarter in span), asked)
    }
    decision = decide(
        world.truth,
        [figure for figure in figures.values() if figure],
        guard=guard - {frozenset()},
        published=published,
        held_back=[figure for figure in held_back if figure not in published],
        k=k,
    )
    if decision.computable:
        raise _no_longer_adds_up()
    return Published(
        asked,
        {
            place: world.count(figure) if figure in decision.shown else None
            for place, figure in figures.items()
        },
    )


def _touching(period: Sequence[Quarter], ledger: Sequence[Published]) -> list[Published]:
    """What overlaps the period, and what overlaps that, and so on."""
    span, found = set(period), list[Published]()
    rest = list(ledger)
    while more := [one for one in rest if span & set(one.quarters)]:
        found += more
        rest = [one for one in rest if one not in more]
        span |= {quarter for one in more for quarter in one.quarters}
    return found


class _World:
    """People as counts of the finest cells. Categories in which nobody is are left out: they are
    noughts, and no move goes there."""

    def __init__(self, people: Sequence[Headings], span: Sequence[Quarter]) -> None:
        self.used = _Used(
            tuple(sorted({person.corridor for person in people})),
            tuple(sorted({person.exploitation for person in people})),
            tuple(sorted({person.age for person in people})),
            tuple(sorted({person.sex for person in people})),
        )
        used = self.used
        self._cells = [
            Headings(*cell)
            for cell in product(span, used.corridor, used.exploitation, used.age, used.sex)
        ]
        number = {cell: index for index, cell in enumerate(self._cells)}
        self.truth = [0] * len(self._cells)
        for person in people:
            self.truth[number[person]] += 1

    def figure(self, place: Place, quarters: Sequence[Quarter]) -> Figure:
        """The cells that a place adds up; none if nobody can be there."""
        chosen = set(quarters)
        return frozenset(
            index
            for index, cell in enumerate(self._cells)
            if cell.quarter in chosen and place.holds(cell)
        )

    def count(self, figure: Figure) -> int:
        return sum(self.truth[cell] for cell in figure)
