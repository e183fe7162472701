"""What the pages say of the code is so: tables and diagrams, promises and their tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from broker.gateway.store import tables
from schemas.catalogue import catalogue
from tests.support.exchanges import AT_ONCE, tried_by
from tests.support.pages import BLOCKS, names, pictures, rewritten

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ARCHITECTURE = ROOT / "docs" / "architecture.md"
TEST_NAME = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_takes_from_the_code_is_as_the_code_has_it(page: Path) -> None:
    text = page.read_text("utf-8")
    assert rewritten(text) == text, "python -m tests.support.pages writes it anew"


def test_every_machine_is_drawn_as_its_table_has_it() -> None:
    there = {path.name: path.read_text("utf-8") for path in (ROOT / "docs/diagrams").iterdir()}
    assert there == pictures(), "python -m tests.support.pages draws them anew"


def test_everything_that_can_be_written_from_the_code_is_on_a_page_once() -> None:
    written = [name for page in PAGES for name in names(page.read_text("utf-8"))]
    assert sorted(written) == sorted(BLOCKS)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    missing = [
        f"{path}::{name}"
        for path, name in TEST_NAME.findall(page.read_text("utf-8"))
        if name not in _tests_of(ROOT / path)
    ]
    assert missing == []


@pytest.mark.parametrize("name", catalogue)
def test_the_test_that_the_catalogue_names_for_a_type_exists_and_is_tried_with_it(
    name: str,
) -> None:
    path, test = tried_by(name).split("::")
    function, _, tried_with = test.partition("[")
    assert function in _tests_of(ROOT / path)
    if tried_with:
        assert tried_with == f"{name}]" or tried_with[:-1] in AT_ONCE


def test_every_promise_points_at_its_code_and_its_tests() -> None:
    rows = re.findall(r"^\| (I-\d+) \|(.*)$", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == [f"I-{number}" for number in range(1, 12)]
    for name, row in rows:
        _promise, kept_by, tried_by = row.strip(" |").split(" | ")
        assert re.search(r"\]\(\.\./|`pyproject\.toml`", kept_by), name
        assert TEST_NAME.search(tried_by), name


@pytest.mark.parametrize(
    ("table", "after"), [(tables.outbox, "in the sender's outbox"), (tables.inbox, "[*] --> kept")]
)
def test_the_diagrams_of_outbox_and_inbox_have_the_states_of_the_tables(
    table: object, after: str
) -> None:
    stored = set(_states_of(table))
    drawn = set()
    for block in ARCHITECTURE.read_text("utf-8").split("```mermaid"):
        diagram = block.split("```")[0]
        found = {word for pair in re.findall(r"(\w+) --> (\w+)", diagram) for word in pair} | set(
            re.findall(r"\[\*\] --> (\w+)", diagram)
        )
        if found == stored:
            drawn = found
    assert drawn == stored, after


def test_the_life_of_a_referral_leads_through_the_code_as_it_is() -> None:
    """Each name beside a file is defined there, and both pages go the same way."""
    steps = _life_in(ARCHITECTURE)
    short = _life_in(ROOT / "README.md")
    assert list(steps) == list(short) == list(range(1, 12))
    for number, row in steps.items():
        read = re.findall(r"\]\(\.\./([^)]+\.py)\)((?: `[\w.]+`)+)", row)
        for path, named in read:
            missing = set(re.findall(r"`([\w.]+)`", named)) - _defined_in(ROOT / path)
            assert missing == set(), path
        shown = set(re.findall(r"\]\(([^)]+)\)", short[number]))
        assert shown, number
        for path in shown:
            assert any(one.startswith(path) for one, _ in read), f"step {number}: {path}"


def test_every_alarm_that_can_be_raised_is_explained_to_operators() -> None:
    explained = set(re.findall(r"`([a-z-]+)`", _part_of_operations("## Alarms")))
    source = "".join(path.read_text("utf-8") for path in (ROOT / "broker/gateway").rglob("*.py"))
    late = (ROOT / "broker/gateway/deadlines").glob("*.py")
    deadlines = "".join(path.read_text("utf-8") for path in late)
    raised = set(
        re.findall(r'raise_alarm\(\s*connection,\s*"([a-z-]+)",', source)
        + re.findall(r'alarms\.append\(\("([a-z-]+)"', source)
        # Whatever is late is an alarm: there, every such word is a code.
        + re.findall(r'"([a-z]+-[a-z-]+)"', deadlines)
    )
    assert {"send-failed", "receipt-missing", "filing-failed"} <= raised
    assert raised <= explained


def test_every_page_of_the_local_api_has_its_routes() -> None:
    page = (ROOT / "docs" / "gateway-api.md").read_text("utf-8")
    missing = []
    for path in sorted((ROOT / "broker/gateway/api").glob("*.py")):
        for method, route in re.findall(
            r'@routes\.(get|post|delete|put)\("([^"]+)"\)', path.read_text("utf-8")
        ):
            shown = re.sub(r"\{(\w+)\}", r"{[a-z]+}", re.escape("/v1" + route).replace("\\", ""))
            if not re.search(rf"`{method.upper()} {shown}[`? ]", page):
                missing.append(f"{method} {route}")
    assert missing == []


def _part_of_operations(heading: str) -> str:
    page = (ROOT / "docs" / "operations" / "README.md").read_text("utf-8")
    return page.split(f"\n{heading}\n")[1].split("\n## ")[0]


def _life_in(page: Path) -> dict[int, str]:
    """The rows of the steps, by number."""
    part = page.read_text("utf-8").split("\n## The life of a referral\n")[1].split("\n## ")[0]
    return {int(n): row for n, row in re.findall(r"^\| (\d+) \|(.*)$", part, re.MULTILINE)}


def _defined_in(path: Path) -> set[str]:
    """Functions, classes and their methods, as `Class.method`."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for name in _functions(node)}
    return found


def _states_of(table: object) -> list[str]:
    constraints = getattr(table, "constraints", ())
    text = " ".join(str(getattr(one, "sqltext", "")) for one in constraints)
    return re.findall(r"'(\w+)'", re.search(r"state IN \(([^)]*)\)", text)[1])  # type: ignore[index]


def _tests_of(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return _functions(ast.parse(path.read_text("utf-8")))


def _functions(tree: ast.AST) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
