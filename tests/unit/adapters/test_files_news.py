"""Decisions as files: each reported once, none written to the wrong referral, none lost."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from adapters.base import Ambiguous, CaseRecord, Filed, News, Step, Tools
from adapters.systems.files import FilesSystem, make

ONE = UUID("0190a000-0000-7000-8000-000000000001")
TWO = UUID("0190a000-0000-7000-8000-000000000002")
HEADER = "x_business_id,x_step,x_at,x_reason,x_services\n"


@pytest.fixture
def system(tmp_path: Path) -> FilesSystem:
    system = make({"root": tmp_path}, Tools())
    (tmp_path / "decided").mkdir()
    for number, business_id in enumerate((ONE, TWO)):
        case = CaseRecord(f"XA-{number}", {"case_admin": {"status": "Active"}}, sender="xb.nrm")
        assert isinstance(system.file(business_id, case), Filed)
    return system


def decide(system: FilesSystem, name: str, *rows: str) -> None:
    (system.root / "decided" / name).write_text(HEADER + "".join(f"{row}\n" for row in rows))


def test_a_decision_names_its_referral_and_no_other(system: FilesSystem) -> None:
    decide(
        system,
        "a.csv",
        f"{ONE},accepted,2026-11-22T10:00:00Z,,legal;housing",
        f"{TWO},declined,2026-11-22T10:00:00Z,no_capacity,",
    )
    first, second = system.poll(None).items
    assert isinstance(first, News)
    assert (first.business_id, first.step, first.services) == (
        ONE,
        Step.ACCEPTED,
        ("legal", "housing"),
    )
    assert isinstance(second, News)
    assert (second.business_id, second.step, second.reason) == (TWO, Step.DECLINED, "no_capacity")


def test_a_page_comes_again_until_it_is_stored_and_then_the_next(system: FilesSystem) -> None:
    decide(system, "a.csv", f"{ONE},accepted,,,".replace(",,,", ",2026-11-22T10:00:00Z,,"))
    decide(system, "b.csv", f"{TWO},completed,2026-11-22T11:00:00Z,,")
    first = system.poll(None)
    assert first.more
    assert system.poll(None) == first
    second = system.poll(first.cursor)
    assert [item.id for item in second.items] != [item.id for item in first.items]
    assert system.poll(second.cursor).items == ()
    assert len(list((system.root / "decided" / "done").iterdir())) == 2


def test_a_file_that_took_the_name_of_one_put_aside_is_read_too(system: FilesSystem) -> None:
    decide(system, "a.csv", f"{ONE},accepted,2026-11-22T10:00:00Z,,")
    cursor = system.poll(None).cursor
    decide(system, "a.csv", f"{TWO},accepted,2026-11-22T10:00:00Z,,")
    (item,) = system.poll(cursor).items
    assert isinstance(item, News)
    assert item.business_id == TWO


def test_the_same_decision_in_two_files_is_the_same_news(system: FilesSystem) -> None:
    row = f"{ONE},accepted,2026-11-22T10:00:00Z,,"
    decide(system, "a.csv", row)
    first = system.poll(None)
    decide(system, "b.csv", row)
    assert system.poll(first.cursor).items == first.items


@pytest.mark.parametrize(
    ("row", "code", "where"),
    [
        (f"{UUID(int=7)},accepted,2026-11-22T10:00:00Z,,", "no-referral", "x_business_id"),
        ("not-an-id,accepted,2026-11-22T10:00:00Z,,", "no-referral", "x_business_id"),
        (f"{ONE},maybe,2026-11-22T10:00:00Z,,", "unknown-code", "x_step"),
        (f"{ONE},accepted,12/03/2026,,", "bad-date", "x_at"),
        (f"{ONE},declined,2026-11-22T10:00:00Z,,", "reason-missing", "x_reason"),
    ],
)
def test_a_row_that_fits_no_referral_waits_for_a_person_and_holds_none_up(
    system: FilesSystem, row: str, code: str, where: str
) -> None:
    decide(system, "a.csv", row, f"{TWO},accepted,2026-11-22T10:00:00Z,,")
    bad, good = system.poll(None).items
    assert isinstance(bad, Ambiguous)
    assert (bad.code, bad.where) == (code, (where,))
    assert isinstance(good, News)


def test_a_file_that_still_grows_is_left_alone(system: FilesSystem) -> None:
    path = system.root / "decided" / "a.csv"
    path.write_text(HEADER + f"{ONE},accep")
    assert system.poll(None).items == ()
    os.utime(path, (1, 1))
    (item,) = system.poll(None).items
    assert isinstance(item, Ambiguous)
    assert item.code == "truncated"


def test_a_file_with_other_columns_is_reported_whole(system: FilesSystem) -> None:
    (system.root / "decided" / "a.csv").write_text("case,decision\n1,yes\n")
    (item,) = system.poll(None).items
    assert isinstance(item, Ambiguous)
    assert item.code == "wrong-columns"


def test_what_a_partner_decided_is_told_once_for_each_referral(system: FilesSystem) -> None:
    news = News("m-1", ONE, Step.ACCEPTED, datetime(2026, 11, 22, tzinfo=UTC), None, ("legal",))
    assert system.tell("IT-1", news) == Filed(f"{ONE}.{_mark(system)}.csv")
    assert isinstance(again := system.tell("IT-1", news), Filed)
    assert again.already
    system.tell("IT-1", replace(news, id="m-2", business_id=TWO))
    told = sorted((system.root / "told").iterdir())
    assert [path.name[:36] for path in told] == [str(ONE), str(TWO)]
    assert "IT-1" in told[0].read_text()
    assert "accepted" in told[0].read_text()


def _mark(system: FilesSystem) -> str:
    (path,) = (system.root / "told").glob("*.csv")
    return path.name.split(".")[1]
