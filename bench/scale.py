"""Whether a message costs the same in a hub that has handled a hundred times as many.

    .venv/bin/python -m bench.scale [--sizes 10000 100000 1000000] [--messages 1500]

Brings a private PostgreSQL to each number of finished envelopes, with all that they leave behind
(evidence, facts, obligations, leaves and tiles of the log), copied in bulk from envelopes that
really went through. At each size a fresh hub process takes messages to their end
(`bench.hub_alone`). Prints one JSON object; CPU times in milliseconds per message, of the hub and of
the PostgreSQL server with all its processes. `ratios` compares each size with the smallest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import select

from bench.hub_alone import cpu_seconds, hub_alone, make_world
from bench.log import copy_entries
from broker.audit.log.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.log.note import NoteSigner
from broker.audit.log.store import load_edge, newest_checkpoint
from broker.clock import SystemClock
from broker.database import Database
from broker.hub.store.tables import LOG
from keys.custody import open_custody
from tests.support.hub import World
from tests.support.services import PostgreSQL

ORIGIN = "hub.test/log"
CHUNK = 50_000
LEAVES = 2
"""Leaves of the log per envelope: its acceptance, and its share of what was stated later."""

_ID = "('{tag}' || lpad(to_hex(n), 24, '0'))::uuid"
"""Ids grow, as those that are made from the time do."""

ENVELOPES = """
INSERT INTO envelope (id, digest, size, sender, recipient, lane, kind, thread, suite, reply,
    grant_id, until, agreement_id, issued_at, incarnation, stream_number, signed_by,
    directory_version, accepted_at, expires_at, standing, standing_at, check_at, evidence_id)
SELECT {envelope}, sha256(n::text::bytea), size, sender, recipient, lane, kind, {thread},
    suite, reply, grant_id, until, agreement_id, issued_at, 'invented-of-the-past-1',
    n, signed_by, directory_version, accepted_at, expires_at, standing, standing_at, {check_at}, {first}
FROM (SELECT * FROM envelope WHERE standing < 4 ORDER BY id LIMIT 1) AS real,
    generate_series({start}, {end} - 1) AS n
"""
EVIDENCE = """
INSERT INTO evidence (id, "by", "to", raw, recorded_at, directory_version, leaf, salt)
SELECT {id}, "by", "to", raw, recorded_at, directory_version, leaf, salt
FROM (SELECT * FROM evidence WHERE "by" {by} ORDER BY id LIMIT 1) AS real,
    generate_series({start}, {end} - 1) AS n
"""
FACTS = """
INSERT INTO fact (envelope_id, evidence_id, fact, at, code)
SELECT {envelope}, {second}, f, now(), NULL
FROM generate_series({start}, {end} - 1) AS n, (VALUES ('delivered'), ('filed')) AS said(f)
"""
OBLIGATIONS = """
INSERT INTO obligation (request_id, thread, asked_by, owed_by, grant_id, state, answer_by, paused_at,
    changed_at, check_at, expires_at)
SELECT {envelope}, {thread}, asked_by, owed_by, grant_id, 'answered', NULL, NULL, changed_at, NULL,
    expires_at
