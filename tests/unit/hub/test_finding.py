"""A worker outside the network finds whom to call, in three languages, without a script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.hub.finding import as_page, offices
from schemas.directory import EntryPoint, Participant, TrustedDirectory
from schemas.errors import NotFound
from tests.support.parties import NOW, make_party

ALBANIA, ITALY = make_party("al.nrm"), make_party("it.nrm")
POINT = EntryPoint(telephone="+355400000000", hours="08:00-20:00", languages=("sqi", "ara"))


def directory(*entries: Participant) -> TrustedDirectory:
    return TrustedDirectory(
        version=7,
        digest=b"",
        participants={one.id: one for one in entries},
        fetched_at=NOW,
    )


REACHABLE = ALBANIA.entry.model_copy(update={"entry_point": POINT, "name": "Zyra <e> trilluar"})


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("fr", "ltr"), ("ar", "rtl")])
def test_the_page_says_whom_to_call_and_runs_nothing(language: str, direction: str) -> None:
    page = as_page(directory(REACHABLE, ITALY.entry), language)
    assert f'<html lang="{language}" dir="{direction}">' in page
    assert "+355400000000" in page
    assert "Zyra &lt;e&gt; trilluar" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_only_who_published_a_telephone_and_is_not_suspended_is_shown() -> None:
    assert offices(directory(REACHABLE, ITALY.entry)) == [REACHABLE]
    gone = REACHABLE.model_copy(update={"suspended": True})
    assert offices(directory(gone)) == []
    assert offices(directory(REACHABLE), "IT") == []


def test_a_country_without_an_office_is_told_where_to_go_on() -> None:
    assert "has no office" in as_page(replace(directory(REACHABLE), version=8), "en", "LY")


def test_another_language_is_refused() -> None:
    with pytest.raises(NotFound):
        as_page(directory(REACHABLE), "xx")
