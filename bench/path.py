"""The whole path against the floor, in one run: rate, latency of one message alone, hub memory.

One message is a referral with one 4 KiB section: drafted through the sender's local API, sealed,
signed, accepted, logged, relayed over RabbitMQ, verified, unsealed, stored, filed as HTCDS, and
its receipts back at the sender. Everything is on. The floor (`bench.floor`) moves as many bytes.
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
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from broker.cli.demo.processes import Child, free_port
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import Member, Network, create_network
from broker.cli.local import LocalApi
from schemas.directory import Compartment, Function, OrganisationKind
from tests.support.services import PostgreSQL, RabbitMQ

HERE = Path(__file__).parent.parent
MEMBERS = (
    Member("it.nrm", "Sender", OrganisationKind.STATE, Function.NRM, (Compartment.CASEWORK,)),
    Member("al.nrm", "Recipient", OrganisationKind.STATE, Function.NRM, (Compartment.CASEWORK,)),
)
SECTION_BYTES = 4096


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


async def load(
    sender: LocalApi,
    *,
    count: int,
    window: int,
    alone: int,
    grant: str,
    settle: Callable[[], None],
) -> dict[str, float]:
    """Hand in `count` with `window` requests at a time, `settle`, then `alone` one by one.

    A message is finished when its `filed` receipt is in the sender's database, and the sender's
    own gateway has said so: it is asked to answer when that is so, as the floor's sender waits for
    its receipt.
    """
    limits = httpx2.Limits(max_connections=window + 4, max_keepalive_connections=window + 4)
    headers = {"Authorization": f"Bearer {sender._token}"}
    async with httpx2.AsyncClient(
        base_url=f"http://{sender.host}:{sender.port}", headers=headers, limits=limits, timeout=120
    ) as client:

        async def post(number: str) -> None:
            answer = await client.post("/v1/messages", json=draft(grant, f"BENCH-{number}"))
            if answer.status_code != 200:
                raise RuntimeError(answer.text)

        async def one(number: str) -> float:
            started = time.perf_counter()
            found = await client.post(
                "/v1/messages", params={"until": "filed"}, json=draft(grant, f"BENCH-{number}")
            )
            if found.json()["state"] not in ("filed", "read"):
                raise RuntimeError(f"not filed after a minute: {found.json()}")
            return time.perf_counter() - started

        async def filed() -> int:
            return int((await client.get("/v1/recount")).json()["outbox"].get("filed", 0))

        for number in range(5):
            await one(f"warm-{number}")
        before = await filed()
        gate = asyncio.Semaphore(window)

        async def gated(number: str) -> None:
            async with gate:
                await post(number)

        started = time.perf_counter()
        await asyncio.gather(*(gated(f"load-{n}") for n in range(count)))
        handed_in = time.perf_counter() - started
        while (done := await filed() - before) < count:
            if time.perf_counter() - started > 600:
                raise RuntimeError(f"{done} of {count} were filed in ten minutes")
            await asyncio.sleep(0.1)
        rate = count / (time.perf_counter() - started)
        settle()
        single = [await one(f"alone-{n}") for n in range(alone)]
    return {
        "rate": rate,
        "handed_in_rate": count / handed_in,
        "alone_p50_ms": statistics.median(single) * 1000,
    }


def memory_mb(child: Child) -> float:
    """Resident memory of a process, in MiB."""
    status = Path(f"/proc/{child.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure_floor(
    database: PostgreSQL, broker: RabbitMQ, *, size: int, count: int, window: int, alone: int
) -> dict[str, float]:
    """Run the three processes of the floor over the same servers."""
    url = database.create_database("floor").replace("+asyncpg", "")
    common = ["--database", url, "--amqp", broker.url]

    def role(name: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "bench.floor", name, *common, *more]

    subprocess.run(role("prepare"), check=True, cwd=HERE)
    port = str(free_port())
    others = [
        subprocess.Popen(role(name, "--port", port), cwd=HERE) for name in ("hub", "recipient")
    ]
    try:
        _wait_open(int(port))
        done = subprocess.run(
            role(
                "sender",
                *("--port", port, "--count", str(count), "--size", str(size)),
                *("--window", str(window), "--alone", str(alone)),
            ),
            check=True,
            capture_output=True,
            text=True,
            cwd=HERE,
        )
    finally:
        for process in others:
            process.terminate()
            process.wait()
    return dict(json.loads(done.stdout))


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
    with tempfile.TemporaryDirectory() as folder, PostgreSQL.temporary() as database:
        logs = given.keep_logs or Path(folder)
        logs.mkdir(exist_ok=True, parents=True)
        with RabbitMQ.temporary(management=True) as broker:
            result = measure(database, broker, Path(folder), logs, given)
    json.dump(result, sys.stdout, indent=2)
    print()


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
    with running(network, logs) as children:
        sender = network.worker("it.nrm")
        grant = record_consent(sender, "BENCH")
        before = memory_mb(children["hub"])

        def settle() -> None:
            # What PostgreSQL does by itself within a minute (autovacuum): until then it plans for
            # tables as they were when they were empty.
            for name in ("hub", "it", "al"):
                database.sql("ANALYZE", database=name)

        path = asyncio.run(
            load(
                sender,
                count=given.count,
                window=given.window,
                alone=given.alone,
                grant=grant,
                settle=settle,
            )
        )
        after = memory_mb(children["hub"])
        sys.stderr.write(f"bench: path {path}\n")
        size = database.sql("SELECT max(size) FROM envelope", database="hub")
    floor = measure_floor(
        database,
        broker,
        size=int(size.split()[-1]),
        count=given.count,
        window=given.window,
        alone=given.alone,
    )
    return {
        "envelope_bytes": int(size.split()[-1]),
        "path": path,
        "floor": floor,
        "rate_ratio": path["rate"] / floor["rate"],
        "alone_ratio": path["alone_p50_ms"] / floor["alone_p50_ms"],
        "hub_memory_mb": {"before": before, "after": after},
    }


if __name__ == "__main__":
    main()
