"""Dropped files promise: each is put aside when its cases are decided, and never before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.base import CaseRecord
from adapters.systems.files import FilesSystem
from adapters.systems.files.dropped import Taken
from broker.cli.cases.bulk import Answer, Tally
from broker.cli.cases.dropped import Rows, deal_with
from schemas.errors import SchemaRefused, Unavailable

GOOD = "x_case_ref,prs_FirstName,x_invented\nXA-1,A,yes\nXA-2,B,yes\n"


@pytest.fixture
def system(tmp_path: Path) -> FilesSystem:
    return FilesSystem(tmp_path)


def drop(system: FilesSystem, **files: str) -> None:
    (system.root / "out").mkdir()
    for name, text in files.items():
        path = system.root / "out" / f"{name}.csv"
        path.write_text(text)
        os.utime(path, (0, 0))


def lying_in(system: FilesSystem, folder: str) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in (system.root / folder).glob("*"))


class Sends:
    """A gateway that decides about everything, or stops."""

    def __init__(self, *, stops: bool = False) -> None:
        self.stops = stops
        self.seen: list[str] = []

    def __call__(self, file: Taken, rows: Rows) -> Tally:
        tally = Tally()
        for row in rows:
            if isinstance(row, CaseRecord):
                self.seen.append(row.case_ref)
                code = "unavailable" if self.stops else None
                tally.add(Answer(row.case_ref, code, undecided=self.stops))
                tally.complete = not self.stops
            else:
                tally.rows_rejected += 1
        return tally


def test_files_that_are_dealt_with_are_put_aside_in_the_order_of_their_names(
    system: FilesSystem,
) -> None:
    drop(system, b=GOOD.replace("XA-", "XB-"), a=GOOD)
    sends = Sends()
    dealt = list(deal_with(system.dropped.take(), sends))
    assert [(each.name, each.tally.sent, each.put_aside) for each in dealt] == [
        ("a.csv", 2, True),
        ("b.csv", 2, True),
    ]
    assert sends.seen == ["XA-1", "XA-2", "XB-1", "XB-2"]
    assert lying_in(system, "done") == ["a.csv", "b.csv"]


def test_what_the_gateway_could_not_decide_is_asked_again_by_the_next_run(
    system: FilesSystem,
) -> None:
    drop(system, a=GOOD, b=GOOD)
    (only,) = deal_with(system.dropped.take(), Sends(stops=True))
    assert not only.put_aside
    assert lying_in(system, "done") == []
    again = list(deal_with(system.dropped.take(), Sends()))
    assert [each.put_aside for each in again] == [True, True]


def test_a_file_that_is_no_case_file_holds_up_no_other(system: FilesSystem) -> None:
    drop(system, a="SECRET\n1\n", b=GOOD)
    bad, good = deal_with(system.dropped.take(), Sends())
    assert bad.as_json()["refused_whole"] == "schema"
    assert "SECRET" not in str(bad.as_json())
    assert lying_in(system, "rejected") == ["a.csv", "a.csv.why.txt"]
    assert good.put_aside


def test_a_refusal_that_is_not_about_the_file_leaves_the_file_alone(system: FilesSystem) -> None:
    drop(system, a=GOOD)

    def refuses(file: Taken, rows: Rows) -> Tally:
        raise SchemaRefused("the body does not fit")

    def is_away(file: Taken, rows: Rows) -> Tally:
        raise Unavailable

    for send, error in ((refuses, SchemaRefused), (is_away, Unavailable)):
        with pytest.raises(error):
            list(deal_with(system.dropped.take(), send))
        assert lying_in(system, "taken") == ["a.csv"]
