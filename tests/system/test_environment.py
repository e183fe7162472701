"""The world around real processes fails: disk, database, clock, network, a second gateway.

Each time the same three promises: what cannot be stored is not accepted, health says so, and when
the cause has gone everything goes on by itself, without a restart and with nothing lost or doubled.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from broker.cli.demo.processes import Child, until
from broker.cli.homes.network import free_ports
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock, TurnedClock
from keys.http_signing import sign_request
from schemas.directory import KeyStatus
from schemas.errors import BrokerError, Unavailable
from tests.support import gateways as in_process
from tests.support import hub as support
from tests.support.hub import Client, World
from tests.support.processes import (
    Ended,
    HandHub,
    Running,
    command,
    gateway_child,
    running,
)
from tests.support.services import PostgreSQL
from tests.support.waiting import until as soon

NAMES = ("it.nrm", "al.nrm")
CASE = {"case_admin": {"status": "Active", "case_owner": "Invented worker"}}


# --- A disk without room ---------------------------------------------------------------------

Fill = Callable[[], None]
Disk = tuple[Path, Callable[[int], Fill]]
"""A folder, and how to take away all its room from a process; that returns how to give it back."""


def _limited(pid: int) -> Fill:
    """No file of this process may grow, its log included: works for everybody, on any disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    return lambda: _restore(pid, before)


def _restore(pid: int, limits: tuple[int, int]) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A filesystem of eight megabytes of its own."""
    folder.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    subprocess.run(mounted, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _may_mount(folder: Path) -> bool:
    """Only root with all its rights may."""
    try:
        with _small_disk(folder / "probe"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _full(folder: Path) -> Fill:
    """Fill a small filesystem to its last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as out:
        for size in (65536, 4096, 1):
            while True:
                try:
                    if out.write(bytes(size)) < size:
                        break
                except OSError:
                    break
    return filler.unlink


@pytest.fixture(params=["no file may grow", "a small disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Both ways where we may mount; otherwise the one that needs no rights, twice."""
    home = tmp_path / "disk"
    if request.param == "a small disk" and _may_mount(tmp_path):
        with _small_disk(home):
            yield home, lambda _pid: _full(home)
    else:
        home.mkdir()
        yield home, _limited


@asynccontextmanager
async def _by_hand(
    folder: Path, url: str, patch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[HandHub, Client, Client, Any]]:
    """A hub process with two participants; yields an envelope factory, too."""
    hub = HandHub(World(folder, SystemClock(), database=url, names=NAMES), url)
    patch.setattr(support, "BASE", hub.url)
    await asyncio.to_thread(hub.start)
    try:
        async with httpx2.AsyncClient(base_url=hub.url, timeout=30) as http:
            it, al = (Client(hub.world.parties[name], hub.world, http) for name in NAMES)
            agreement, raw = hub.world.agreement(*NAMES)
            assert (await http.post("/agreements", content=raw)).status_code == 201
            grant = await it.grant("al.nrm")
            yield (
                hub,
                it,
                al,
                lambda: it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)),
            )
    finally:
        await asyncio.to_thread(hub.child.end)


async def _answers(client: Client, path: str) -> int:
    return (await client.http.get(path)).status_code


async def _everything(al: Client) -> list[str]:
    found = []
    while items := await al.mailbox(limit=100):
        found += [str(item["jws"]) for item in items if item["kind"] == "envelope"]
        await al.acknowledge(items)
    return found


