"""A national file of hundreds of rows, sent by one command over a network that really runs."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.processes import Child
from broker.cli.homes.network import Network, create_network
from broker.cli.terminal.failures import Exit

ROWS = 300
PERSON = "no-such-person"


@dataclass
class Running:
    """A hub and two gateways."""

    network: Network

    def send(self, file: Path, *more: str) -> list[str]:
        """The command that sends a whole file."""
        return [
            *(sys.executable, "-m", "broker.cli", "send", "--json", "--all"),
            *("--home", str(self.home("it.nrm")), "--worker", "first"),
            *("--from-file", str(file), "--to", "al.nrm", "--type", "referral.request"),
            *("--purpose", "protection", "--set", 'services=["safe_house"]', *more),
        ]

    def home(self, participant: str) -> Path:
        return self.network.participants[participant].home

    def filed(self) -> list[Path]:
        return list((self.home("al.nrm") / "htcds" / "in").glob("*.csv"))

    def consents(self, prefix: str) -> list[dict[str, Any]]:
        given = self.network.worker("it.nrm").items("/v1/consents", "consents")
        return [one for one in given if str(one["case_ref"]).startswith(prefix)]


TERMS = ("--record-consent", "--until", "2030-01-01", "--language", "sqi", "--notice", "n-1")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("network")
    network = create_network(path)
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=path / "hub.log",
    )
    italy, albania = (
        Child(
            name,
            ["gateway", "run", "--home", str(network.participants[name].home)],
            ready_url=f"http://127.0.0.1:{network.participants[name].port}/readyz",
            log=path / f"{name}.log",
        )
        for name in ("it.nrm", "al.nrm")
    )
    try:
        for child in (hub, italy, albania):
            child.start()
            child.wait_ready()
        network.register_agreement("it.nrm", "al.nrm")
        yield Running(network)
    finally:
        for child in (albania, italy, hub):
            child.end()


def national_file(path: Path, prefix: str, rows: int) -> dict[str, int]:
    """Invented people: of each 30, one never agreed, one is a child, one row is damaged."""
    kinds = {"good": 0, "box": 0, "child": 0, "bad": 0}
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(
            (
                *("x_case_ref", "x_invented", "cas_Status"),
                *("prs_FirstName", "prs_Birthdate", "prs_Gender", "con_Consent"),
            )
        )
        for number in range(rows):
            kind = {7: "box", 17: "child", 27: "bad"}.get(number % 30, "good")
            kinds[kind] += 1
            out.writerow(
                (
                    f"{prefix}-{number:04}",
                    "yes",
                    "Active",
                    PERSON,
                    "2015-01-01" if kind == "child" else "1990-05-06",
                    "Nonsense" if kind == "bad" else "Feminine",
                    "no" if kind == "box" else "yes",
                )
            )
    return kinds


def done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "NO_COLOR": "1"},
    )


def eventually_filed(running: Running, wanted: int) -> None:
    deadline = time.monotonic() + 90
    while len(running.filed()) < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(running.filed()) == wanted


def test_a_whole_file_is_sent_once_and_the_rest_is_listed_with_reasons(
    running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "national.csv"
    kinds = national_file(file, "WHOLE", ROWS)
    before = len(running.filed())

    first = done(running.send(file, *TERMS))

    assert first.returncode == Exit.PARTLY, first.stderr
    result = json.loads(first.stdout)
    assert result["sent"] == result["consents_recorded"] == kinds["good"]
    assert result["refused"] == kinds["box"] + kinds["child"]
    assert result["rows_rejected"] == kinds["bad"]
    assert result["by_code"] == {"child": kinds["child"], "consent-missing": kinds["box"]}
    assert PERSON not in first.stdout + first.stderr
    eventually_filed(running, before + kinds["good"])

    refused, rejected = Path(result["refused_file"]), Path(result["rejected_file"])
    for listed, rows in ((refused, result["refused"]), (rejected, kinds["bad"])):
        assert listed.stat().st_mode & 0o777 == 0o600
        assert len(listed.read_text().splitlines()) == rows + 1
    assert PERSON not in refused.read_text()

    again = done(running.send(file, *TERMS))

    assert again.returncode == Exit.PARTLY
    assert json.loads(again.stdout) == {**result, "consents_recorded": 0}
    assert len(running.consents("WHOLE")) == kinds["good"]
    time.sleep(1)
    assert len(running.filed()) == before + kinds["good"]


def test_a_run_that_was_killed_is_run_again_and_nothing_is_double(
    running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "killed.csv"
    kinds = national_file(file, "KILLED", 60)
    before = len(running.filed())
    command = running.send(file, *TERMS)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not running.consents("KILLED") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()

    ended = done(command)

    assert json.loads(ended.stdout)["sent"] == kinds["good"]
    assert len(running.consents("KILLED")) == kinds["good"]
    eventually_filed(running, before + kinds["good"])


def test_who_withdrew_is_not_sent_again_by_the_same_file(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    national_file(file, "TWO", 2)
    before = len(running.filed())
    assert done(running.send(file, *TERMS)).returncode == Exit.OK
    eventually_filed(running, before + 2)
    (grant,) = [one["grant"] for one in running.consents("TWO-0000")]
    running.network.worker("it.nrm").post(f"/v1/consents/{grant}/withdraw")

    again = done(running.send(file, *TERMS))

    assert again.returncode == Exit.PARTLY
    assert json.loads(again.stdout)["by_code"] == {"consent-withdrawn": 1}
    assert len(running.consents("TWO")) == 2


def test_without_consent_nothing_of_a_file_is_sent(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "none.csv"
    national_file(file, "NONE", 3)

    ended = done(running.send(file))

    assert ended.returncode == Exit.POLICY
    assert json.loads(ended.stdout)["by_code"] == {"consent-missing": 3}
    assert running.consents("NONE") == []


@pytest.mark.parametrize(
    "more",
    [
        ("--case", "WHOLE-0001"),
        ("--dry-run",),
        ("--record-consent", "--until", "2030-01-01"),
        ("--notice", "n-1"),
    ],
)
def test_what_makes_no_sense_for_many_is_a_usage_error(
    running: Running, tmp_path: Path, more: tuple[str, ...]
) -> None:
    file = tmp_path / "usage.csv"
    national_file(file, "USAGE", 1)
    ended = done(running.send(file, *more))
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, "")
