"""Whether a hub that forgets in time is back where it began, and what one message leaves for good.

    .venv/bin/python -m bench.retention [--messages 1000000] [--sqlite]

Fills a private PostgreSQL with a week of delivered envelopes and their sealed bytes, with suspects in
quarantine, evidence, facts, obligations and leaves: copied in bulk from envelopes that really went
through, into the partitions that the hub makes. Then the hub's own loops work on it as the time goes
on: first the sealed bytes go, then the addressing, then evidence and quarantine; each time the size
of every class of data is read from the server. With `--sqlite` the sealed bytes of so many messages
go in a file, whose size is read. Prints one JSON object, in bytes and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import insert, select

from bench.hub_alone import hub_alone, make_world
from bench.scale import fill
from broker.clock import SystemClock, TurnedClock
from broker.database import Database
from broker.hub.app import create_app
from broker.hub.ending import deadlines, retention
from broker.hub.state import Hub
from broker.hub.store.tables import ENVELOPE, PAYLOAD
from tests.support.hub import World
from tests.support.services import PostgreSQL

CLASSES = {
    "payload": ("payload", "attachment_chunk"),
    "technical": ("quarantine", "delivery"),
    "addressing": ("envelope", "fact", "obligation"),
    "evidence": ("evidence", "opening"),
    "log": ("log_entry", "log_tile", "log_checkpoint", "log_cosignature", "leaf_pending"),
}
REAL = 3000
"""Messages that really go through, by which the growth of one is told: under load many receipts
share one evidence, and in the copies none do."""
WEEK = timedelta(days=7)
SUSPECTS = 10
"""Messages for each that is put into quarantine."""
CHUNK = 5000
SIZE = """
SELECT pg_total_relation_size($1::regclass) + coalesce(
    (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = $1::regclass), 0)
"""


VACUUMING = """
SELECT EXISTS (SELECT 1 FROM pg_stat_progress_vacuum) OR EXISTS (
    SELECT 1 FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid
    WHERE n_dead_tup > 50 + 0.2 * greatest(reltuples, 0))
"""
"""Somebody vacuums, or is about to: by the threshold of PostgreSQL's own settings."""
PATIENCE = 600


async def sizes(url: str) -> dict[str, int]:
    """Bytes of each class on disk, with indexes, partitions and what is stored out of line.

    PostgreSQL vacuums by itself, too, and retention then leaves a table to it: it is waited for.
    """
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    for _ in range(PATIENCE):
        if not await connection.fetchval(VACUUMING):
            break
        await asyncio.sleep(1)
    found = {}
    for name, tables in CLASSES.items():
        found[name] = sum([int(await connection.fetchval(SIZE, table)) for table in tables])
    await connection.close()
    return found


