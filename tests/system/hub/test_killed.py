"""A hub that kills itself at a durable write, again and again: one history, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import select

from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.note import Verifier
from broker.clock import SystemClock
from broker.database import Database
from broker.hub.store.tables import EVIDENCE, LOG, OPENING
from schemas.envelope import SealedEnvelope
from schemas.evidence import Fact
from tests.support import hub as support
from tests.support.hub import Client, Grant, World
from tests.support.hub_process import HubProcess
from tests.support.log_history import assert_one_history, stored
from tests.support.waiting import until

NURSERY = """
import contextlib, os, pathlib, random, signal, sys, threading, time
from broker.database import Database
from broker.hub.app import run
from broker.hub.settings import load_settings

begin, fsync = Database.begin, os.fsync
chance = random.Random()

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def doomed(left, when):
    def strike():
        nonlocal left
        left -= 1
        if left == 0 and when == "about":
            threading.Thread(target=lambda: (time.sleep(chance.uniform(0, 0.02)), die())).start()
        return left == 0

    @contextlib.asynccontextmanager
    async def deadly_begin(self):
        async with begin(self) as connection:
            yield connection
            now = strike()
            if now and when == "before":
                die()
        if now and when == "after":
            die()

    def deadly_fsync(file):
        now = strike()
        if now and when == "before":
            die()
        fsync(file)
        if now and when == "after":
            die()

    Database.begin, os.fsync = deadly_begin, deadly_fsync

settings = load_settings(pathlib.Path(sys.argv[1]))
for line in sys.stdin:
    left, when = line.split()
    child = os.fork()
    if child == 0:
        chance.seed(line + str(time.time_ns()))
        doomed(int(left), when)
        run(settings)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Has the hub's code loaded and bears one hub after the other, so that a death costs a second. A
durable write is a transaction of the database, or a file of the state folder that must outlive a
power failure; a hub dies *before* it, *after* it, or some time *about* it."""
MOST = 40
"""Durable writes until the hub dies: some are those of its start, some of its sequencer."""


@dataclass
class Outside:
    """What the participants know: what they sent, what was answered, which heads they saw."""

    world: World
    url: str
    agreement: UUID = field(default_factory=lambda: UUID(int=0))
    unregistered: bytes = b""
    grant: Grant | None = None
    sent: list[SealedEnvelope] = field(default_factory=list)
    answers: dict[UUID, bytes] = field(default_factory=dict)
    stated: list[bytes] = field(default_factory=list)
    heads: set[str] = field(default_factory=set)
    numbers: dict[str, Client] = field(default_factory=dict)

    def client(self, name: str, http: httpx2.AsyncClient) -> Client:
        """One that goes on with its numbers, whatever connection it has."""
        made = self.numbers.setdefault(name, Client(self.world.parties[name], self.world, http))
        made.http = http
        return made

    async def busy(self, http: httpx2.AsyncClient) -> None:
        """Grants, envelopes, withdrawals, receipts, and a look at the log, until nobody answers."""
        it, al = self.client("it.nrm", http), self.client("al.nrm", http)
        if self.unregistered:
            answer = await http.post("/agreements", content=self.unregistered)
            assert answer.is_success
            self.unregistered = b""
        while True:
            if self.grant is None:
                self.grant = await it.grant("al.nrm")
            draft = it.draft("al.nrm", agreement=self.agreement, grant=self.grant)
            await self.say(it, it.seal(draft))
            receipt = al.evidence("it.nrm", [(Fact.DELIVERED, self.sent[-1])])
            known = self.sent[-1].content.id in self.answers
            if known and (await al.state_evidence(receipt)).status_code == 202:
                self.stated.append(receipt)
            if len(self.sent) % 5 == 0:
                over, self.grant = self.grant, None
                await self.say(it, it.withdrawal(over, "al.nrm"))
            head = await http.get("/log/checkpoint")
            if head.status_code == 200:
                self.heads.add(head.text)

    async def say(self, client: Client, sealed: SealedEnvelope) -> None:
        self.sent.append(sealed)
        await self.again(client, sealed)

    async def again(self, client: Client, sealed: SealedEnvelope) -> None:
        answer = await client.submit(sealed)
        if answer.is_success:
            before = self.answers.setdefault(sealed.content.id, answer.content)
            assert before == answer.content


@asynccontextmanager
async def nursery(process: HubProcess) -> AsyncIterator[asyncio.subprocess.Process]:
    """The nursery, ended with whatever it has borne."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", NURSERY, str(process.settings)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        await started.wait()


