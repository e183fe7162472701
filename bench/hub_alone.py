"""A hub process alone, and two participants that keep it busy: for `bench.scale` and `bench.memory`.

One message is: an envelope accepted, fetched from the mailbox, its receipts (delivered and filed, as
a gateway sends them for a page of the mailbox) posted, fetched by the sender, all acknowledged.
Envelopes are signed ahead, some thousands at a time, and not while anything is measured.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import httpx2

from broker.clock import SystemClock
from keys.http_signing import sign_request
from schemas.envelope import Lane, SealedEnvelope
from schemas.evidence import Fact
from tests.support.hub import Client, Grant, World

SENDER, RECIPIENT = "it.nrm", "al.nrm"
START = (
    "import sys, pathlib; from broker.hub.app import run; "
    "from broker.hub.settings import load_settings; run(load_settings(pathlib.Path(sys.argv[1])))"
)
SETTINGS = """
hub = "hub.main"
database = "{database}"
port = {port}
custody = "file:hub.json"
passphrase_file = "passphrase"
directory = "repository"
directory_root = "root.json"
state = "state"

[limits]
envelopes_per_minute = 10000000
requests_per_minute = 10000000

[log]
origin = "hub.test/log"
"""
PAGE = 50
TICKS = os.sysconf("SC_CLK_TCK")


def make_world(folder: Path, database: str) -> World:
    """The directory, keys and settings of a hub with two participants."""
    return World(folder, SystemClock(), database=database, names=(SENDER, RECIPIENT))


@dataclass
class Load:
    """What a measured stretch took."""

    messages: int
    seconds: float
    hub_cpu: float
    """Seconds."""


class HubAlone:
    """A hub that runs, and its two participants."""

    def __init__(self, world: World, url: str, pid: int, http: httpx2.AsyncClient) -> None:
        self.pid = pid
        self._world, self._url, self._http = world, url, http
        self._sender = Client(world.parties[SENDER], world, http)
        self._recipient = Client(world.parties[RECIPIENT], world, http)
        self._terms: tuple[UUID, Grant] | None = None

    async def run(self, count: int, *, window: int = 32) -> Load:
        """Bring `count` messages to their end."""
        sealed = await self._seal(count)
        cpu, began = cpu_seconds(self.pid), time.perf_counter()
        gate = asyncio.Semaphore(window)

        async def submit(one: SealedEnvelope) -> None:
            async with gate:
                answer = await self._sender.submit(one)
                if answer.status_code != 201:
                    raise RuntimeError(answer.text)

        submitted = asyncio.gather(*(submit(one) for one in sealed))
        by_raw = {one.raw: one for one in sealed}
        receipts = await self._receive(by_raw)
        await submitted
        await self._fetch_receipts(receipts)
        return Load(count, time.perf_counter() - began, cpu_seconds(self.pid) - cpu)

    async def _seal(self, count: int) -> list[SealedEnvelope]:
        if self._terms is None:
            agreement, raw = self._world.agreement(SENDER, RECIPIENT)
            answer = await self._http.post("/agreements", content=raw)
            answer.raise_for_status()
            self._terms = agreement, await self._sender.grant(RECIPIENT)
        agreement, grant = self._terms
        return [
            self._sender.seal(self._sender.draft(RECIPIENT, agreement=agreement, grant=grant))
            for _ in range(count)
        ]

    async def _receive(self, expected: dict[bytes, SealedEnvelope]) -> int:
        """Fetch, state what happened, acknowledge; how many receipts that were."""
        missing, receipts = len(expected), 0
        while missing:
            items = await self._mailbox(self._recipient, wait=5)
            got = [expected[one["jws"].encode()] for one in items]
            if got:
                facts = [(fact, one) for one in got for fact in (Fact.DELIVERED, Fact.FILED)]
                answer = await self._recipient.state_evidence(
                    self._recipient.evidence(SENDER, facts)
                )
                if answer.status_code != 202:
                    raise RuntimeError(answer.text)
                receipts += 1
                await self._acknowledge(self._recipient, items)
            missing -= len(got)
        return receipts

    async def _fetch_receipts(self, count: int) -> None:
        while count > 0:
            items = await self._mailbox(self._sender, wait=5)
            await self._acknowledge(self._sender, items)
            count -= len(items)

    async def _mailbox(self, client: Client, *, wait: float) -> list[dict[str, str]]:
        query = {"lane": Lane.ROUTINE.value, "limit": PAGE, "wait": wait}
        path = "/mailbox?" + urlencode(query)
        answer = await self._http.get(path, headers=self._signed(client, "GET", path, b""))
        answer.raise_for_status()
        items: list[dict[str, str]] = answer.json()["items"]
        return items

    async def _acknowledge(self, client: Client, items: Sequence[dict[str, str]]) -> None:
        path = "/mailbox/acknowledgements"
        numbers = ",".join(str(one["delivery"]) for one in items)
        body = f'{{"deliveries":[{numbers}]}}'.encode()
        headers = self._signed(client, "POST", path, body)
        (await self._http.post(path, headers=headers, content=body)).raise_for_status()

    def _signed(self, client: Client, method: str, path: str, body: bytes) -> dict[str, str]:
        return sign_request(
            method=method,
            url=self._url + path,
            headers={},
            body=body,
            signer=client.party.signer(),
            now=self._world.clock.now(),
        )


@asynccontextmanager
async def hub_alone(world: World, database: str) -> AsyncIterator[HubAlone]:
    """Run a hub process over a world and a database, ended in order afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = world.folder / f"hub-{port}.toml"
    settings.write_text(SETTINGS.format(database=database, port=port))
    url = f"http://127.0.0.1:{port}"
    with (world.folder / "hub.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, str(settings), stderr=log
        )
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            await _ready(http)
            yield HubAlone(world, url, process.pid, http)
    finally:
        process.terminate()
        await process.wait()


async def _ready(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """What a process has used, with the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / TICKS


def memory_mb(pid: int) -> float:
    """Resident memory, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