async def seal(url: str, begin: datetime, count: int, size: int) -> None:
    """Give each envelope sealed bytes as they came in the course of a week, and suspects beside."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=60)
    await connection.execute("SET synchronous_commit = off")
    for day in range(8):
        for table in ("payload", "quarantine"):
            await connection.execute(
                "SELECT partitions_ahead($1, $2, $3)",
                table,
                begin + timedelta(days=day),
                timedelta(days=1 if table == "payload" else 7),
            )
    sealed = secrets.token_bytes(size)  # stored as they are: nothing is gained by making each anew
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        moments = [begin + WEEK * (number / count) for number in numbers]
        ids = [UUID(f"0190a000{number:024x}") for number in numbers]
        await connection.copy_records_to_table(
            "payload",
            records=[(*row, sealed, "s" * 22, "k" * 43) for row in zip(ids, moments, strict=True)],
            columns=["envelope_id", "kept_at", "raw", "scopes", "to_keys"],
        )
        await connection.copy_records_to_table(
            "quarantine",
            records=[
                ("k" * 43, "it.nrm", "bad-signature", bytes(32), sealed[:1500], moment)
                for moment in moments[::SUSPECTS]
            ],
            columns=["claimed_kid", "claimed_by", "code", "digest", "raw", "recorded_at"],
        )
    await connection.execute("VACUUM ANALYZE", timeout=3600)
    await connection.execute("CHECKPOINT", timeout=3600)
    await connection.close()


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return round(time.perf_counter() - began, 1)


async def forget(world: World, url: str, clock: TurnedClock) -> dict[str, Any]:
    """Let the loops of a hub work as its clock goes on."""
    keep = world.settings.retention.model_copy(update={"evidence_days": 91.0})
    settings = world.settings.model_copy(update={"retention": keep})
    hub: Hub = create_app(settings, clock=clock).state.hub
    await hub.refresh_directory()
    await hub.sequencer.run_once()
    found: dict[str, Any] = {}

    async def work() -> None:
        began = time.perf_counter()
        while await deadlines.run_once(hub) >= deadlines.BATCH:
            pass
        sys.stderr.write(f"bench: looked at what was due in {time.perf_counter() - began:.1f} s\n")
        await retention.run_once(hub)

    for name, days in (("payload", 15), ("addressing", 60), ("evidence and quarantine", 60)):
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
        await asyncio.sleep(1)  # its partitions are made
        before = await sizes(url)
        await hub.run(200)
        await asyncio.sleep(2)  # the last leaves enter the log
    begin = SystemClock().now()
    due = f"timestamptz '{begin.isoformat()}' + interval '7 days' * (1 + n / {messages}.0)"
    await fill(url, world, 0, messages, check_at=due)
    await seal(url, begin, messages, size)
    full = await sizes(url)
    sys.stderr.write(f"bench: {messages} {full}\n")
    return {
        "messages": messages,
        "payload_bytes": size,
        "bytes_per_message": grown,
        "empty": before,
        "full": full,
        **await forget(world, url, TurnedClock(begin)),
    }


async def bench_sqlite(folder: Path, messages: int, size: int) -> dict[str, Any]:
    """The same for what is sealed, in one file."""
    file = folder / "hub.sqlite3"
    url = f"sqlite+aiosqlite:///{file}"
    world = make_world(folder, url)
    async with hub_alone(world, url) as alone:
        await alone.run(50)
        await asyncio.sleep(2)
    begin, database = SystemClock().now(), Database(url)
    await database.give_back()
    await database.scrub()
    before = file.stat().st_size
    async with database.begin() as connection:
        row = dict((await connection.execute(select(ENVELOPE).limit(1))).one()._mapping)
        sealed = secrets.token_bytes(size)
        for start in range(0, messages, CHUNK):
            numbers = range(start, min(start + CHUNK, messages))
            envelopes = [
                row | {"id": uuid4(), "stream_number": 10**6 + number, "check_at": begin}
                for number in numbers
            ]
            await connection.execute(insert(ENVELOPE), envelopes)
            more = {"kept_at": begin, "raw": sealed, "scopes": "s" * 22, "to_keys": "k" * 43}
            await connection.execute(
                insert(PAYLOAD), [{"envelope_id": one["id"], **more} for one in envelopes]
            )
    await database.scrub()
    full = file.stat().st_size
    await database.close()
    clock = TurnedClock(begin)
    hub: Hub = create_app(world.settings, clock=clock).state.hub
    await hub.refresh_directory()
    clock.turn(timedelta(days=100))
    await hub.sequencer.run_once()

    async def work() -> None:
        while await deadlines.run_once(hub) >= deadlines.BATCH:
            pass
        await retention.run_once(hub)
        await hub.database.scrub()

    seconds = await timed(work)
    await hub.database.close()
    return {
        "database": "sqlite",
        "messages": messages,
        "empty": before,
        "full": full,
        "after": file.stat().st_size,
        "seconds": seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=6400, help="sealed bytes of one 4 KiB section")
    parser.add_argument("--sqlite", action="store_true")
    given = parser.parse_args()
    if given.sqlite:
        with tempfile.TemporaryDirectory() as folder:
            result = asyncio.run(bench_sqlite(Path(folder), given.messages, given.size))
        json.dump(result, sys.stdout, indent=2)
        return
    with tempfile.TemporaryDirectory() as folder, PostgreSQL.temporary() as server:
        for name in ("real", "hub"):
            (Path(folder) / name).mkdir()
        result = asyncio.run(bench(Path(folder), server, given.messages, given.size))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
