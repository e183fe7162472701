"""The world around gateways fails: disk, clock, network, a second gateway. Of a hub: hub/test_storage.py.

Each time the same three promises: what cannot be stored is not accepted, health says so, and when
the cause has gone everything goes on by itself, without a restart and with nothing lost or doubled.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from broker.cli.demo.processes import Child, until
from broker.cli.homes.network import free_ports
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from keys.http_signing import sign_request
from schemas.errors import BrokerError, Unavailable
from tests.support.breaking import let_no_file_grow, read_only
from tests.support.processes import (
    Ended,
    Running,
    command,
    gateway_child,
    running,
)

NAMES = ("it.nrm", "al.nrm")
CASE = {"case_admin": {"status": "Active", "case_owner": "Invented worker"}}


# --- A network of gateways -------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    extra = ("[limits]", "incarnation_seconds = 10.0", "lease_seconds = 1.0")
    with running(tmp_path_factory.mktemp("network") / "made", hub_extra=extra) as made:
        yield made


@pytest.fixture(scope="module")
def grant(net: Running) -> str:
    api = net.network.worker("it.nrm")
    until = (SystemClock().now() + timedelta(days=30)).date()
    body = {
        "to": "al.nrm",
        "case_ref": "X-1",
        "scopes": [{"purpose": "protection", "section": "case_admin"}],
        "principal": f"p-{uuid4()}",
        "valid_until": str(until),
        "language": "sqi",
        "notice": "n-1",
    }
    return str(api.post("/v1/consents", body)["grant"])


def _refer(net: Running, grant: str, **more: Any) -> str:
    """One referral through Italy's API; its business id."""
    draft = {
        "type": "referral.request",
        "to": "al.nrm",
        "case_ref": "X-1",
        "grant": grant,
        "purpose": "protection",
        "sections": CASE,
        "body": {"services": ["safe_house"]},
        **more,
    }
    return str(net.network.worker("it.nrm").post("/v1/messages", draft)["business_id"])


def _wait_filed(net: Running, *wanted: str, seconds: float = 30) -> None:
    def all_there() -> bool:
        return set(wanted) <= {path.stem for path in net.filed("al.nrm")}

    until("filed", all_there, seconds=seconds)


def _ready(net: Running, participant: str) -> int:
    port = net.network.participants[participant].port
    return httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=10, trust_env=False).status_code


def _codes(error: pytest.ExceptionInfo[BrokerError]) -> str:
    return error.value.code


def test_a_gateway_without_room_stores_nothing_that_it_did_not_accept_and_recovers(
    net: Running, grant: str
) -> None:
    child = net.gateways["it.nrm"]
    assert child.pid is not None
    wanted = str(uuid4())
    give_back = let_no_file_grow(child.pid)
    try:
        with pytest.raises(Unavailable) as refused:
            _refer(net, grant, business_id=wanted)
        ended = _cli_send(net, grant)
        until("readiness is red", lambda: _ready(net, "it.nrm") == 503, seconds=10)
    finally:
        give_back()

    assert _codes(refused) == "storage-unavailable"
    assert ended.code == Exit.UNREACHABLE
    until("readiness is green again", lambda: _ready(net, "it.nrm") == 200, seconds=20)
    assert child.running
    outbox = net.network.worker("it.nrm").items("/v1/messages", "messages", box="outbox")
    assert wanted not in {message["business_id"] for message in outbox}
    assert _refer(net, grant, business_id=wanted) == wanted
    _wait_filed(net, wanted)


def _cli_send(net: Running, grant: str) -> Ended:
    return net.run(
        "it.nrm",
        *("send", "--to", "al.nrm", "--type", "referral.request", "--case", "X-1"),
        *("--purpose", "protection", "--grant", grant, "--set", 'services=["safe_house"]'),
    )


def test_while_the_recipient_has_no_room_messages_wait_and_are_filed_once_afterwards(
    net: Running, grant: str
) -> None:
    child = net.gateways["al.nrm"]
    assert child.pid is not None
    give_back = let_no_file_grow(child.pid)
    try:
        wanted = [_refer(net, grant) for _ in range(5)]
        until("readiness is red", lambda: _ready(net, "al.nrm") == 503, seconds=10)
        _pause(2)
        there = {path.stem for path in net.filed("al.nrm")}
        known = _states(net, wanted)
    finally:
        give_back()

    assert not there & set(wanted)
    assert known <= {"queued", "submitted"}  # no receipt for what was not kept
    _wait_filed(net, *wanted)
    assert child.running
    inbox = net.network.worker("al.nrm").items("/v1/messages", "messages", box="inbox")
    for one in wanted:
        assert len([message for message in inbox if message["business_id"] == one]) == 1