FROM (SELECT * FROM obligation LIMIT 1) AS real, generate_series({start}, {end} - 1) AS n
"""


async def fill(url: str, world: World, start: int, end: int, *, check_at: str = "NULL") -> float:
    """Add finished envelopes numbered from `start` to `end`; the seconds that it took.

    Args:
        check_at: When each, in SQL with its number `n`, is looked at next.
    """
    began = time.perf_counter()
    ids = {
        name: _ID.format(tag=tag)
        for name, tag in (
            ("envelope", "0190a000"),
            ("first", "0190b000"),
            ("second", "0190c000"),
            ("thread", "0190d000"),
        )
    }
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("SET synchronous_commit = off")
    for at in range(start, end, CHUNK):
        span = {**ids, "start": at, "end": min(at + CHUNK, end), "check_at": check_at}
        await connection.execute(ENVELOPES.format(**span))
        await connection.execute(EVIDENCE.format(**span, id=ids["first"], by="= 'hub.main'"))
        # What a page's receipts share is one evidence in fact; here each envelope has its own.
        await connection.execute(EVIDENCE.format(**span, id=ids["second"], by="<> 'hub.main'"))
        await connection.execute(FACTS.format(**span))
        await connection.execute(OBLIGATIONS.format(**span))
    await _fill_log(url, connection, world, LEAVES * (end - start))
    await connection.execute("SET synchronous_commit = on")
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return time.perf_counter() - began


async def _fill_log(url: str, connection: asyncpg.Connection, world: World, count: int) -> None:
    """Append leaves, with tiles and a signed head, so that the sequencer goes on from there."""
    database = Database(url)
    async with database.read() as reader:
        head = await newest_checkpoint(reader, LOG)
        if head is None:
            raise SystemExit("the hub has signed no head yet")
        edge = await load_edge(reader, LOG, head.size)
        real = (await reader.execute(select(LOG.entry.c.body).limit(1))).scalar_one()
    await database.close()
    commitment = json.loads(real)["commitment"].encode()
    while count:
        some = min(CHUNK, count)
        bodies = [real.replace(commitment, secrets.token_urlsafe(32).encode()) for _ in range(some)]
        await copy_entries(connection, edge, bodies)
        count -= some
    settings = world.settings
    custody = open_custody(settings.custody, settings.passphrase_file.read_bytes())
    signer = NoteSigner.from_text(custody.secret(settings.log.key).decode())
    now = SystemClock().now()
    signed = sign_checkpoint(Checkpoint(ORIGIN, edge.size, edge.root()), [signer], now)
    await connection.execute(
        "INSERT INTO log_checkpoint (size, root, issued_at, note) VALUES ($1, $2, $3, $4)",
        edge.size,
        edge.root(),
        now,
        signed.note.to_text(),
    )


async def measure(world: World, url: str, server: int, messages: int) -> dict[str, float]:
    """The cost of messages in a hub process that has just started."""
    async with hub_alone(world, url) as hub:
        await hub.run(300)
        before = server_cpu(server)
        load = await hub.run(messages)
        after = server_cpu(server)
    return {
        "hub_cpu_ms": round(load.hub_cpu / messages * 1000, 3),
        "database_cpu_ms": round((after - before) / messages * 1000, 3),
        "cpu_ms": round((load.hub_cpu + after - before) / messages * 1000, 3),
        "messages_per_second": round(messages / load.seconds, 1),
    }


def server_cpu(pid: int) -> float:
    """Seconds of a server and of all its processes, those that ended included."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(server_cpu(int(child)) for child in children)


async def bench(
    folder: Path, server: PostgreSQL, sizes: list[int], messages: int
) -> dict[str, Any]:
    """Measure at each size, smallest first."""
    url = server.create_database("hub")
    world = make_world(folder, url)
    pid = server.pid
    if pid is None:
        raise SystemExit("PostgreSQL does not run")
    async with hub_alone(world, url) as hub:
        await hub.run(200)
        await asyncio.sleep(2)  # the last leaves enter the log
    found: dict[str, dict[str, float]] = {}
    at = 0
    for size in sorted(sizes):
        seconds = await fill(url, world, at, size)
        at = size
        found[str(size)] = {
            "filled_in_seconds": round(seconds, 1),
            **await measure(world, url, pid, messages),
        }
        sys.stderr.write(f"bench: {size} {found[str(size)]}\n")
    smallest = found[str(min(sizes))]["cpu_ms"]
    return {
        "messages": messages,
        "sizes": found,
        "ratios": {size: round(one["cpu_ms"] / smallest, 2) for size, one in found.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--messages", type=int, default=1500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgreSQL.temporary() as server:
        result = asyncio.run(bench(Path(folder), server, given.sizes, given.messages))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
