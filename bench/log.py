"""What a proof costs, and whether it costs the same in a log ten or a hundred times as large.

    .venv/bin/python -m bench.log [--sizes 10000 100000 1000000] [--url postgresql+asyncpg://...]

Loads each size straight into the tables (the sequencer's own speed is measured apart, on 20 000
leaves), then: the first proof of a fresh process, later proofs, verification without a database.
Prints one JSON object; times in milliseconds, medians. `ratios` compares each size with the
smallest. With `--url`, the database must be empty and is filled with the largest size in steps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import select

from broker.audit.checkpoint import Checkpoint, make_log_key, open_checkpoint, sign_checkpoint
from broker.audit.leaves import new_leaf
from broker.audit.merkle import verify_inclusion
from broker.audit.note import NoteSigner, Verifier
from broker.audit.proof import consistency, inclusion
from broker.audit.sequencer import BATCH, Sequencer
from broker.audit.store import (
    LogTables,
    add_leaves,
    append,
    create_log_tables,
    load_edge,
    log_size,
    log_tables,
    newest_checkpoint,
)
from broker.audit.tlog_proof import parse_proof
from broker.clock import SystemClock
from broker.database import Database, new_metadata
from schemas.audit import Event

ORIGIN = "bench.example/log"
PROOFS = 200
CHUNK = 20_000


def leaves(count: int) -> list[bytes]:
    now = SystemClock().now()
    return [new_leaf(Event.ENVELOPE_SUBMITTED, now, bytes(32))[0] for _ in range(count)]


async def fill(database: Database, tables: LogTables, signer: NoteSigner, size: int) -> float:
    """Bring the log to a size, tiles and signed head included; the seconds that it took."""
    start = time.perf_counter()
    async with database.begin() as connection:
        at = await log_size(connection, tables)
        edge = await load_edge(connection, tables, at)
    while edge.size < size:
        bodies = leaves(min(CHUNK, size - edge.size))
        async with database.begin() as connection:
            await append(connection, tables, edge, bodies)
    now = SystemClock().now()
    signed = sign_checkpoint(Checkpoint(ORIGIN, size, edge.root()), [signer], now)
    async with database.begin() as connection:
        await connection.execute(
            tables.checkpoint.insert().values(
                size=size, root=edge.root(), issued_at=now, note=signed.note.to_text()
            )
        )
    return time.perf_counter() - start


async def sequence(database: Database, tables: LogTables, signer: NoteSigner) -> dict[str, float]:
    """How fast pending leaves become entries, in full batches and one by one."""
    sequencer = Sequencer(database, tables, origin=ORIGIN, signers=[signer], clock=SystemClock())
    async with database.begin() as connection:
        await add_leaves(connection, tables, leaves(CHUNK))
    start = time.perf_counter()
    while await sequencer.run_once() == BATCH:
        pass
    batched = CHUNK / (time.perf_counter() - start)
    alone = []
    for body in leaves(50):
        async with database.begin() as connection:
            await add_leaves(connection, tables, [body])
        start = time.perf_counter()
        await sequencer.run_once()
        alone.append(time.perf_counter() - start)
    return {"leaves_per_second": round(batched), "run_of_one_ms": milliseconds(alone)}


async def measure(url: str, vkey: str) -> dict[str, float]:
    """In a process that has never seen this log."""
    chance = random.Random(7)
    tables = log_tables(new_metadata())
    database = Database(url)
    async with database.read() as connection:
        size = await log_size(connection, tables)
        wanted = [chance.randrange(size) for _ in range(PROOFS)]
        entry = tables.entry
        hashes = [
            (
                await connection.execute(select(entry.c.leaf_hash).where(entry.c.seq == at))
            ).scalar_one()
            for at in wanted
        ]
    await database.close()

    database = Database(url)
    async with database.read() as connection:
        await newest_checkpoint(connection, tables)  # the connection itself is not what we measure
    times, proofs = [], []
    for hashed in hashes:
        start = time.perf_counter()
        async with database.read() as connection:
            proofs.append(await inclusion(connection, tables, hashed))
        times.append(time.perf_counter() - start)
    consistent = []
    for _ in range(50):
        old = chance.randrange(1, size)
        start = time.perf_counter()
        async with database.read() as connection:
            await consistency(connection, tables, old, size)
        consistent.append(time.perf_counter() - start)
    await database.close()

    key, checked = Verifier.from_text(vkey), []
    for hashed, proof in zip(hashes, proofs, strict=True):
        start = time.perf_counter()
        parsed = parse_proof(proof.text)
        head = open_checkpoint(parsed.checkpoint, [key]).checkpoint
        good = verify_inclusion(parsed.index, head.size, hashed, parsed.path, head.root)
        checked.append(time.perf_counter() - start)
        if not good:
            raise SystemExit("a proof does not verify")
    return {
        "first_proof_ms": milliseconds(times[:1]),
        "proof_ms": milliseconds(times[1:]),
        "proof_p99_ms": round(sorted(times[1:])[int(PROOFS * 0.99) - 1] * 1000, 3),
        "consistency_ms": milliseconds(consistent),
        "verify_ms": milliseconds(checked),
        "proof_bytes": statistics.median(len(proof.text) for proof in proofs),
    }


def milliseconds(times: list[float]) -> float:
    return round(statistics.median(times) * 1000, 3)


async def bench(url: str, sizes: list[int]) -> dict[str, object]:
    skey, vkey = make_log_key(ORIGIN)
    signer = NoteSigner.from_text(skey)
    database, tables = Database(url), log_tables(new_metadata())
    async with database.begin() as connection:
        await connection.run_sync(create_log_tables)
    found: dict[str, dict[str, float]] = {}
    for size in sizes:
        seconds = await fill(database, tables, signer, size)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.log", "--measure", url, vkey, stdout=subprocess.PIPE
        )
        out, _ = await child.communicate()
        if child.returncode:
            raise SystemExit("measuring failed")
        found[str(size)] = {"loaded_in_s": round(seconds, 2), **json.loads(out)}
    sequencer = await sequence(database, tables, signer)
    await database.close()
    smallest = found[str(sizes[0])]
    return {
        "database": database.dialect,
        "sizes": found,
        "sequencer": sequencer,
        "ratios": {
            size: {
                name: round(values[name] / smallest[name], 2)
                for name in ("first_proof_ms", "proof_ms", "consistency_ms", "verify_ms")
            }
            for size, values in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--url", help="an empty database; default: a new SQLite file")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure(*options.measure))))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite+aiosqlite:///{Path(folder) / 'log.sqlite3'}"
        print(json.dumps(asyncio.run(bench(url, sorted(options.sizes))), indent=1))


if __name__ == "__main__":
    main()
