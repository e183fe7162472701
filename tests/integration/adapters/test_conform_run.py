"""A conformance run reports every promise of an adapter that is killed while it files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from adapters.base import Skill, Tools
from adapters.conformance import CHECKS, conform
from broker.cli.root import referral

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_files_adapter_keeps_every_promise_also_when_it_is_killed(tmp_path: Path) -> None:
    report = conform("files", {"root": str(tmp_path)}, Tools(), now=NOW, kills=4)
    assert report.passed
    offered = [each for each in report.results if each.outcome != "not offered"]
    # A folder cannot be searched for people; all else is promised.
    assert len(offered) == len([each for each in CHECKS if Skill.CANDIDATES not in each.needs]) + 1
    assert not list((tmp_path / "in").iterdir())


def test_it_keeps_them_as_well_when_it_files_workbooks(tmp_path: Path) -> None:
    settings = {"root": str(tmp_path), "writes": "xlsx"}
    report = conform("files", settings, Tools(), now=NOW, kills=2)
    assert report.passed, report
    assert not list((tmp_path / "in").iterdir())


def test_the_command_writes_a_page_to_sign_and_ends_with_3_on_a_broken_promise(
    tmp_path: Path,
) -> None:
    (tmp_path / "filed").mkdir()
    settings = tmp_path / "settings.toml"
    settings.write_text(f'root = "{tmp_path / "filed"}"\n')
    page = tmp_path / "report.html"
    arguments = ["conform", "files", "--settings", str(settings), "--kills", "0"]
    done = CliRunner().invoke(referral, [*arguments, "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert "Every promise was kept." in page.read_text()

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "told").write_text("in the way")
    settings.write_text(f'root = "{tmp_path / "other"}"\n')
    broken = CliRunner().invoke(referral, [*arguments, "--json"])
    assert broken.exit_code == 3, broken.output
    assert '"check":"tells_nothing_of_unknown_cases"' in broken.stdout
