"""A hub as a real process on uvicorn, killed with -9 while it accepts."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import httpx2
import pytest

from broker.clock import SystemClock
from schemas.evidence import Fact
from tests.support import hub as support
from tests.support.hub import Client, World
from tests.support.hub_process import START, HubProcess
from tests.support.waiting import until

NAMES = ("it.nrm", "al.nrm")


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> HubProcess:
    process = HubProcess(tmp_path, database_url)
    monkeypatch.setattr(support, "BASE", process.url)
    return process


async def test_killed_while_accepting_nothing_that_was_answered_is_lost_or_doubled(
    base: HubProcess, tmp_path: Path, database_url: str
) -> None:
    world = World(tmp_path, SystemClock(), database=database_url, names=NAMES)
    await base.start()
    async with httpx2.AsyncClient(base_url=base.url, timeout=10) as http:
        it, al = (
            Client(world.parties["it.nrm"], world, http),
            Client(world.parties["al.nrm"], world, http),
        )
        agreement, raw = world.agreement("it.nrm", "al.nrm")
        assert (await http.post("/agreements", content=raw)).status_code == 201
        grant = await it.grant("al.nrm")
        sent = [it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)) for _ in range(200)]
        answered: dict[int, bytes] = {}

        async def submit(number: int) -> None:
            try:
                answer = await it.submit(sent[number])
            except httpx2.TransportError:
                return
            if answer.is_success:
                answered[number] = answer.content

        submitting = asyncio.gather(*(submit(number) for number in range(len(sent))))
        await until("it to be in the middle of it", lambda: len(answered) > 20)
        await base.end()
        await submitting
        before = dict(answered)

        await base.start()
        for number in range(len(sent)):
            await submit(number)
        received: list[str] = []
        while items := await al.mailbox(limit=100):
            received += [item["jws"] for item in items]
            await al.acknowledge(items)
        receipts = al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in sent])
        status = (await al.state_evidence(receipts)).status_code

        assert len(answered) == len(sent)
        assert {number: answered[number] for number in before} == before
        assert sorted(received) == sorted(one.raw.decode() for one in sent)
        assert status == 202
        # Who waits is let go with an answer, and the process ends in order.
        waiting = asyncio.create_task(al.mailbox(wait=25))
        await asyncio.sleep(0.3)
        status = await base.end(signal.SIGTERM)
        assert await waiting == []
    assert status == -signal.SIGTERM


async def test_a_second_process_on_one_sqlite_file_does_not_start(
    tmp_path: Path, sqlite_url: str
) -> None:
    World(tmp_path, SystemClock(), database=sqlite_url, names=NAMES)
    first, second = HubProcess(tmp_path, sqlite_url), HubProcess(tmp_path, sqlite_url)
    await first.start()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, str(second.settings), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            assert await process.wait() != 0
    finally:
        await first.end()