def test_after_a_long_outage_of_the_hub_everybody_goes_on_without_a_restart(
    net: Running, grant: str
) -> None:
    """An hour in small: longer than every lease here, and than it takes the pauses of sending
    (5 s) and receiving to reach their ceiling, after which an hour is no different."""
    before = {name: child.pid for name, child in net.gateways.items()}
    net.hub.kill()
    wanted = [_refer(net, grant) for _ in range(3)]
    _pause(12)
    wanted.append(_refer(net, grant))
    ready = [_ready(net, name) for name in NAMES]
    net.hub.start()
    net.hub.wait_ready()

    _wait_filed(net, *wanted, seconds=20)
    assert ready == [200, 200]  # what is sent meanwhile waits on disk, so nobody is broken
    assert {name: child.pid for name, child in net.gateways.items()} == before
    until("the sender knows", lambda: _states(net, wanted) == {"filed"})


def _states(net: Running, wanted: Sequence[str]) -> set[str]:
    """What the sender knows of these messages."""
    outbox = net.network.worker("it.nrm").items(
        "/v1/messages", "messages", box="outbox", limit=1000
    )
    return {message["state"] for message in outbox if message["business_id"] in wanted}


def _pause(seconds: float) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "600"], timeout=seconds, check=False)


# --- Two gateways on one identity ------------------------------------------------------------


def _twin(net: Running, home: Path, *, with_database: bool) -> Child:
    """A copy of Italy's home on another port, as somebody makes it who wants a spare."""
    original = net.home("it.nrm")
    left_out = ("*.lock", "*-wal", "*-shm") if with_database else ("gateway.sqlite3*",)
    shutil.copytree(original, home, ignore=shutil.ignore_patterns(*left_out))
    if with_database:
        source = sqlite3.connect(original / "gateway.sqlite3")
        copy = sqlite3.connect(home / "gateway.sqlite3")
        source.backup(copy)
        source.close()
        copy.close()
    [port] = free_ports(1)
    file = home / "gateway.toml"
    old = f"port = {net.network.participants['it.nrm'].port}"
    file.write_text(file.read_text().replace(old, f"port = {port}"))
    return gateway_child(home, port, home.with_suffix(".log"))


@pytest.mark.parametrize("with_database", [False, True])
def test_of_two_gateways_on_one_identity_the_second_ends_and_the_first_goes_on(
    net: Running, grant: str, tmp_path: Path, with_database: bool
) -> None:
    """Keys copied with or without the database: a copy of the database is another database."""
    wanted = [_refer(net, grant)]
    twin = _twin(net, tmp_path / "twin", with_database=with_database)
    twin.start()
    try:
        until("the second has ended", lambda: not twin.running, seconds=20)
    finally:
        twin.end()

    assert "second-incarnation" in twin.log.read_text()
    assert net.gateways["it.nrm"].running
    wanted.append(_refer(net, grant))
    _wait_filed(net, *wanted)


def test_a_second_process_on_the_same_home_does_not_start(net: Running) -> None:
    ended = command("gateway", "run", "--home", str(net.home("it.nrm")))

    assert ended.code == Exit.UNREACHABLE
    assert "storage-unavailable" in ended.err
    assert net.gateways["it.nrm"].running


def test_a_gateway_on_a_read_only_home_says_so_in_one_sentence_and_does_not_start(
    net: Running,
) -> None:
    home = net.home("al.shelter")
    with read_only(home):
        ended = command("gateway", "run", "--home", str(home))

    assert ended.code == Exit.UNREACHABLE
    assert "storage-unavailable" in ended.err
    assert "Traceback" not in ended.err


# --- Clocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [-11, -9, 9, 11])
async def test_a_request_signed_up_to_ten_minutes_off_is_heard_and_one_of_eleven_is_not(
    net: Running, minutes: int
) -> None:
    url = f"{net.network.url}/mailbox?lane=urgent&limit=1"
    headers = sign_request(
        method="GET",
        url=url,
        headers={},
        body=b"",
        signer=net.network.identity("it.auditor").signer(),
        now=SystemClock().now() + timedelta(minutes=minutes),
    )

    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(url, headers=headers)

    if abs(minutes) < 10:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
