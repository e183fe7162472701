"""Rates: so much in any window, wherever it begins, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.hub.intake import limiting
from broker.hub.intake.limiting import Windows


class _Time:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Time:
    made = _Time()
    monkeypatch.setattr(limiting, "time", made)
    return made


def test_one_who_is_at_the_limit_does_not_hold_up_another() -> None:
    windows = Windows(2, 60.0)

    assert [windows.hit("it.nrm") for _ in range(3)] == [True, True, False]
    assert windows.hit("al.nrm")


def test_what_is_refused_is_not_counted() -> None:
    windows = Windows(10, 3600.0)

    assert windows.hit("it.nrm", 8)
    assert not windows.hit("it.nrm", 3)
    assert windows.hit("it.nrm", 2)


def test_what_was_done_just_before_the_window_ended_still_counts(time: _Time) -> None:
    windows = Windows(10, 10.0)
    time.seconds = 1009.0
    assert windows.hit("it.nrm", 10)

    time.seconds = 1012.5  # three quarters of the ten
    assert not windows.hit("it.nrm", 3)
    assert windows.hit("it.nrm", 2)


@pytest.mark.parametrize("pause", [20.0, 35.0, 1e6])
def test_after_two_windows_all_is_forgotten(time: _Time, pause: float) -> None:
    windows = Windows(10, 10.0)
    assert windows.hit("it.nrm", 10)

    time.seconds += pause

    assert windows.hit("it.nrm", 10)


@given(st.lists(st.tuples(st.floats(0, 7), st.integers(1, 6)), max_size=60))
def test_in_no_window_is_more_than_twice_the_limit_allowed(
    steps: list[tuple[float, int]],
) -> None:
    clock, windows = _Time(), Windows(10, 10.0)
    allowed: list[tuple[float, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiting, "time", clock)
        for pause, cost in steps:
            clock.seconds += pause
            if windows.hit("it.nrm", cost):
                allowed.append((clock.seconds, cost))

    for start, _ in allowed:
        assert sum(cost for at, cost in allowed if start <= at < start + 10.0) <= 20
