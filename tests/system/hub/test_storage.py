"""A hub whose disk is full or whose database may only be read.

What cannot be stored is not accepted, health says so, and when the cause has gone everything goes on
by itself, without a restart and with nothing lost or doubled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from tests.support import hub as support
from tests.support.breaking import Undo, fill, let_no_file_grow, may_mount, read_only, small_disk
from tests.support.hub import Client, World
from tests.support.processes import (
    HandHub,
    command,
)
from tests.support.services import PostgreSQL
from tests.support.waiting import until as soon

NAMES = ("it.nrm", "al.nrm")
Disk = tuple[Path, Callable[[int], Undo]]
"""A folder, and how to take away all its room from a process; that returns how to give it back."""


@pytest.fixture(params=["no file may grow", "a small disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Both ways where we may mount; otherwise the one that needs no rights, twice."""
    home = tmp_path / "disk"
    if request.param == "a small disk" and may_mount(tmp_path):
        with small_disk(home):
            yield home, lambda _pid: fill(home)
    else:
        home.mkdir()
        yield home, let_no_file_grow


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


def test_a_hub_on_a_read_only_folder_says_so_in_one_sentence_and_does_not_start(
    tmp_path: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'data' / 'hub.sqlite3'}"
    (tmp_path / "data").mkdir()
    hub = HandHub(World(tmp_path, SystemClock(), database=url, names=NAMES), url)
    hub.start()
    hub.child.end()
    with read_only(tmp_path / "data"):
        ended = command("hub", "run", "--settings", str(tmp_path / "hub.toml"))

    assert ended.code == Exit.UNREACHABLE
    assert "storage-unavailable" in ended.err
    assert "Traceback" not in ended.err
