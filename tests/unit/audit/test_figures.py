"""Messages are counted once, by how far they got; nothing is counted that was not stated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from broker.audit.bundle.figures import Sent, count
from broker.audit.bundle.report import (
    CHART_WIDTH,
    About,
    file_name,
    html,
    said,
    tables,
    words_of,
)
from broker.audit.bundle.report_pdf import IN, write_pdf
from broker.audit.proofs.offline import Failed
from schemas.codes.labels import LANGUAGES

IT_AL = Sent("it.nrm", "al.nrm", "request", has_grant=True)


def stated(envelope: str, fact: str, minute: int, code: str | None = None) -> dict[str, object]:
    at = f"2026-11-01T08:{minute:02d}:00Z"
    return {"facts": [{"fact": fact, "envelope": envelope, "at": at, "code": code}]}


def test_a_message_counts_once_in_every_column_that_it_reached() -> None:
    evidence = [
        stated("a", "submitted", 0),
        stated("a", "delivered", 5),
        stated("a", "delivered", 9),  # said again
        stated("a", "read", 30),
        stated("b", "submitted", 0),
        stated("b", "undelivered", 59),
        stated("c", "refused", 1, "consent-expired"),
        stated("unknown", "submitted", 1),
    ]
    found = count(evidence, {"a": IT_AL, "b": IT_AL, "c": IT_AL})
    row = found.routes["it.nrm", "al.nrm"]
    assert (row.sent, row.delivered, row.opened, row.undelivered, row.refused) == (2, 1, 1, 1, 1)
    assert row.to_delivery.times == [timedelta(minutes=5)]
    assert (row.waiting, found.total.waiting) == (1, 2)
    assert found.total.sent == 3
    assert found.codes == {("refused", "consent-expired"): 1}
    assert found.evidence == 8


def test_withdrawals_are_counted_by_recipient_and_need_no_grant() -> None:
    withdrawal = Sent("it.nrm", "al.nrm", "withdrawal", has_grant=False)
    open_ = Sent("it.nrm", "al.nrm", "request", has_grant=False)
    found = count(
        [
            stated("w", "submitted", 0),
            stated("w", "delivered", 2),
            stated("w", "erased", 40),
            stated("x", "submitted", 0),
        ],
        {"w": withdrawal, "x": open_},
    )
    row = found.withdrawals["al.nrm"]
    assert (row.sent, row.delivered, row.erasures_attested) == (1, 1, 1)
    assert row.to_delivery.longest == timedelta(minutes=2)
    assert found.total.without_grant == 1


def test_what_is_not_evidence_is_not_counted() -> None:
    with pytest.raises(Failed):
        count([{"facts": [{"fact": 1}]}], {})


def about(**other: Any) -> About:
    values: dict[str, Any] = {
        "hub": "hub.main",
        "first": date(2026, 11, 1),
        "last": date(2026, 11, 30),
        "corridor": ("it", "al"),
        "made_at": datetime(2026, 12, 1, 8, tzinfo=UTC),
        "origin": "log.invalid/hub.main",
        "size": 158,
        "witnesses": ("it.nrm",),
        "enough_witnesses": False,
    }
    return About(**{**values, **other})


SOME = count(
    [
        stated("a", "submitted", 0),
        stated("a", "delivered", 5),
        stated("c", "refused", 1, "consent-expired"),
        stated("w", "submitted", 0),
        stated("w", "delivered", 2),
    ],
    {"a": IT_AL, "c": IT_AL, "w": Sent("it.nrm", "al.nrm", "withdrawal", has_grant=False)},
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_without_messages_says_so_and_escapes_what_it_is_told(language: str) -> None:
    page = html(about(hub="<i>"), count([], {}), language)
    assert "<i>" not in page
    words = words_of(language)
    assert page.count(escape(words["none"])) == len(tables(count([], {}), words))


def texts(words: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in words.items():
        if isinstance(value, Mapping):
            yield from texts(value, f"{path}{name}.")
        elif isinstance(value, list):
            yield from ((f"{path}{name}.{number}", text) for number, text in enumerate(value))
        else:
            yield f"{path}{name}", value


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_says_the_same_in_each_language_and_all_of_it_in_that_one(language: str) -> None:
    english, words = dict(texts(words_of("en"))), dict(texts(words_of(language)))
    assert words.keys() == english.keys()
    for name, text in words.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[name])), name
    page = html(about(), SOME, language)
    shown = unescape(page)
    unsaid = {"none", "everywhere", "no_witnesses", "page", "language", "h", "d", "s", "moment"}
    for name, text in words.items():
        if name not in unsaid and "{" not in text and not name.startswith("facts."):
            assert text in shown, name
    assert ('dir="rtl"' in page) == (language == "ar")
    for other in LANGUAGES:
        assert (f'href="{file_name(other)}"' in page) == (other != language)
    assert "<script" not in page
    assert "http" not in page


def test_the_chart_of_a_page_from_right_to_left_is_the_mirror_of_the_other() -> None:
    def bars(language: str) -> list[tuple[float, float]]:
        found = re.findall(
            r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', html(about(), SOME, language)
        )
        return [(float(x), float(wide)) for x, wide in found]

    for (x, wide), (mirrored, same) in zip(bars("en"), bars("ar"), strict=True):
        assert same == wide
        assert mirrored == pytest.approx(CHART_WIDTH - x - wide)


@pytest.mark.parametrize("language", IN)
def test_the_report_is_on_paper_too(language: str, tmp_path: Path) -> None:
    path = tmp_path / file_name(language, "pdf")
    write_pdf(path, about(), SOME, language)
    assert path.read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "< 1 s"), (5, "5 s"), (65, "1 min 5 s"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_said_for_people(seconds: int, text: str) -> None:
    words = words_of("en")
    assert said(timedelta(seconds=seconds), words) == text
    assert said(None, words) == "-"
    assert said(timedelta(days=2), words_of("fr")) == "2 j 0 h"
