"""Tables: those of the field's own reports, quarter after quarter, and what may be seen of them."""

from __future__ import annotations

from datetime import date

import pytest

from broker.gateway.statistics.page import page
from broker.gateway.statistics.people import Headings
from broker.gateway.statistics.periods import Quarter, quarters
from broker.gateway.statistics.tables import Place, Published, tabulate
from schemas.bodies.oversight import Aggregate, Cell
from schemas.errors import PolicyRefused, SchemaRefused

SPRING, SUMMER = Quarter(2005, 2), Quarter(2005, 3)
CORRIDOR = "ID-MY"


def persons(count: int, quarter: Quarter = SPRING, **more: str) -> list[Headings]:
    said = {"corridor": CORRIDOR, "exploitation": "unknown", "age": "unknown", "sex": "unknown"}
    return [Headings(quarter, **{**said, **more})] * count


# Indonesia, March to November 2005: 478 persons by age and by kind of work, as trainers show it.
AGES = [*persons(370, age="18-20"), *persons(105, age="9-17"), *persons(3, age="0-8")]
WORK = [
    *persons(355, exploitation="domestic_servitude"),
    *persons(50, exploitation="sexual"),
    *persons(39, exploitation="forced_labour"),
    *persons(3, exploitation="slavery_like"),
    *persons(2, exploitation="begging"),
    *persons(1, exploitation="other"),
    *persons(3, exploitation="criminal_activity"),
    *persons(25, exploitation="unknown"),
]
MEKONG = {"KH": (488, 157), "LA": (212, 206), "MM": (150, 69), "VN": (31, 4), "CN": (4, 7)}


def test_the_three_infants_of_the_indonesian_table_are_not_in_it_nor_to_be_had_from_it() -> None:
    made = tabulate(AGES, [SPRING])

    assert made.counts[Place()] == 478
    assert made.counts[Place(CORRIDOR, age="18-20")] == 370
    assert made.counts[Place(CORRIDOR, age="0-8")] is None
    assert made.counts[Place(CORRIDOR, age="9-17")] is None  # or 478 - 370 - 105 would say it


def test_of_the_kinds_of_work_the_large_ones_are_seen_and_the_rest_hide_each_other() -> None:
    made = tabulate(WORK, [SPRING])

    seen = {place.exploitation: count for place, count in made.counts.items() if count}
    assert seen["domestic_servitude"] == 355
    assert seen["sexual"] == 50
    assert not {"slavery_like", "begging", "other", "criminal_activity"} & seen.keys()
    known = sum(count for name, count in seen.items() if name is not None)
    assert seen[None] == 478
    assert 478 - known > 3 + 2 + 1 + 3  # so something larger is behind the dots as well


def test_the_mekong_project_s_second_phase_does_not_tell_its_four_and_its_seven() -> None:
    first = [p for c, (n, _) in MEKONG.items() for p in persons(n, SPRING, corridor=f"{c}-TH")]
    second = [p for c, (_, n) in MEKONG.items() for p in persons(n, SUMMER, corridor=f"{c}-TH")]
    begun = tabulate([*first, *second], [SPRING])

    whole = tabulate([*first, *second], [SPRING, SUMMER], [begun])

    assert begun.counts[Place()] == 885
    assert begun.counts[Place("CN-TH")] is None
    assert whole.counts[Place("VN-TH")] is None or begun.counts[Place("VN-TH")] is None
    for country, (one, other) in MEKONG.items():
        early, late = begun.counts[Place(f"{country}-TH")], whole.counts[Place(f"{country}-TH")]
        assert early in (None, one)
        assert late in (None, one + other)
    assert 1328 in (whole.counts[Place()], sum(n for pair in MEKONG.values() for n in pair))


def test_a_table_over_two_quarters_does_not_show_the_small_second_one() -> None:
    people = [*persons(40, SPRING), *persons(5, SUMMER)]
    spring = tabulate(people, [SPRING])
    assert spring.counts[Place()] == 40

    both = tabulate(people, [SPRING, SUMMER], [spring])

    assert both.counts[Place()] is None


def test_once_somebody_has_withdrawn_no_second_table_of_her_quarter_is_made() -> None:
    people = [*persons(40, SPRING), *persons(40, SUMMER)]
    spring = tabulate(people, [SPRING])

    with pytest.raises(PolicyRefused):
        tabulate(people[1:], [SPRING, SUMMER], [spring])

    assert tabulate(people[1:], [SUMMER], [spring]).counts[Place()] == 40


def test_a_table_has_the_same_places_whoever_is_in_it() -> None:
    def places(made: Published) -> set[Place]:
        return set(made.counts)

    assert places(tabulate(AGES, [SPRING])) == places(tabulate(WORK, [SPRING]))


def test_of_nobody_nothing_is_said() -> None:
    assert set(tabulate([], [SPRING]).counts.values()) == {None}


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 1, 1), date(2026, 3, 30)),
        (date(2026, 1, 2), date(2026, 3, 31)),
        (date(2026, 3, 31), date(2026, 1, 1)),
        (date(1, 1, 1), date(9999, 12, 31)),
    ],
)
def test_a_period_is_whole_quarters(first: date, last: date) -> None:
    with pytest.raises(SchemaRefused):
        quarters(first, last)


def test_a_year_has_four_quarters() -> None:
    assert [one.number for one in quarters(date(2026, 1, 1), date(2026, 12, 31))] == [1, 2, 3, 4]


def test_a_publication_is_a_valid_message_and_a_readable_page() -> None:
    made = tabulate([*AGES, *WORK], [SPRING])

    cells = tuple(
        Cell(exploitation=place.exploitation, age=place.age, sex=place.sex, count=count)
        for place, count in made.counts.items()
        if place.corridor == CORRIDOR
    )
    Aggregate(first=SPRING.first, last=SPRING.last, origin="ID", destination="MY", cells=cells)
    html = page(made, "id.nrm")
    assert "From ID to MY" in html
    assert "<td>3</td>" not in html
    assert "<svg" in html
    assert "<script" not in html
