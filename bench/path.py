"""The whole path against the floor, in one run: rate, latency of one message alone, hub memory.

One message is a referral with one 4 KiB section: drafted through the sender's local API, sealed,
signed, accepted, logged, relayed over RabbitMQ, verified, unsealed, stored, filed as HTCDS, and
its receipts back at the sender. Everything is on. The floor (`bench.floor`) moves as many bytes.

The rates are taken one after the other, since either takes the whole machine. A message that is
alone comes after a pause, one over the path and one over the floor in turns, so that what else the
machine does is the same for both. Afterwards as many of each follow each other in a row: not alone,
but measured too, since caches that are still warm help the short way of the floor most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from broker.cli.demo.processes import Child, free_port
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import Member, Network, create_network
from broker.cli.local import LocalApi
from broker.client.transport import KeptConnections
from schemas.directory import Compartment, Function, OrganisationKind
from tests.support.services import PostgreSQL, RabbitMQ

HERE = Path(__file__).parent.parent
MEMBERS = (
    Member("it.nrm", "Sender", OrganisationKind.STATE, Function.NRM, (Compartment.CASEWORK,)),
    Member("al.nrm", "Recipient", OrganisationKind.STATE, Function.NRM, (Compartment.CASEWORK,)),
)
SECTION_BYTES = 4096
PAUSE_SECONDS = 0.2
"""Before a message that is alone: so long that everything of the one before has come to rest."""


def section() -> dict[str, Any]:
    """One section whose JSON is 4 KiB."""
    content = {"reason_for_outgoing_referral": "AdditionalServicesRequired"}
    room = SECTION_BYTES - len(json.dumps(content)) - len(', "outgoing_referral_details": ""')
    return {**content, "outgoing_referral_details": ("Invented text. " * 400)[:room].strip()}


@contextmanager
def running(network: Network, logs: Path) -> Iterator[dict[str, Child]]:
    """The hub and both gateways as processes of their own."""
    children: dict[str, Child] = {}
    children["hub"] = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=logs / "hub.log",
    )
    for place in network.participants.values():
        children[place.id] = Child(
            place.id,
            ["gateway", "run", "--home", str(place.home)],
            ready_url=f"http://127.0.0.1:{place.port}/readyz",
            log=logs / f"{place.id}.log",
        )
    try:
        children["hub"].start()
        children["hub"].wait_ready(60)
        network.register_agreement("it.nrm", "al.nrm")
        for name, child in children.items():
            if name != "hub":
                child.start()
        for child in children.values():
            child.wait_ready(60)
        yield children
    finally:
        for child in reversed(list(children.values())):
            child.end()


def record_consent(api: LocalApi, case_ref: str) -> str:
    """A grant over the one section that the measured message carries."""
    return str(
        api.post(
            "/v1/consents",
            {
                "to": "al.nrm",
                "case_ref": case_ref,
                "scopes": [{"purpose": "service_referral", "section": "case_admin"}],
                "principal": f"bench-{uuid4()}",
                "valid_until": str(date.today() + timedelta(days=30)),  # noqa: DTZ011
                "language": "eng",
                "notice": "bench-1",
            },
        )["grant"]
    )


def draft(grant: str, case_ref: str) -> dict[str, Any]:
    """The measured message."""
    return {
        "type": "referral.request",
        "to": "al.nrm",
        "case_ref": case_ref,
        "grant": grant,
        "purpose": "service_referral",
        "sections": {"case_admin": section()},
        "body": {
            "urgency": "normal",
            "services": ["psychosocial"],
        },
    }


class WholePath:
    """Sends over the whole path.

    A message is finished when its `filed` receipt is in the sender's database, and the sender's
    own gateway has said so: it is asked to answer when that is so, as the floor's sender waits for
    its receipt.
    """

    def __init__(self, sender: LocalApi, grant: str) -> None:
        self._grant = grant
        # Over the connections that our clients use: what asks is not what is measured.
        self._client = httpx2.AsyncClient(
            base_url=f"http://{sender.host}:{sender.port}",
            headers={"Authorization": f"Bearer {sender._token}"},
            transport=KeptConnections(),
            timeout=120,
        )
        self._sent = 0

    def _draft(self) -> dict[str, Any]:
        self._sent += 1
        return draft(self._grant, f"BENCH-{self._sent}")

    async def one(self) -> float:
        """Send one; how long it took until it was filed, in milliseconds."""
        started = time.perf_counter()
        found = await self._client.post(
            "/v1/messages", params={"until": "filed"}, json=self._draft()
        )
        took = (time.perf_counter() - started) * 1000
        if found.json()["state"] not in ("filed", "read"):
            raise RuntimeError(f"not filed after a minute: {found.json()}")
        return took

    async def load(self, count: int, window: int) -> dict[str, float]:
        """Hand in `count` with `window` requests at a time, and wait until all are filed."""
        for _ in range(5):
            await self.one()
        before = await self._filed()
        gate = asyncio.Semaphore(window)

        async def gated() -> None:
            async with gate:
                answer = await self._client.post("/v1/messages", json=self._draft())
                if answer.status_code != 200:
                    raise RuntimeError(answer.text)

        started = time.perf_counter()
        await asyncio.gather(*(gated() for _ in range(count)))
        handed_in = time.perf_counter() - started
        while (done := await self._filed() - before) < count:
            if time.perf_counter() - started > 600:
                raise RuntimeError(f"{done} of {count} were filed in ten minutes")
            await asyncio.sleep(0.1)
        rate = count / (time.perf_counter() - started)
        return {"rate": rate, "handed_in_rate": count / handed_in}

    async def _filed(self) -> int:
        answer = await self._client.get("/v1/recount")
        return int(answer.json()["outbox"].get("filed", 0))

    async def close(self) -> None:
        await self._client.aclose()


def memory_mb(child: Child) -> float:
    """Resident memory of a process, in MiB."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Floor:
    """The three processes of the floor, over the same servers."""

    def __init__(self, database: PostgreSQL, broker: RabbitMQ, *, size: int, window: int) -> None:
        url = database.create_database("floor").replace("+asyncpg", "")
        self._common = ["--database", url, "--amqp", broker.url]
        self._sizes = ["--size", str(size), "--window", str(window)]

    @contextmanager
    def running(self) -> Iterator[Callable[[str], dict[str, float]]]:
        """Gives what tells the floor's sender what to do, and returns its answer."""
        subprocess.run(self._role("prepare"), check=True, cwd=HERE)
        port = free_port()
        where = ("--port", str(port))
        processes: list[subprocess.Popen[Any]] = [
            subprocess.Popen(self._role(name, *where), cwd=HERE) for name in ("hub", "recipient")
        ]
        try:
            _wait_open(port)
            sender = subprocess.Popen(
                self._role("sender", *where, *self._sizes),
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(sender)
            commands, answers = sender.stdin, sender.stdout
            if commands is None or answers is None:
                raise RuntimeError("no pipes to the sender")

            def tell(line: str) -> dict[str, float]:
                commands.write(f"{line}\n")
                commands.flush()
                said: dict[str, float] = json.loads(answers.readline())
                return said

            yield tell
        finally:
            for process in processes:
                process.terminate()
                process.wait()

    def _role(self, name: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "bench.floor", name, *self._common, *more]


def _wait_open(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            time.sleep(1)  # the recipient subscribes meanwhile
            return


def main() -> None:
    """Measure floor and path and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--alone", type=int, default=60)
    parser.add_argument("--keep-logs", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _servers() as database:
        logs = given.keep_logs or Path(folder)
        logs.mkdir(exist_ok=True, parents=True)
        with RabbitMQ.temporary(management=True) as broker:
            result = measure(database, broker, Path(folder), logs, given)
    json.dump(result, sys.stdout, indent=2)
    print()


def _servers() -> AbstractContextManager[PostgreSQL]:
    # The processes of both run at once, each with connections of its own.
    return PostgreSQL.temporary(settings={"max_connections": "200"})


def measure(
    database: PostgreSQL,
    broker: RabbitMQ,
    folder: Path,
    logs: Path,
    given: argparse.Namespace,
) -> dict[str, Any]:
    """Path first, since its envelope tells the floor how many bytes to move."""
    network = create_network(
        folder / "network",
        members=MEMBERS,
        hub_database=database.create_database("hub"),
        gateway_databases={
            "it.nrm": database.create_database("it"),
            "al.nrm": database.create_database("al"),
        },
        amqp=AmqpPlace(
            host=broker.host,
            port=broker.port,
            user=broker.user,
            password=broker.password,
            management_url=broker.management_url,
        ),
    )
    with running(network, logs) as children, asyncio.Runner() as loop:
        sender = network.worker("it.nrm")
        whole = WholePath(sender, record_consent(sender, "BENCH"))
        before = memory_mb(children["hub"])
        path = loop.run(whole.load(given.count, given.window))
        after = memory_mb(children["hub"])
        sys.stderr.write(f"bench: path {path}\n")
        said = database.sql("SELECT max(size) FROM envelope", database="hub")
        size = int(said.split()[-1])
        floor = Floor(database, broker, size=size, window=given.window)
        with floor.running() as tell:
            least = tell(f"load {given.count}")
            sys.stderr.write(f"bench: floor {least}\n")
            for name in ("hub", "it", "al", "floor"):
                # What PostgreSQL does by itself within a minute (autovacuum): until then it plans
                # for tables as they were when they were empty.
                database.sql("ANALYZE", database=name)
            turns = []
            for _ in range(given.alone):
                time.sleep(PAUSE_SECONDS)
                over_path = loop.run(whole.one())
                time.sleep(PAUSE_SECONDS)
                turns.append((over_path, tell("one")["ms"]))
            path_row = [loop.run(whole.one()) for _ in range(given.alone)]
            floor_row = [tell("one")["ms"] for _ in range(given.alone)]
        loop.run(whole.close())
    path["alone_p50_ms"], least["alone_p50_ms"] = map(statistics.median, zip(*turns, strict=True))
    path["in_a_row_p50_ms"] = statistics.median(path_row)
    least["in_a_row_p50_ms"] = statistics.median(floor_row)
    return {
        "envelope_bytes": size,
        "path": path,
        "floor": least,
        "rate_ratio": path["rate"] / least["rate"],
        "alone_ratio": path["alone_p50_ms"] / least["alone_p50_ms"],
        "in_a_row_ratio": path["in_a_row_p50_ms"] / least["in_a_row_p50_ms"],
        "hub_memory_mb": {"before": before, "after": after},
    }


if __name__ == "__main__":
    main()
