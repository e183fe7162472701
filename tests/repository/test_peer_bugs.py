"""What went wrong in other systems of this kind has a test here, each by its name."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
REGISTRY = Path(__file__).with_name("peer_bugs.toml")
BUGS: list[dict[str, Any]] = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))["bug"]
ROWS = {*(str(number) for number in range(1, 31)), "28b"}


def test_every_bug_has_a_row_and_no_row_is_there_twice() -> None:
    rows = [bug["row"] for bug in BUGS]

    assert set(rows) == ROWS
    assert len(rows) == len(set(rows))
    assert all(bug["tests"] for bug in BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=[bug["row"] for bug in BUGS])
def test_each_bug_of_others_has_a_test_that_exists(bug: dict[str, Any]) -> None:
    for node in bug["tests"]:
        file, _, name = node.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        found = {
            item.name
            for item in ast.walk(tree)
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in found, node
