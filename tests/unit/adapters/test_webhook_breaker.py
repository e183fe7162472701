"""A failing endpoint is left alone, tried with one request, and never hammered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.systems.webhook.breaker import Breaker, Pass


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(threshold=3, rest=5.0, longest=20.0)
    for _ in range(3):
        breaker, entered = breaker.enter(now)
        assert entered is Pass.USUAL
        breaker = breaker.failed(now, entered)
    return breaker


def test_single_failures_between_successes_leave_it_closed() -> None:
    breaker = Breaker(threshold=2)
    for _ in range(10):
        breaker = breaker.failed(0.0, Pass.USUAL).succeeded()
    assert breaker.is_closed


def test_failures_in_a_row_open_it_for_its_rest() -> None:
    breaker = opened()
    assert not breaker.is_closed
    assert breaker.enter(4.9)[1] is None
    assert breaker.enter(5.0)[1] is Pass.PROBE


def test_one_probe_at_a_time_and_its_success_closes() -> None:
    breaker, probe = opened().enter(5.0)
    assert probe is Pass.PROBE
    assert breaker.enter(6.0)[1] is None
    assert breaker.succeeded().enter(6.0)[1] is Pass.USUAL


def test_each_failed_probe_doubles_the_rest_up_to_the_longest() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(4):
        assert breaker.until is not None
        rests.append(breaker.until - now)
        now = breaker.until
        breaker, entered = breaker.enter(now)
        assert entered is Pass.PROBE
        breaker = breaker.failed(now, entered)
    assert rests == [5.0, 10.0, 20.0, 20.0]


def test_a_late_failure_does_not_prolong_the_rest() -> None:
    breaker = opened()
    assert breaker.failed(4.0, Pass.USUAL) == breaker


def test_a_probe_that_was_never_sent_leaves_its_place_to_the_next() -> None:
    breaker, probe = opened().enter(5.0)
    assert probe is Pass.PROBE
    assert breaker.gave_up(probe).enter(5.0)[1] is Pass.PROBE


@given(st.lists(st.tuples(st.sampled_from(["enter", "good", "bad", "late"]), st.floats(0, 9))))
def test_whatever_happens_at_most_one_request_is_out_while_it_is_open(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now, out = opened(), 0.0, 0
    for step, wait in steps:
        now += wait
        if step == "enter":
            was_closed, until = breaker.is_closed, breaker.until
            breaker, entered = breaker.enter(now)
            if entered is Pass.PROBE:
                assert not was_closed
                assert until is not None
                assert now >= until
                out += 1
            assert out <= 1
        elif step == "late":
            breaker = breaker.failed(now, Pass.USUAL)
        elif out:
            out = 0
            breaker = breaker.succeeded() if step == "good" else breaker.failed(now, Pass.PROBE)
