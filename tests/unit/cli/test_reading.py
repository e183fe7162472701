"""One case out of a file: the one that was meant, or why it cannot be had."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from broker.cli.cases.reading import one_case
from broker.cli.terminal.failures import sentence
from schemas.errors import NotFound, SchemaRefused

HEADER = "x_case_ref,x_invented,cas_Status,prs_Gender"
GOOD = ("A-1,yes,Active,Feminine", "A-2,yes,Active,Masculine")
BAD = "A-3,yes,Active,Nonsense"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "htcds").mkdir()
    (tmp_path / "gateway.toml").write_text(
        'participant = "it.nrm"\n[hub]\nurl = "http://127.0.0.1:9"\n[directory]\nurl = "d"\n'
    )
    return tmp_path


def cases(home: Path, *rows: str) -> Path:
    path = home / "cases.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n")
    return path


def test_a_case_is_chosen_by_its_number(home: Path) -> None:
    assert one_case(home, cases(home, *GOOD), "A-2").case_ref == "A-2"


def test_the_only_case_of_a_file_needs_no_number(home: Path) -> None:
    assert one_case(home, cases(home, GOOD[0]), None).case_ref == "A-1"


@pytest.mark.parametrize("rows", [GOOD, (GOOD[0], BAD)], ids=["two", "one beside a bad row"])
def test_the_only_readable_case_is_not_taken_for_the_one_that_was_meant(
    home: Path, rows: tuple[str, ...]
) -> None:
    with pytest.raises(click.UsageError):
        one_case(home, cases(home, *rows), None)


def test_a_row_that_the_adapter_rejected_says_why(home: Path) -> None:
    with pytest.raises(SchemaRefused) as caught:
        one_case(home, cases(home, *GOOD, BAD), "A-3")
    assert caught.value.where == ("line 4: prs_Gender: unknown-code",)
    assert "docs/adapters.md" in sentence(caught.value)


def test_what_is_no_case_file_is_sent_to_the_page_that_describes_one(home: Path) -> None:
    path = home / "cases.csv"
    path.write_text("a;b\n1;2\n")
    with pytest.raises(SchemaRefused) as caught:
        one_case(home, path, "A-1")
    assert "docs/adapters.md, The files adapter" in sentence(caught.value)


def test_of_a_file_with_a_thousand_wrong_rows_twenty_reasons_are_shown(home: Path) -> None:
    rows = [f"B-{number},yes,Active,Nonsense" for number in range(1000)]
    with pytest.raises(SchemaRefused) as caught:
        one_case(home, cases(home, *rows), None)
    assert len(caught.value.where) == 21
    assert caught.value.where[-1] == "and 980 more"


def test_a_case_that_is_not_in_the_file_is_not_found(home: Path) -> None:
    with pytest.raises(NotFound):
        one_case(home, cases(home, *GOOD), "A-9")
