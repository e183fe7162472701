"""Bad input by commands and the local API: each kind has a clear error, and nothing is lost by it.

A hub and two gateways as processes. In the end the sample still goes through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from broker.cli.demo.processes import until
from broker.cli.homes.network import sample_cases
from broker.cli.terminal.failures import Exit
from tests.support.processes import Ended, Running, running, says


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("network") / "made") as made:
        yield made


@pytest.fixture(scope="module")
def consent(net: Running) -> str:
    return net.consent("X-1", "case_admin", "identity_core")


def _send(net: Running, consent: str, file: Path, *more: str, case: str = "X-1") -> Ended:
    return net.run(
        "it.nrm",
        *("send", "--to", "al.nrm", "--type", "referral.request", "--case", case),
        *("--from-file", str(file), "--purpose", "protection", "--grant", consent),
        *("--set", 'services=["safe_house"]', "--section", "case_admin", *more),
    )


HEADER = b"x_case_ref,x_invented,cas_Status,prs_FirstName,prs_Birthdate,prs_Gender\r\n"
ROW = b"X-1,yes,Active,Invented-Arta,1998-04-12,Feminine\r\n"
WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "schema"),
    "wrong columns": (b"Invented-Column,Another\r\n1,2\r\n", "schema"),
    "no column for the case": (HEADER.replace(b"x_case_ref", b"x_casing") + ROW, "schema"),
    "semicolons": ((HEADER + ROW).replace(b",", b";"), "schema"),
    "a bad code": (HEADER + ROW.replace(b"Feminine", b"Invented-code"), "prs_Gender"),
    "a bad date": (HEADER + ROW.replace(b"1998-04-12", b"31/02/98"), "prs_Birthdate"),
    "a date that is none": (HEADER + ROW.replace(b"04-12", b"02-30"), "prs_Birthdate"),
    "a NUL": (HEADER + ROW.replace(b"Arta", b"Ar\0ta"), "nul"),
    "another encoding": (HEADER + ROW.replace(b"Arta", "Ártă".encode("cp1250")), "line 2"),
    "UTF-16": ((HEADER + ROW).decode().encode("utf-16"), "schema"),
    "a cell too many": (HEADER + ROW.replace(b"yes", b"yes,yes"), "wrong-number-of-cells"),
    "a quote that never ends": (HEADER + ROW.replace(b"Active", b'"Active'), "line 2"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_file_that_is_wrong_says_where_and_why_and_sends_nothing(
    net: Running, consent: str, tmp_path: Path, what: str
) -> None:
    content, why = WRONG_FILES[what]
    file = tmp_path / "cases.csv"
    file.write_bytes(content)
    before = len(net.network.worker("it.nrm").items("/v1/messages", "messages", box="outbox"))

    ended = _send(net, consent, file)

    after = len(net.network.worker("it.nrm").items("/v1/messages", "messages", box="outbox"))
    assert (ended.code, ended.out) == (Exit.FAILED, ""), ended.err
    assert why in json.dumps(ended.error)
    assert "Invented" not in ended.err
    assert after == before


def test_a_byte_order_mark_is_no_reason_to_refuse(
    net: Running, consent: str, tmp_path: Path
) -> None:
    """Excel writes one. The case arrives, and the mark is in no cell."""
    file = tmp_path / "cases.csv"
    file.write_bytes(b"\xef\xbb\xbf" + HEADER + ROW)
    before = len(net.filed("al.nrm"))

    ended = _send(net, consent, file)

    assert ended.code == 0, ended.err
    until("filed", lambda: len(net.filed("al.nrm")) == before + 1)


def test_a_line_of_100_mb_costs_its_row_and_no_memory(
    net: Running, consent: str, tmp_path: Path
) -> None:
    file = tmp_path / "cases.csv"
    with file.open("wb") as out:
        out.write(HEADER + b"X-2,yes,Active,")
        for _ in range(100):
            out.write(b"x" * 1_000_000)
        out.write(b",,\r\n" + ROW)
    before = _memory(net)

    bad = _send(net, consent, file, case="X-2")
    good = _send(net, consent, file, "--dry-run")

    assert bad.code == Exit.FAILED
    assert "too-long" in json.dumps(bad.error) or "too-large" in json.dumps(bad.error)
    assert good.code == 0, good.err
    assert _memory(net) - before < 50_000_000


def _memory(net: Running) -> int:
    """The most that Italy's gateway ever used, in bytes."""
    status = Path(f"/proc/{net.gateways['it.nrm'].pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_the_drafts_api_tells_good_rows_from_bad_ones_and_stores_neither(net: Running) -> None:
    text = (HEADER + ROW + ROW.replace(b"X-1", b"X-2").replace(b"Feminine", b"?")).decode()
    api = net.network.worker("it.nrm")

    answer = api.post("/v1/drafts", {"text": text})

    assert [case["case_ref"] for case in answer["cases"]] == ["X-1"]
    assert answer["refused"] == [{"line": 3, "reasons": ["prs_Gender: unknown-code"]}]


def _post(net: Running, path: str, body: bytes) -> httpx2.Response:
    api = net.network.worker("it.nrm")
    token = (net.home("it.nrm") / "workers" / "first.token").read_text().strip()
    return httpx2.post(
        f"http://{api.host}:{api.port}{path}",
        content=body,
        headers={"authorization": f"Bearer {token}"},
        timeout=20,
        trust_env=False,
    )


LOCAL: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"Invented", "malformed-json", 400),
    "a member twice": (b'{"type":"a","type":"Invented"}', "malformed-json", 400),
    "a field too many": (b'{"Invented":1}', "schema", 400),
    "five megabytes": (b'{"x":"' + b"x" * 5_000_000 + b'"}', "too-large", 413),
}


@pytest.mark.parametrize("what", LOCAL)
def test_what_a_worker_sends_wrongly_is_refused_by_its_code(net: Running, what: str) -> None:
    body, code, status = LOCAL[what]

    for path in ("/v1/messages", "/v1/drafts", "/v1/consents"):
        says(_post(net, path, body), code, status)


def test_a_type_that_does_not_exist_is_refused_before_it_is_stored(
    net: Running, consent: str
) -> None:
    ended = net.run(
        "it.nrm",
        *("send", "--to", "al.nrm", "--type", "referral.nonsense", "--case", "X-1"),
        *("--purpose", "protection", "--grant", consent),
    )

    assert (ended.code, ended.error["code"]) == (Exit.FAILED, "unknown-type")


def test_a_file_that_is_no_file_is_not_found(net: Running, consent: str, tmp_path: Path) -> None:
    answer = _post(net, "/v1/drafts", json.dumps({"file": str(tmp_path / "missing.csv")}).encode())

    says(answer, "not-found", 404)
    assert _send(net, consent, tmp_path / "missing.csv").code in (Exit.USAGE, Exit.NOT_FOUND)


def test_a_folder_instead_of_a_file_is_refused_and_is_no_bug(net: Running, tmp_path: Path) -> None:
    answer = _post(net, "/v1/drafts", json.dumps({"file": str(tmp_path)}).encode())

    assert answer.status_code in (400, 404, 503)
    assert answer.json()["code"] != "internal"


def test_the_sample_still_goes_through_after_all_this(net: Running, consent: str) -> None:
    before = len(net.filed("al.nrm"))

    ended = _send(net, consent, sample_cases(), case="IT-DEMO-0001")

    assert ended.code == 0, ended.err
    until("filed", lambda: len(net.filed("al.nrm")) == before + 1)
