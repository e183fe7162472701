"""A person is told by a way that she called safe, in her hours, or face to face."""

from __future__ import annotations

from datetime import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.gateway.notices.queue import WAYS
from broker.gateway.notices.reaching import FACE_TO_FACE, SAFE_CONTACT, Hours, Reaching
from broker.gateway.safeguards.words import Safeguards
from schemas.errors import PolicyRefused, SchemaRefused

NOON = time(12, 0)


def reaching(told: dict[str, Any] | None = None, **written: Any) -> Reaching:
    return Reaching.of([Safeguards(**written)], told or {})


def tell(rules: Reaching, by: str = "telephone", at: time = NOON, read: bool = False) -> None:
    rules.check(SAFE_CONTACT, by, moment=at, times_read=read)


def test_who_called_no_way_safe_is_told_face_to_face_alone() -> None:
    for rules in (reaching(), reaching({"method": "none"}), reaching({"times": "09:00-17:00"})):
        assert rules.ways(NOON) == FACE_TO_FACE
        with pytest.raises(PolicyRefused) as no:
            tell(rules)
        assert no.value.where == ("how",)


def test_the_way_that_she_called_safe_is_open_and_no_other() -> None:
    rules = reaching({"method": "telephone"})
    tell(rules)
    for other in ("text", "email", "messenger"):
        with pytest.raises(PolicyRefused):
            tell(rules, by=other)


def test_what_she_excluded_stays_closed_whatever_a_form_says() -> None:
    with pytest.raises(PolicyRefused):
        tell(reaching({"method": "telephone"}, contact_never_by=("telephone",)))


def test_what_a_worker_wrote_stands_above_what_came() -> None:
    rules = reaching({"method": "telephone"}, contact_by="messenger")
    tell(rules, by="messenger")
    with pytest.raises(PolicyRefused):
        tell(rules, by="telephone")


@pytest.mark.parametrize(
    ("hours", "at", "open_then"),
    [
        ("09:00-17:00", time(9, 0), True),
        ("09:00-17:00", time(17, 1), False),
        ("22:00-06:00", time(23, 0), True),
        ("22:00-06:00", time(5, 59), True),
        ("22:00-06:00", NOON, False),
    ],
)
def test_outside_her_hours_it_is_handed_over_instead(hours: str, at: time, open_then: bool) -> None:
    for rules in (
        reaching({"method": "telephone", "times": hours}),
        reaching({"method": "telephone"}, contact_hours=hours),
    ):
        assert (SAFE_CONTACT in rules.ways(at)) is open_then
        assert set(FACE_TO_FACE) <= set(rules.ways(at))


def test_hours_in_words_are_read_by_a_worker_first() -> None:
    rules = reaching({"method": "telephone", "times": "when the children are at school"})
    with pytest.raises(PolicyRefused) as no:
        tell(rules)
    assert no.value.where == ("times_read",)
    tell(rules, read=True)


def test_by_which_way_is_said_of_a_safe_contact_and_of_nothing_else() -> None:
    rules = reaching({"method": "telephone"})
    for how, by in ((SAFE_CONTACT, None), ("handed_over", "telephone")):
        with pytest.raises(SchemaRefused):
            rules.check(how, by, moment=NOON, times_read=True)


@given(st.times(), st.times(), st.times())
def test_two_spans_that_share_their_ends_cover_the_day(
    first: time, last: time, moment: time
) -> None:
    assume(first != last)
    assert Hours(first, last).hold(moment) or Hours(last, first).hold(moment)


def test_every_way_of_telling_is_one_of_these() -> None:
    assert set(WAYS) == {SAFE_CONTACT, *FACE_TO_FACE}