async def test_a_hub_whose_disk_is_full_accepts_nothing_says_so_and_recovers(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, take_room = disk
    world = tmp_path / "world"
    world.mkdir()
    url = f"sqlite+aiosqlite:///{folder / 'hub.sqlite3'}"
    async with _by_hand(world, url, monkeypatch) as (hub, it, al, make):
        kept, missed, later = make(), [make() for _ in range(5)], make()
        assert (await it.submit(kept)).status_code == 201
        assert hub.child.pid is not None
        give_back = take_room(hub.child.pid)
        try:
            answers = [await it.submit(one) for one in missed]
            await soon("readiness is red", lambda: _is(it, "/readyz", 503), seconds=10)
            alive = await _answers(it, "/livez")
        finally:
            give_back()
        assert {answer.status_code for answer in answers} == {503}, [a.text for a in answers]
        assert {answer.json()["code"] for answer in answers} <= {
            "storage-unavailable",
            "log-unavailable",
        }
        assert alive == 200
        await soon("readiness is green again", lambda: _is(it, "/readyz", 200), seconds=20)
        assert hub.child.running
        assert await _everything(al) == [kept.raw.decode()]
        for one in (*missed, later):
            assert (await it.submit(one)).status_code == 201
        assert await _everything(al) == [one.raw.decode() for one in (*missed, later)]
        assert (await it.submit(kept)).status_code == 200


async def _is(client: Client, path: str, status: int) -> bool:
    return await _answers(client, path) == status


# --- A database that may only be read --------------------------------------------------------


async def test_on_a_read_only_postgresql_the_hub_accepts_nothing_and_recovers(
    tmp_path: Path,
    postgres_url: str,
    postgres_server: PostgreSQL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = postgres_url.rsplit("/", 1)[1]

    def read_only(value: str) -> None:
        postgres_server.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
        postgres_server.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        )

    async with _by_hand(tmp_path, postgres_url, monkeypatch) as (hub, it, al, make):
        kept, missed = make(), make()
        assert (await it.submit(kept)).status_code == 201
        await asyncio.to_thread(read_only, "on")
        try:
            await soon("readiness is red", lambda: _is(it, "/readyz", 503), seconds=10)
            answers = [await it.submit(missed) for _ in range(3)]
            # Handing over takes a lease, which is a write.
            answers.append(await al.get("/mailbox", lane="routine"))
        finally:
            await asyncio.to_thread(read_only, "off")
        assert {answer.status_code for answer in answers} == {503}
        await soon("readiness is green again", lambda: _is(it, "/readyz", 200))
        assert hub.child.running
        assert (await it.submit(missed)).status_code == 201
        assert sorted(await _everything(al)) == sorted([kept.raw.decode(), missed.raw.decode()])


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Nobody may write here. Rights do not bind root, so for root it is a read-only mount."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_a_hub_on_a_read_only_folder_says_so_in_one_sentence_and_does_not_start(
    tmp_path: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'data' / 'hub.sqlite3'}"
    (tmp_path / "data").mkdir()
    hub = HandHub(World(tmp_path, SystemClock(), database=url, names=NAMES), url)
    hub.start()
    hub.child.end()
    with _read_only(tmp_path / "data"):
        ended = command("hub", "run", "--settings", str(tmp_path / "hub.toml"))

    assert ended.code == Exit.UNREACHABLE
    assert "storage-unavailable" in ended.err
    assert "Traceback" not in ended.err


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
    give_back = _limited(child.pid)
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
    give_back = _limited(child.pid)
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
    with _read_only(home):
        ended = command("gateway", "run", "--home", str(home))

    assert ended.code == Exit.UNREACHABLE
    assert "storage-unavailable" in ended.err
    assert "Traceback" not in ended.err


# --- Health ----------------------------------------------------------------------------------


async def test_a_gateway_whose_key_was_revoked_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody believes what it signs, so it must not be green."""
    async with in_process.world(tmp_path / "network") as two:
        gateway = two["it.nrm"].gateway
        core = gateway.core
        await core.log.sequencer.run_once()
        before = gateway.not_ready()
        entry, trusted = core.self_entry(), core.trusted()
        keys = tuple(
            key.model_copy(update={"status": KeyStatus.COMPROMISED})
            if key.kid == core.signer.kid
            else key
            for key in entry.keys
        )
        published = entry.model_copy(update={"keys": keys})
        changed = replace(trusted, participants={**trusted.participants, entry.id: published})
        monkeypatch.setattr(core.directory, "current", lambda: changed)

        assert before == ()
        assert gateway.not_ready() == ("key-revoked",)


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


async def test_a_gateway_eleven_minutes_ahead_is_refused_by_code_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with in_process.world(tmp_path / "network") as two:
        grant = await two["it.nrm"].consent("al.nrm")
        await two.settle()
        italy, albania = two["it.nrm"], two["al.nrm"]
        clock = TurnedClock(offset=timedelta())
        italy = await two.open("it.nrm", clock)
        clock.turn(timedelta(minutes=11))
        await italy.refer("al.nrm", grant)
        await italy.push()
        await albania.pull()
        file = two.network.participants["it.nrm"].home / "gateway.sqlite3"
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            found = connection.execute(
                "SELECT state, code, length(envelope) > 0 FROM outbox WHERE type = ?",
                ("referral.request",),
            ).fetchall()
        folder = two.network.participants["al.nrm"].home / "htcds" / "in"

        assert found == [("refused", "from-the-future", 1)]
        assert list(folder.glob("*.csv")) == []
        # Put right, it works again; what was refused is there for the worker to send anew.
        clock.turn(timedelta(minutes=-11))
        await italy.refer("al.nrm", grant)
        await two.settle()
        assert len(list(folder.glob("*.csv"))) == 1
