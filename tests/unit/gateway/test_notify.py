"""Mail is late by chance, seldom, and the same for everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from broker.gateway.notify import (
    FOR_MACHINES,
    WORDS,
    Told,
    is_due,
    mail,
    plan,
    said,
    still_worth_it,
)
from broker.gateway.settings import MailSettings, NotifySettings, RecipientSettings
from schemas.catalogue import catalogue

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MAIL = MailSettings(host="mail.invalid", sender="gateway@mail.invalid")
SETTINGS = NotifySettings(
    mail=MAIL, recipients=(RecipientSettings(address="worker@mail.invalid"),), most_a_day=3
)


def test_a_mail_goes_between_five_and_thirty_minutes_after_the_first_event() -> None:
    for draw, minutes in ((0.0, 5), (1.0, 30), (0.5, 17.5)):
        told = plan(Told(NOW), NOW + MINUTE, NOW + MINUTE, SETTINGS, draw)
        assert told.due == NOW + MINUTE + minutes * MINUTE
        assert not is_due(told, told.due - timedelta(seconds=1), SETTINGS)
        assert is_due(told, told.due, SETTINGS)


def test_what_happens_before_the_mail_has_gone_is_in_the_same_mail() -> None:
    told = plan(Told(NOW), NOW + MINUTE, NOW + MINUTE, SETTINGS, 0.0)
    later = plan(told, NOW + 4 * MINUTE, NOW + 4 * MINUTE, SETTINGS, 1.0)
    assert later.due == told.due
    after = said(later, NOW + 6 * MINUTE)
    assert plan(after, NOW + 4 * MINUTE, NOW + 7 * MINUTE, SETTINGS, 0.0).due is None


def test_what_a_worker_has_opened_before_the_mail_went_calls_nobody() -> None:
    told = plan(Told(NOW), NOW + MINUTE, NOW + MINUTE, SETTINGS, 0.0)
    assert still_worth_it(told, NOW + MINUTE) == told
    for left in (None, NOW, NOW - MINUTE):  # nothing is unread, or only what a mail was about
        assert still_worth_it(told, left).due is None
    more = plan(told, NOW + 2 * MINUTE, NOW + 2 * MINUTE, SETTINGS, 0.0)
    # The later one was opened, the first was not.
    assert still_worth_it(more, NOW + MINUTE).due == told.due
    dropped = still_worth_it(told, None)
    assert plan(dropped, NOW + 9 * MINUTE, NOW + 9 * MINUTE, SETTINGS, 0.0).due is not None


def test_what_gateways_deal_with_among_themselves_are_types_of_the_catalogue() -> None:
    assert catalogue.keys() >= FOR_MACHINES
    assert not any(name.startswith(("referral.", "safety.")) for name in FOR_MACHINES)


def test_what_is_not_new_is_not_said() -> None:
    for newest in (None, NOW, NOW - MINUTE):
        assert plan(Told(NOW), newest, NOW + MINUTE, SETTINGS, 0.0).due is None


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(0, 1), st.booleans()), max_size=80))
def test_however_much_happens_no_more_than_so_many_go_in_a_day_and_the_last_is_not_lost(
    steps: list[tuple[int, float, bool]],
) -> None:
    told, now, newest, sent = Told(NOW), NOW, NOW, []

    def look(draw: float) -> None:
        nonlocal told
        told = plan(told, newest, now, SETTINGS, draw)
        if is_due(told, now, SETTINGS):
            told = said(told, now)
            sent.append(now)

    for minutes, draw, happens in steps:
        now += minutes * MINUTE
        newest = now if happens else newest
        look(draw)
    for moment in sent:
        assert sum(moment <= each < moment + timedelta(days=1) for each in sent) <= 3
    now += timedelta(days=2)
    look(0.0)
    assert told.due is None or newest > NOW
    if any(happens for _, _, happens in steps):
        assert sent
        assert sent[-1] >= newest


def test_two_mails_differ_in_nothing_but_time_and_a_random_number() -> None:
    for language in WORDS:
        one, two = (mail(MAIL, "worker@mail.invalid", language, NOW) for _ in range(2))
        del one["Message-ID"], two["Message-ID"]
        assert one.as_bytes() == two.as_bytes()
        assert set(one.keys()) == {
            "From",
            "To",
            "Subject",
            "Date",
            "Auto-Submitted",
            "Content-Type",
            "Content-Transfer-Encoding",
            "MIME-Version",
        }


def test_an_address_carries_no_second_header() -> None:
    with pytest.raises(ValidationError):
        RecipientSettings(address="worker@mail.invalid\nBcc: other@mail.invalid")


def test_a_mail_that_was_planned_while_the_clock_was_ahead_goes_when_it_is_right_again() -> None:
    told = plan(Told(NOW), NOW + MINUTE, NOW + 180 * MINUTE, SETTINGS, 0.0)
    assert is_due(told, NOW, SETTINGS)
