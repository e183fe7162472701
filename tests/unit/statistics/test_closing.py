"""The close of a quarter: who counts is reminded once, and never of a quarter in which nobody is."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from broker.gateway.statistics.closing import GRACE, quarters_due
from broker.gateway.statistics.periods import Quarter

SECOND, THIRD, FOURTH = (Quarter(2026, number) for number in (2, 3, 4))


def test_a_quarter_is_due_a_week_after_its_end_and_not_before() -> None:
    assert quarters_due([THIRD, THIRD], [], THIRD.last + GRACE) == []
    assert quarters_due([THIRD, THIRD], [], date(2026, 10, 8)) == [THIRD]


def test_what_is_published_and_where_nobody_is_counted_is_not_due() -> None:
    assert quarters_due([SECOND, THIRD], [SECOND], date(2026, 12, 1)) == [THIRD]
    assert quarters_due([], [], date(2030, 1, 1)) == []


@given(st.sets(st.sampled_from([SECOND, THIRD, FOURTH])), st.dates(date(2026, 1, 1)))
def test_a_running_quarter_is_never_due(counted: set[Quarter], today: date) -> None:
    assert all(quarter.last < today for quarter in quarters_due(counted, [], today))
    assert str(SECOND) == "2026-Q2"