async def live_and_die(
    outside: Outside, born: asyncio.subprocess.Process, number: int, when: str
) -> None:
    """Bear a hub that dies at its n-th durable write, and keep it busy until then."""
    assert born.stdin is not None
    assert born.stdout is not None
    born.stdin.write(f"{number} {when}\n".encode())
    end = asyncio.create_task(born.stdout.readline())
    async with httpx2.AsyncClient(base_url=outside.url, timeout=10) as http:
        while not end.done():
            try:
                assert (await http.get("/startupz")).status_code == 200
                await outside.busy(http)
            except (httpx2.TransportError, AssertionError):
                # Not up yet, or gone, or up and not ready to say yes.
                await asyncio.sleep(0.02)
    assert int(await end) == -signal.SIGKILL


@pytest.mark.timeout(1800)
async def test_a_hub_killed_at_any_durable_write_keeps_one_history_and_all_it_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, soaking: bool
) -> None:
    process = HubProcess(tmp_path, database_url)
    monkeypatch.setattr(support, "BASE", process.url)
    world = World(tmp_path, SystemClock(), database=database_url, names=("it.nrm", "al.nrm"))
    outside, chance = Outside(world, process.url), random.Random(11)
    outside.agreement, outside.unregistered = world.agreement("it.nrm", "al.nrm")
    async with nursery(process) as born:
        for _ in range(100 if soaking else 3):  # on each of the two databases
            number = chance.randrange(1, MOST)
            await live_and_die(outside, born, number, chance.choice(("before", "after", "about")))

    await process.start()
    async with httpx2.AsyncClient(base_url=process.url, timeout=10) as http:
        it, al = outside.client("it.nrm", http), outside.client("al.nrm", http)
        accepted = set(outside.answers)
        for sealed in outside.sent:
            await outside.again(it, sealed)  # what was answered is answered alike
        for receipt in outside.stated:
            assert (await al.state_evidence(receipt)).status_code == 202
        states = [(await it.get(f"/envelopes/{one}")).status_code for one in accepted]
    database = Database(database_url)
    await until("every leaf to have its place", lambda: is_settled(database), pause=0.1)
    await process.end(signal.SIGTERM)

    assert len(outside.sent) > 3
    assert set(states) == {200}
    async with database.read() as connection:
        leaves = [
            leaf
            for table in (EVIDENCE, OPENING)
            for leaf in (await connection.execute(select(table.c.leaf))).scalars()
        ]
        # What it decided by itself while it was asked to end waits for its next life.
        waiting = set((await connection.execute(select(LOG.leaf_pending.c.body))).scalars())
    entries = await stored(database, LOG)
    assert len(set(entries)) == len(entries)
    assert set(leaves) <= {*entries, *waiting}
    assert not waiting & set(entries)
    keys = [Verifier.from_text(world.vkey)]
    ever = set(await assert_one_history(database, LOG, keys, chance))
    await database.close()
    seen = {open_checkpoint(head.encode(), keys).checkpoint for head in outside.heads}
    assert seen
    assert seen <= ever


async def is_settled(database: Database) -> bool:
    async with database.read() as connection:
        return (await connection.execute(select(LOG.leaf_pending.c.id).limit(1))).first() is None
