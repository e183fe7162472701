"""Messages are counted once, by how far they got; nothing is counted that was not stated."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.audit.bundle.figures import Sent, count
from broker.audit.bundle.report import About, html, said, tables
from broker.audit.proofs.offline import Failed

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


def test_a_report_without_messages_says_so_and_escapes_what_it_is_told() -> None:
    page = html(About("<b>", "p", "all", "now", "h", ()), count([], {}))
    assert "<b>" not in page.partition("</dl>")[0].replace("<b>1", "")
    assert page.count("None in this period.") == len(tables(count([], {})))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "< 1 s"), (5, "5 s"), (65, "1 min 5 s"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_said_for_people(seconds: int, text: str) -> None:
    assert said(timedelta(seconds=seconds)) == text
    assert said(None) == "-"
