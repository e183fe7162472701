"""The demo as a person runs it: a real process, real children, and one JSON object at the end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.demo.report import Counts

FIELDS = [
    "sent",
    "accepted_by_hub",
    "delivered",
    "filed",
    "read",
    "accepted",
    "declined",
    "questions",
    "onward",
    "transferred",
    "refused",
    "quarantined",
    "withdrawn_before_delivery",
    "erased_after_delivery",
    "lost",
    "duplicated",
    "log_size",
    "proofs_verified",
]


def run_demo(folder: Path, *options: str) -> tuple[dict[str, int], str]:
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", "demo", "--json", "--dir", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line), done.stderr


def check(counts: dict[str, int]) -> None:
    assert list(counts) == FIELDS
    assert all(type(value) is int for value in counts.values())
    assert counts["lost"] == 0
    assert counts["duplicated"] == 0
    assert counts["accepted_by_hub"] == counts["sent"]
    assert counts["sent"] == (
        counts["delivered"] + counts["quarantined"] + counts["withdrawn_before_delivery"]
    )
    assert counts["filed"] >= 8
    assert counts["read"] >= 3
    for name in ("accepted", "declined", "questions", "onward", "transferred", "refused"):
        assert counts[name] >= 1, name
    assert counts["quarantined"] == 1
    assert counts["withdrawn_before_delivery"] == 1
    assert counts["erased_after_delivery"] == 2
    assert counts["log_size"] > counts["sent"]
    assert counts["proofs_verified"] >= 1


def running_in(folder: Path) -> list[str]:
    """Commands of processes that were started on this folder, with the spaces lost."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = entry.read_bytes().decode(errors="replace")
            if str(folder) in command:
                found.append(command)
    return found


def cli(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_counts_are_those_that_the_issue_names() -> None:
    assert list(Counts().as_dict()) == FIELDS


def test_the_story_comes_true(tmp_path: Path) -> None:
    counts, told = run_demo(tmp_path / "demo")
    check(counts)
    assert "killed" in told
    assert running_in(tmp_path) == []


def test_kept_running_it_can_be_looked_at_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    counts, told = run_demo(folder, "--keep")
    check(counts)
    try:
        assert str(folder) in told
        home = ("--home", str(folder / "al.nrm"), "--worker", "first")
        arrived = cli("inbox", *home, "--json")
        assert len(arrived.splitlines()) >= counts["filed"] - counts["onward"]
        assert len(running_in(tmp_path)) == 4
    finally:
        ended = json.loads(cli("demo", "--stop", str(folder), "--json"))
    assert ended == {"al.nrm": True, "al.shelter": True, "it.nrm": True, "hub": True}
    assert running_in(tmp_path) == []


@pytest.mark.timeout(300)
def test_the_story_comes_true_over_postgresql_and_rabbitmq(tmp_path: Path) -> None:
    # Kept, and read through pipes: nothing that goes on running may hold them open.
    counts, _ = run_demo(tmp_path / "demo", "--rabbitmq", "--keep")
    try:
        check(counts)
    finally:
        ended = json.loads(cli("demo", "--stop", str(tmp_path / "demo"), "--json"))
    assert ended == dict.fromkeys(("al.nrm", "al.shelter", "it.nrm", "hub", "services"), True)
    assert running_in(tmp_path) == []


def test_a_folder_that_holds_a_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", "demo", "--json", "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "has a demo already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
