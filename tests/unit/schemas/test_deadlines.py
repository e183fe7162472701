"""Deadlines as data: by urgency, in working days, in calendar months, or as the body says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue import catalogue
from schemas.families.deadline import (
    EARLY_WINDOW,
    ONE_MONTH,
    after_months,
    after_working_days,
    working_days,
)
from tests.support.examples import BODIES

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
moments = st.integers(0, 20 * 365 * 24).map(lambda hours: EARLIEST + timedelta(hours=hours))


def test_a_month_ends_with_the_month_if_it_is_shorter() -> None:
    assert ONE_MONTH.due(datetime(2027, 1, 31, tzinfo=UTC)) == datetime(2027, 2, 28, tzinfo=UTC)
    assert after_months(datetime(2026, 12, 22, tzinfo=UTC), 2) == datetime(2027, 2, 22, tzinfo=UTC)


def test_working_days_leave_out_saturday_and_sunday() -> None:
    friday = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert working_days(1).due(friday) == friday + timedelta(days=3)
    assert working_days(5).due(friday) == friday + timedelta(days=7)


@given(moments, st.integers(1, 40))
def test_a_working_day_is_never_a_weekend_and_more_is_later(moment: datetime, count: int) -> None:
    due = after_working_days(moment, count)
    assert due.weekday() < 5
    assert due < after_working_days(moment, count + 1)


def test_the_window_of_an_early_notice_opens_after_two_weeks_and_closes_after_two_months() -> None:
    sent = datetime(2026, 11, 22, tzinfo=UTC)
    assert EARLY_WINDOW.opens(sent) == sent + timedelta(days=14)
    assert EARLY_WINDOW.due(sent) == datetime(2027, 1, 22, tzinfo=UTC)


def test_what_the_body_says_of_the_deadline_comes_first() -> None:
    sent = datetime(2026, 11, 22, 9, tzinfo=UTC)
    row = catalogue["referral.request"]
    body = row.body.model_validate_json(json.dumps({**BODIES[row.name], "timeframe": "3_hours"}))
    assert row.answer_by(sent, body=body) == sent + timedelta(hours=3)
    leaving = catalogue["departure.confirm"]
    gone = leaving.body.model_validate_json(json.dumps(BODIES[leaving.name]))
    planned = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert leaving.answer_by(sent, body=gone) == planned + timedelta(hours=24)
