"""The demo's books: a message that vanishes is found, and so is one that exists twice."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.cli.demo.recount import BUSINESS_ID, Party, business_ids_in, recount


def sent(number: int, state: str = "read", to: str = "al.nrm") -> dict[str, Any]:
    return {"id": f"m{number}", "business_id": f"b{number}", "partner": to, "state": state}


def got(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"m{number}",
        "business_id": f"b{number}",
        "filed_at": "then",
        "opened_at": None,
        "erased_at": None,
        **more,
    }


def books(
    outbox: list[dict[str, Any]],
    inbox: list[dict[str, Any]],
    *,
    files: Mapping[str, int],
    quarantine: tuple[dict[str, Any], ...] = (),
) -> dict[str, Party]:
    return {
        "it.nrm": Party("it.nrm", tuple(outbox), (), (), Counter()),
        "al.nrm": Party("al.nrm", (), tuple(inbox), quarantine, Counter(files)),
    }


def test_what_was_sent_filed_and_read_once_balances() -> None:
    found = recount(books([sent(1)], [got(1, opened_at="then")], files={"b1": 1}))
    assert (found.sent, found.accepted_by_hub, found.delivered) == (1, 1, 1)
    assert (found.filed, found.read) == (1, 1)
    assert found.lost == []
    assert found.duplicated == []


def test_a_message_that_the_hub_says_it_has_and_nobody_got_is_lost() -> None:
    assert recount(books([sent(1, "submitted")], [], files={})).lost == ["m1"]


def test_a_message_that_counts_as_delivered_and_is_in_no_inbox_is_lost() -> None:
    assert recount(books([sent(1, "delivered")], [], files={})).lost == ["m1"]


def test_a_stopped_or_refused_message_is_accounted_for() -> None:
    found = recount(books([sent(1, "stopped"), sent(2, "refused")], [], files={}))
    assert (found.lost, found.stopped, found.accepted_by_hub) == ([], 1, 1)


def test_a_quarantined_message_is_not_lost() -> None:
    found = recount(books([sent(1, "relayed")], [], files={}, quarantine=({"id": "m1"},)))
    assert (found.lost, found.quarantined) == ([], 1)


def test_a_receipt_for_a_file_that_is_not_there_is_a_loss() -> None:
    assert recount(books([sent(1)], [got(1)], files={})).lost == ["m1"]


def test_a_message_that_came_and_was_never_filed_is_lost() -> None:
    waiting = got(1, filed_at=None, state="filing")
    assert recount(books([sent(1, "delivered")], [waiting], files={})).lost == ["m1"]


def test_a_message_that_needs_no_filing_is_not_lost() -> None:
    kept = got(1, filed_at=None, state="kept")
    assert recount(books([sent(1, "delivered")], [kept], files={})).lost == []


def test_an_erased_file_is_not_a_loss() -> None:
    assert recount(books([sent(1)], [got(1, erased_at="then")], files={})).lost == []


def test_a_thing_filed_twice_is_a_duplicate() -> None:
    assert recount(books([sent(1)], [got(1)], files={"b1": 2})).duplicated == ["b1"]


def test_a_message_in_an_inbox_twice_is_a_duplicate() -> None:
    found = recount(books([sent(1)], [got(1), got(1)], files={"b1": 1}))
    assert found.duplicated == ["m1"]


def test_a_file_that_nobody_sent_does_not_go_unnoticed() -> None:
    found = recount(books([sent(1)], [got(1)], files={"b1": 1, "b9": 1}))
    assert found.duplicated == ["b9"]


def test_files_are_counted_by_what_they_say_and_not_by_their_names(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["x_case_ref", BUSINESS_ID])
            writer.writerow(["A-1", "b1"])
    assert business_ids_in(tmp_path) == Counter({"b1": 2})
