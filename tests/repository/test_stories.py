"""Ten points, ten stories: the page and the tests name each other, in their order."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| \*\*.+\| `([\w/]+\.py)::(test_\w+)` \|$", re.MULTILINE)


def told(path: Path) -> list[str]:
    """The tests of a module, in the order in which they are told."""
    parts = ast.parse(path.read_text(encoding="utf-8")).body
    named = [one.name for one in parts if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef)]
    return [name for name in named if name.startswith("test_")]


def test_each_of_the_ten_points_is_told_by_one_test() -> None:
    rows = ROW.findall((ROOT / "docs" / "stories.md").read_text(encoding="utf-8"))
    numbers = [int(number) for number, _, _ in rows]
    assert numbers == list(range(1, 11))
    for number, file, test in rows:
        assert test in told(ROOT / file), f"point {number}: no such test"
        assert test.startswith(f"test_{number}_")
    files = list(dict.fromkeys(file for _, file, _ in rows))
    assert [name for file in files for name in told(ROOT / file)] == [test for _, _, test in rows]
