"""Each side's migrations are one line: two that follow the same one stop every start."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("side", ["hub", "gateway"])
def test_the_migrations_of_a_side_follow_each_other_one_by_one(side: str) -> None:
    files = sorted((ROOT / "broker" / side / "store/migrations/versions").glob("[0-9]*.py"))
    found = [
        {
            target.id: ast.literal_eval(node.value)
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in ("revision", "down_revision")
        }
        for file in files
    ]
    numbers = [f"{number:04}" for number in range(1, len(files) + 1)]

    assert [one["revision"] for one in found] == numbers
    assert [one["down_revision"] for one in found] == [None, *numbers[:-1]]
    assert [file.name[:4] for file in files] == numbers
