"""The adapter that an author copies keeps every promise, as it stands and in a process of its own."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from adapters.base import CannotMap, CaseRecord, Tools
from adapters.conformance import CHECKS, conform
from adapters.conformance.checks import Check
from adapters.registry import open_adapter
from adapters.samples.casebook import casebook
from tests.support.entry_points import installed

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_casebook_conforms(check: Check, tmp_path: Path) -> None:
    system = casebook.make({"path": str(tmp_path / "cases.db")}, Tools())
    if check.applies_to(system):
        check(system)


def test_installed_as_a_package_it_is_found_by_its_name_and_survives_being_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(Path(casebook.__file__).parent, tmp_path, monkeypatch)
    settings = {"path": str(tmp_path / "cases.db")}
    assert open_adapter("casebook", settings).name == "casebook"
    # An adapter's process is given no environment: where the package is, it is told so.
    serve = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['', 'casebook']"
    command = [sys.executable, "-c", f"{serve}; from adapters.serve import main; main()"]
    report = conform(
        "external", {"command": command, "settings": settings}, Tools(), now=NOW, kills=2
    )
    assert [each for each in report.results if each.outcome == "failed"] == []
    assert report.adapter == "casebook"


def test_a_code_without_a_word_is_named_and_nothing_is_filed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(casebook.WORDS, "NonConforming")
    system = casebook.make({"path": str(tmp_path / "cases.db")}, Tools())
    case = CaseRecord("XA-1", {"identity_core": {"gender": "NonConforming"}})
    answer = system.file(UUID(int=1), case)
    assert answer == CannotMap(("identity_core.gender: unknown-code",))
    assert system.find(UUID(int=1)) is None
