"""Whether a hub that forgets in time is back where it began, and what one message leaves for good.

    .venv/bin/python -m bench.retention [--messages 1000000]

Fills a private PostgreSQL with delivered envelopes and their sealed bytes, with evidence, facts,
obligations and leaves, copied in bulk from envelopes that really went through. Then the hub's own
loops work on it: first the sealed bytes go, then the addressing, then the evidence; each time the
size of every class of data is read from the server. Prints one JSON object, in bytes and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench.hub_alone import hub_alone, make_world
from bench.scale import fill
from broker.clock import SystemClock, TurnedClock
from broker.hub import deadlines, retention
from broker.hub.app import create_app
from broker.hub.state import Hub
from tests.support.hub import World
from tests.support.services import PostgreSQL

CLASSES = {
    "addressing and payload": ("envelope", "fact", "obligation", "delivery"),
    "evidence": ("evidence",),
    "log": ("log_entry", "log_tile", "log_checkpoint", "leaf_pending"),
}
REAL = 3000
"""Messages that really go through, by which the growth of one is told: under load many receipts
share one evidence, and in the copies none do."""
SEALED = """
UPDATE envelope SET check_at = now() - interval '1 second',
    raw = (SELECT string_agg(sha256((id::text || k)::bytea), ''::bytea) FROM generate_series(1, $1) k)
WHERE raw IS NULL
"""


async def sizes(url: str) -> dict[str, int]:
    """Bytes of each class on disk, with indexes and what is stored out of line."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    present = {row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables")}
    found = {
        name: sum(
            [
                await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", table)
                for table in tables
                if table in present
            ]
        )
        for name, tables in CLASSES.items()
    }
    await connection.close()
    return found


async def seal(url: str, size: int) -> None:
    """Give each finished envelope sealed bytes of about this size, as it had when it came."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=60)
    await connection.execute("SET synchronous_commit = off")
    await connection.execute(SEALED, size // 32, timeout=3600)
    await connection.execute("VACUUM FULL ANALYZE envelope", timeout=3600)
    await connection.execute("CHECKPOINT")
    await connection.close()


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return round(time.perf_counter() - began, 1)


async def forget(world: World, url: str) -> dict[str, Any]:
    """Let the loops of a hub work as its clock goes on."""
    clock = TurnedClock(SystemClock().now())
    keep = world.settings.retention.model_copy(update={"evidence_days": 91.0})
    settings = world.settings.model_copy(update={"retention": keep})
    hub: Hub = create_app(settings, clock=clock).state.hub
    await hub.refresh_directory()
    await hub.sequencer.run_once()
    found: dict[str, Any] = {}

    async def payload() -> None:
        while await deadlines.run_once(hub) >= deadlines.BATCH:
            pass
        await hub.database.give_back(*retention.TABLES)

    async def rest() -> None:
        await hub.sequencer.run_once()
        await retention.run_once(hub)

    for name, days, work in (
        ("payload", 0, payload),
        ("addressing", 60, rest),
        ("evidence", 60, rest),
    ):
        clock.turn(timedelta(days=days))
        await hub.sequencer.run_once()
        seconds = await timed(work)
        found[f"without {name}"] = {"seconds": seconds, **await sizes(url)}
        sys.stderr.write(f"bench: {name} {found[f'without {name}']}\n")
    await hub.database.close()
    return found


async def growth(folder: Path, server: PostgreSQL) -> dict[str, int]:
    """Bytes of each class that one message leaves, of messages that really went through."""
    url = server.create_database("real")
    async with hub_alone(make_world(folder, url), url) as hub:
        await hub.run(200)
        await asyncio.sleep(2)  # the last leaves enter the log
        before = await sizes(url)
        await hub.run(REAL)
        await asyncio.sleep(2)
        after = await sizes(url)
    return {name: round((after[name] - before[name]) / REAL) for name in CLASSES}


async def bench(folder: Path, server: PostgreSQL, messages: int, size: int) -> dict[str, Any]:
    """Fill, forget, compare."""
    grown = await growth(folder / "real", server)
    url = server.create_database("hub")
    world = make_world(folder / "hub", url)
    async with hub_alone(world, url) as hub:
        await hub.run(200)
        await asyncio.sleep(2)
    before = await sizes(url)
    await fill(url, world, 0, messages)
    await seal(url, size)
    full = await sizes(url)
    sys.stderr.write(f"bench: {messages} {full}\n")
    return {
        "messages": messages,
        "payload_bytes": size,
        "bytes_per_message": grown,
        "empty": before,
        "full": full,
        **await forget(world, url),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=6400, help="sealed bytes of one 4 KiB section")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgreSQL.temporary() as server:
        for name in ("real", "hub"):
            (Path(folder) / name).mkdir()
        result = asyncio.run(bench(Path(folder), server, given.messages, given.size))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
