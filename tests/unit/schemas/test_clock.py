"""The clock of an answer: warned at four fifths, breached at the end, stopped by every question."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import catalogue
from schemas.clock import Standing, first_look, pauses_of, read_clock, settled_by
from schemas.states import INQUIRY, REFERRAL

ASKED = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
DUE = ASKED + 10 * HOUR
PAUSING = frozenset({"referral.clarify.request"})


def test_nobody_is_troubled_before_four_fifths_of_the_time() -> None:
    early = read_clock(ASKED, DUE, [], ASKED + 7 * HOUR)
    assert (early.standing, early.look_at) == (Standing.RUNNING, ASKED + 8 * HOUR)
    late = read_clock(ASKED, DUE, [], ASKED + 8 * HOUR)
    assert (late.standing, late.look_at) == (Standing.WARNED, DUE)
    assert read_clock(ASKED, DUE, [], DUE).standing is Standing.BREACHED


def test_several_questions_each_stop_the_clock_for_as_long_as_they_are_open() -> None:
    history = [
        (ASKED, "received"),
        (ASKED + 1 * HOUR, "clarifying"),
        (ASKED + 3 * HOUR, "received"),
        (ASKED + 4 * HOUR, "clarifying"),
        (ASKED + 5 * HOUR, "clarifying"),
        (ASKED + 9 * HOUR, "received"),
    ]
    pauses = pauses_of(REFERRAL, history)
    assert pauses == [
        (ASKED + 1 * HOUR, ASKED + 3 * HOUR),
        (ASKED + 4 * HOUR, ASKED + 9 * HOUR),
    ]
    assert read_clock(ASKED, DUE, pauses, ASKED + 12 * HOUR).due_at == DUE + 7 * HOUR


def test_while_a_question_is_open_nothing_becomes_overdue() -> None:
    pauses = pauses_of(INQUIRY, [(ASKED + HOUR, "conditions_set")])
    for days in (1, 10, 100):
        now = ASKED + timedelta(days=days)
        reading = read_clock(ASKED, DUE, pauses, now)
        assert reading.standing is Standing.PAUSED
        assert reading.due_at == now + 9 * HOUR


def test_a_question_after_the_deadline_excuses_nothing() -> None:
    pauses = [(DUE + HOUR, None)]
    assert read_clock(ASKED, DUE, pauses, DUE + 50 * HOUR).standing is Standing.BREACHED


@given(st.lists(st.integers(0, 48), max_size=8), st.integers(0, 400))
def test_between_two_looks_nothing_changes_by_time_alone(marks: list[int], passed: int) -> None:
    places = sorted({ASKED + mark * HOUR / 2 for mark in marks})
    now = ASKED + passed * HOUR / 4
    pauses = [
        (start, end if end <= now else None)
        for start, end in list(pairwise(places))[::2]
        if start <= now
    ]
    reading = read_clock(ASKED, DUE, pauses, now)
    if reading.look_at is None:
        assert reading.standing is Standing.BREACHED
        return
    assert reading.look_at > now
    just_before = reading.look_at - timedelta(microseconds=1)
    if just_before > now:
        then = read_clock(ASKED, DUE, pauses, just_before)
        assert then.standing in (reading.standing, Standing.PAUSED)


def test_that_somebody_took_it_over_is_an_answer_only_where_nothing_else_was_asked() -> None:
    request, stop = catalogue["referral.request"], catalogue["restrict.notice"]
    assert not settled_by(request, ["referral.received"], pausing=PAUSING)
    assert not settled_by(request, ["referral.clarify.request"], pausing=PAUSING)
    assert settled_by(request, ["referral.received", "referral.decline"], pausing=PAUSING)
    assert settled_by(stop, ["referral.received"], pausing=PAUSING)


def test_the_silence_after_an_early_notice_warns_nobody() -> None:
    row = catalogue["referral.early_notice"]
    due = row.answer_by(ASKED)
    assert first_look(row, ASKED, due) == due
    assert not settled_by(row, ["referral.received"], pausing=PAUSING)


def test_what_asks_for_nothing_is_never_looked_at() -> None:
    assert first_look(catalogue["return.decision"], ASKED, None) is None


def test_a_journey_that_was_announced_ends_with_an_arrival_or_somebody_looks_for_her() -> None:
    row = catalogue["travel.notice"]
    assert row.alarm == "arrival-missing"
    assert settled_by(row, ["departure.confirm"], pausing=PAUSING)
    assert settled_by(row, ["arrival.handover.confirm"], pausing=PAUSING)
    assert not settled_by(row, ["referral.received"], pausing=PAUSING)
