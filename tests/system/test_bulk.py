"""A national file of hundreds of rows, sent by one command over a network that really runs."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.processes import until
from broker.cli.terminal.failures import Exit
from tests.support.processes import Ended, Running, command, running

ROWS = 300
PERSON = "no-such-person"


TERMS = ("--record-consent", "--until", "2030-01-01", "--language", "sqi", "--notice", "n-1")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("network")) as made:
        yield made


def sending(net: Running, file: Path, *more: str) -> tuple[str, ...]:
    """The command that sends a whole file."""
    return (
        *("send", "--json", "--all", "--home", str(net.home("it.nrm")), "--worker", "first"),
        *("--from-file", str(file), "--to", "al.nrm", "--type", "referral.request"),
        *("--purpose", "protection", "--set", 'services=["safe_house"]', *more),
    )


def send(net: Running, file: Path, *more: str) -> Ended:
    return command(*sending(net, file, *more), seconds=180)


def consents(net: Running, prefix: str) -> list[dict[str, Any]]:
    given = net.network.worker("it.nrm").items("/v1/consents", "consents")
    return [one for one in given if str(one["case_ref"]).startswith(prefix)]


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


def sent(net: Running) -> list[str]:
    """Every message of Italy, in the order in which they were stored."""
    outbox = net.network.worker("it.nrm").pages("/v1/messages", "messages", box="outbox")
    return [str(one["id"]) for page in outbox for one in page]


def filed(net: Running) -> int:
    return len(net.filed("al.nrm"))


def eventually_filed(net: Running, wanted: int) -> None:
    until(f"{wanted} cases to be filed", lambda: filed(net) >= wanted, seconds=90)
    assert filed(net) == wanted


def test_a_whole_file_is_sent_once_and_the_rest_is_listed_with_reasons(
    net: Running, tmp_path: Path
) -> None:
    file = tmp_path / "national.csv"
    kinds = national_file(file, "WHOLE", ROWS)
    before = filed(net)

    first = send(net, file, *TERMS)

    assert first.code == Exit.PARTLY, first.err
    result = first.json
    assert result["sent"] == result["consents_recorded"] == kinds["good"]
    assert result["refused"] == kinds["box"] + kinds["child"]
    assert result["rows_rejected"] == kinds["bad"]
    assert result["by_code"] == {"child": kinds["child"], "consent-missing": kinds["box"]}
    assert PERSON not in first.out + first.err
    eventually_filed(net, before + kinds["good"])

    refused, rejected = Path(result["refused_file"]), Path(result["rejected_file"])
    for listed, rows in ((refused, result["refused"]), (rejected, kinds["bad"])):
        assert listed.stat().st_mode & 0o777 == 0o600
        assert len(listed.read_text().splitlines()) == rows + 1
    assert PERSON not in refused.read_text()

    stored = sent(net)
    again = send(net, file, *TERMS)

    assert again.code == Exit.PARTLY
    assert again.json == {**result, "consents_recorded": 0}
    assert len(consents(net, "WHOLE")) == kinds["good"]
    assert sent(net) == stored


def test_a_run_that_was_killed_is_run_again_and_nothing_is_double(
    net: Running, tmp_path: Path
) -> None:
    file = tmp_path / "killed.csv"
    kinds = national_file(file, "KILLED", 60)
    before = filed(net)
    program = [sys.executable, "-m", "broker.cli", *sending(net, file, *TERMS)]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the first consent", lambda: consents(net, "KILLED"), pause=0.02)
    process.kill()
    process.wait()

    ended = send(net, file, *TERMS)

    assert ended.json["sent"] == kinds["good"]
    assert len(consents(net, "KILLED")) == kinds["good"]
    eventually_filed(net, before + kinds["good"])


def test_who_withdrew_is_not_sent_again_by_the_same_file(net: Running, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    national_file(file, "TWO", 2)
    before = filed(net)
    assert send(net, file, *TERMS).code == Exit.OK
    eventually_filed(net, before + 2)
    (grant,) = [one["grant"] for one in consents(net, "TWO-0000")]
    net.network.worker("it.nrm").post(f"/v1/consents/{grant}/withdraw")

    again = send(net, file, *TERMS)

    assert again.code == Exit.PARTLY
    assert again.json["by_code"] == {"consent-withdrawn": 1}
    assert len(consents(net, "TWO")) == 2


def test_without_consent_nothing_of_a_file_is_sent(net: Running, tmp_path: Path) -> None:
    file = tmp_path / "none.csv"
    national_file(file, "NONE", 3)

    ended = send(net, file)

    assert ended.code == Exit.POLICY
    assert ended.json["by_code"] == {"consent-missing": 3}
    assert consents(net, "NONE") == []


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
    net: Running, tmp_path: Path, more: tuple[str, ...]
) -> None:
    file = tmp_path / "usage.csv"
    national_file(file, "USAGE", 1)
    ended = send(net, file, *more)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
