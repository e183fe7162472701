"""What a proof costs, and whether it costs the same in a log ten or a hundred times as large.

    .venv/bin/python -m bench.log [--postgresql] [--sizes 10000 100000 1000000]

Loads each size straight into the tables (the sequencer's own speed is measured apart, on 20 000
leaves), then: the first proof of a fresh process over an open connection, later proofs,
verification without a database, each proof with five co-signatures (Ed25519, and ML-DSA-44).
Prints one JSON object; times in milliseconds, medians. `ratios` compares each size with the
smallest; `promises` says which of the published limits held at every size. Memory is what is
resident: before, after a warm-up in which the prover fills what it remembers, and after 20 000
more proofs, none of which is kept. With `--postgresql` a private server is started and filled by
COPY. `first_proof` is of one process that has just started, its prepared statements included;
`first_of_many` the median of provers that remember nothing, in one that has not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.checkpoint import Checkpoint, make_log_key, open_checkpoint, sign_checkpoint
from broker.audit.log.leaves import new_leaf
from broker.audit.log.merkle import leaf_hash, verify_inclusion
from broker.audit.log.note import NoteSigner, SignatureType, Verifier
from broker.audit.log.sequencer import BATCH, Sequencer
from broker.audit.log.store import (
    LogTables,
    add_leaves,
    append,
    create_log_tables,
    load_edge,
    log_size,
    log_tables,
    newest_checkpoint,
)
from broker.audit.log.tiles import Edge
from broker.audit.proofs.policy import Policy
from broker.audit.proofs.proof import consistency
from broker.audit.proofs.prover import Prover
from broker.audit.proofs.tlog_proof import parse_proof
from broker.clock import SystemClock
from broker.database import Database, new_metadata
from schemas.audit import Event
from tests.support.services import PostgreSQL

ORIGIN = "bench.example/log"
WITNESSES = 5
LIMITS = {"first_proof_ms": 50, "proof_ms": 5, "inclusion_ms": 1, "verify_witnessed_ms": 10}
PROOFS = 200
FIRSTS = 40
MEMORY_PROOFS = 20_000
CHUNK = 20_000


def leaves(count: int) -> list[bytes]:
    now = SystemClock().now()
    return [new_leaf(Event.ENVELOPE_SUBMITTED, now, bytes(32))[0] for _ in range(count)]


def witnesses(kind: SignatureType) -> list[NoteSigner]:
    """Five that are the same in every process."""
    return [
        NoteSigner(f"w{number}.example/{kind}", kind, bytes([number, kind] * 16))
        for number in range(WITNESSES)
    ]


def policy_of(vkey: str, kind: SignatureType) -> Policy:
    """All five must have signed."""
    found = {witness.name: witness.verifier for witness in witnesses(kind)}
    groups = {"all": (WITNESSES, tuple(found))}
    return Policy((Verifier.from_text(vkey),), found, groups, "all")


async def copy_entries(connection: Any, edge: Edge, bodies: Iterable[bytes]) -> None:
    """What `append` does, by COPY: entries and the tiles that they fill.

    Args:
        connection: The driver's own.
    """
    entries: list[tuple[int, bytes, bytes]] = []
    tiles: list[tuple[int, int, bytes, bytes]] = []
    for body in bodies:
        hashed = leaf_hash(body)
        entries.append((edge.size, body, hashed))
        tiles.extend(
            (full.tile.level, full.tile.number, full.hashes, full.root)
            for full in edge.append(hashed)
        )
    await connection.copy_records_to_table(
        "log_entry", records=entries, columns=["seq", "body", "leaf_hash"]
    )
    await connection.copy_records_to_table(
        "log_tile", records=tiles, columns=["level", "idx", "hashes", "root"]
    )


async def fill(database: Database, tables: LogTables, signer: NoteSigner, size: int) -> float:
    """Bring the log to a size, tiles and signed head included; the seconds that it took."""
    start = time.perf_counter()
    async with database.begin() as connection:
        at = await log_size(connection, tables)
        edge = await load_edge(connection, tables, at)
    while edge.size < size:
        bodies = leaves(min(CHUNK, size - edge.size))
        async with database.begin() as connection:
            if database.dialect == "postgresql":
                raw = await connection.get_raw_connection()
                await copy_entries(raw.driver_connection, edge, bodies)
            else:
                await append(connection, tables, edge, bodies)
    now = SystemClock().now()
    signed = sign_checkpoint(Checkpoint(ORIGIN, size, edge.root()), [signer], now)
    body = signed.checkpoint.text
    if database.dialect == "postgresql":
        async with database.begin() as connection:
            await connection.execute(text("ANALYZE"))  # as its own process does after a while
    async with database.begin() as connection:
        for kind in (SignatureType.DATED_ED25519, SignatureType.DATED_MLDSA44):
            for witness in witnesses(kind):
                await connection.execute(
                    tables.cosignature.insert().values(
                        size=size,
                        name=witness.name,
                        line=witness.sign(body, now).line(),
                        dated=now,
                    )
                )
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
        hashes = await some_hashes(
            connection, tables, [chance.randrange(size) for _ in range(PROOFS)]
        )
    await database.close()

    database = Database(url)
    async with database.read() as connection:
        await newest_checkpoint(connection, tables)  # the connection itself is not what we measure
    dated = policy_of(vkey, SignatureType.DATED_ED25519)
    times, proofs = [], []
    prover = Prover(tables)
    for hashed in hashes:
        start = time.perf_counter()
        async with database.read() as connection:
            proofs.append(await prover.inclusion(connection, hashed, policy=dated))
        times.append(time.perf_counter() - start)
    consistent = []
    for _ in range(50):
        old = chance.randrange(1, size)
        start = time.perf_counter()
        async with database.read() as connection:
            await consistency(connection, tables, old, size)
        consistent.append(time.perf_counter() - start)
    memory = [resident_kib()]
    for count in (MEMORY_PROOFS // 4, MEMORY_PROOFS):  # the first ones fill what is remembered
        while count:
            places = [chance.randrange(size) for _ in range(min(500, count))]
            async with database.read() as connection:
                chosen = await some_hashes(connection, tables, places)
            for hashed in chosen:
                async with database.read() as connection:
                    await prover.inclusion(connection, hashed, policy=dated)
            count -= len(chosen)
        memory.append(resident_kib())
    await database.close()

    included: list[float] = []
    checked: dict[SignatureType, list[float]] = {}
    key = Verifier.from_text(vkey)
    for hashed, proof in zip(hashes, proofs, strict=True):
        parsed = parse_proof(proof.text)
        head = open_checkpoint(parsed.checkpoint, [key]).checkpoint
        start = time.perf_counter()
        good = verify_inclusion(parsed.index, head.size, hashed, parsed.path, head.root)
        included.append(time.perf_counter() - start)
        if not good:
            raise SystemExit("a proof does not verify")
    for kind in (SignatureType.DATED_ED25519, SignatureType.DATED_MLDSA44):
        policy = policy_of(vkey, kind)
        checked[kind] = []
        for hashed, proof in zip(hashes, proofs, strict=True):
            start = time.perf_counter()
            parsed = parse_proof(proof.text)
            opened = open_checkpoint(parsed.checkpoint, [key], policy.witness_keys)
            head = opened.checkpoint
            good = policy.is_met(opened.by_witnesses) and verify_inclusion(
                parsed.index, head.size, hashed, parsed.path, head.root
            )
            checked[kind].append(time.perf_counter() - start)
            if not good:
                raise SystemExit("a witnessed proof does not verify")
    return {
        "first_proof_ms": milliseconds(times[:1]),
        "proof_ms": milliseconds(times[1:]),
        "proof_p99_ms": round(sorted(times[1:])[int(len(times) * 0.99) - 2] * 1000, 3),
        "consistency_ms": milliseconds(consistent),
        "inclusion_ms": milliseconds(included),
        "verify_witnessed_ms": milliseconds(checked[SignatureType.DATED_ED25519]),
        "verify_witnessed_mldsa_ms": milliseconds(checked[SignatureType.DATED_MLDSA44]),
        "resident_kib": memory[0],
        "resident_warm_kib": memory[1],
        "resident_after_kib": memory[2],
        "proof_bytes": statistics.median(len(proof.text) for proof in proofs),
    }


async def first_proofs(url: str, tables: LogTables, vkey: str) -> list[float]:
    """The first proof of a prover that remembers nothing, over a connection that is open."""
    chance, took = random.Random(11), []
    dated = policy_of(vkey, SignatureType.DATED_ED25519)
    database = Database(url)
    async with database.read() as connection:
        size = await log_size(connection, tables)
        places = [chance.randrange(size) for _ in range(FIRSTS)]
        for hashed in await some_hashes(connection, tables, places):
            start = time.perf_counter()
            await Prover(tables).inclusion(connection, hashed, policy=dated)
            took.append(time.perf_counter() - start)
    await database.close()
    return took


def resident_kib() -> int:
    """The memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def some_hashes(
    connection: AsyncConnection, tables: LogTables, places: list[int]
) -> list[bytes]:
    """The leaf hashes of these entries; one that was drawn twice comes once."""
    entry = tables.entry.c
    found = await connection.execute(select(entry.leaf_hash).where(entry.seq.in_(places)))
    hashes = list(found.scalars())
    random.Random(len(hashes)).shuffle(hashes)
    return hashes


def milliseconds(times: list[float]) -> float:
    return round(statistics.median(times) * 1000, 3)


async def bench(url: str, sizes: list[int]) -> dict[str, object]:
    skey, vkey = make_log_key(ORIGIN)
    signer = NoteSigner.from_text(skey)
    sys.stderr.write(f"bench: {vkey}\n")
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
        found[str(size)] = {
            "loaded_in_s": round(seconds, 2),
            **json.loads(out),
            "first_of_many_ms": milliseconds(await first_proofs(url, tables, vkey)),
        }
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
                for name in ("first_proof_ms", "proof_ms", "consistency_ms", "resident_after_kib")
            }
            for size, values in found.items()
        },
        "promises": {
            f"{name} < {limit}": all(values[name] < limit for values in found.values())
            for name, limit in LIMITS.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--postgresql", action="store_true", help="default: a new SQLite file")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure(*options.measure))))
        return
    with ExitStack() as stack:
        if options.postgresql:
            url = stack.enter_context(PostgreSQL.temporary()).create_database("log")
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite+aiosqlite:///{Path(folder) / 'log.sqlite3'}"
        print(json.dumps(asyncio.run(bench(url, sorted(options.sizes))), indent=1))


if __name__ == "__main__":
    main()
