"""Records for research: nobody's line is hers alone."""

from __future__ import annotations

import csv
import io
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.gateway.statistics.export import COLUMNS, as_csv
from broker.gateway.statistics.people import Record
from broker.gateway.statistics.periods import Quarter
from schemas.sections.record import StatisticsResearch

QUARTER = Quarter(2026, 3)

contents = st.builds(
    StatisticsResearch,
    year_of_registration=st.sampled_from([2025, 2026]),
    gender=st.sampled_from(["Feminine", "Masculine", None]),
    age_band=st.sampled_from(["0--8", "9--17", "18--20", "48+", None]),
    citizenship=st.sampled_from(["AL", "UA", "MA"]),
    country_of_exploitation=st.sampled_from(["IT", "FR"]),
    means_of_control=st.sampled_from([(), ("Threats",), ("Threats", "DebtBondage")]),
    forms_of_exploitation=st.sampled_from([(), ("isForcedLabour",), ("isSexualExploit",)]),
    abducted=st.sampled_from(["yes", "no", None]),
)


def lines(text: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))][1:]


@settings(max_examples=60, deadline=None)
@given(st.lists(contents, max_size=60), st.integers(2, 11))
def test_every_line_is_there_at_least_k_times_and_nobody_is_added(
    people: list[StatisticsResearch], k: int
) -> None:
    text, left_out = as_csv([Record(QUARTER, one) for one in people], "al.nrm", k=k)

    times = Counter(lines(text))
    assert all(count >= k for count in times.values())
    assert times.total() + left_out == len(people)


def test_what_many_share_stays_whole_and_the_rare_loses_only_what_makes_it_rare() -> None:
    common = StatisticsResearch(gender="Feminine", citizenship="AL", age_band="18--20")
    rare = common.model_copy(update={"means_of_control": ("Threats",)})

    text, left_out = as_csv([Record(QUARTER, one) for one in [common] * 12 + [rare] * 11], "al.nrm")

    by_means = Counter(row[COLUMNS.index("meansOfControlThreats")] for row in lines(text))
    assert (left_out, by_means) == (0, {"": 12, "1": 11})
    # Ten are too few to keep their means of control; without them they are like the others.
    text, left_out = as_csv([Record(QUARTER, one) for one in [common] * 12 + [rare] * 10], "al.nrm")
    assert (Counter(lines(text)).most_common(1)[0][1], left_out) == (22, 0)


def test_of_a_few_alone_there_is_no_line() -> None:
    few = [Record(QUARTER, StatisticsResearch(citizenship="AL"))] * 10

    assert as_csv(few, "al.nrm")[1] == 10


def test_the_columns_are_those_of_the_global_data_set() -> None:
    assert len(COLUMNS) == len(set(COLUMNS))
    assert {
        "yearOfRegistration",
        "Datasource",
        "ageBroad",
        "meansOfControlDebtBondage",
        "isSexAndLabour",
        "typeOfLabourMiningOrDrilling",
        "typeOfSexPornography",
        "recruiterRelationIntimatePartner",
        "CountryOfExploitation",
    } <= set(COLUMNS)
