"""The hub's memory over a long run: it must stay under 250 MiB and stay flat.

    .venv/bin/python -m bench.memory [--count 100000] [--every 10000]

Messages go straight to the HTTP API of a hub process over a private PostgreSQL and are closed by
their receipts (`bench.hub_alone`). Prints one JSON object: resident memory after each step, and the
growth from the step after which caches and pools are full, in MiB per 10 000 messages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.hub_alone import hub_alone, make_world, memory_mb
from tests.support.services import PostgreSQL

LIMIT_MB = 250.0
CHUNK = 1000


async def bench(folder: Path, database: str, count: int, every: int) -> dict[str, object]:
    """Push messages and look now and then."""
    world = make_world(folder, database)
    curve: dict[int, float] = {}
    seconds = cpu = 0.0
    async with hub_alone(world, database) as hub:
        curve[0] = memory_mb(hub.pid)
        for done in range(0, count, CHUNK):
            load = await hub.run(min(CHUNK, count - done))
            seconds, cpu = seconds + load.seconds, cpu + load.hub_cpu
            now = done + load.messages
            if now % every == 0 or now >= count:
                curve[now] = memory_mb(hub.pid)
                sys.stderr.write(f"bench: {now} messages, {curve[now]:.1f} MiB\n")
    steps = list(curve.items())[1:]
    (first, low), (last, high) = steps[0], steps[-1]
    growth = (high - low) / (last - first) * 10_000 if last > first else 0.0
    return {
        "messages": count,
        "memory_mb": {str(at): round(mb, 1) for at, mb in curve.items()},
        "peak_mb": round(max(curve.values()), 1),
        "growth_mb_per_10000": round(growth, 2),
        "messages_per_second": round(count / seconds, 1),
        "hub_cpu_ms_per_message": round(cpu / count * 1000, 3),
    }


def main() -> int:
    """Measure, print, and fail above the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgreSQL.temporary() as server:
        url = server.create_database("hub")
        result = asyncio.run(bench(Path(folder), url, given.count, given.every))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0 if max(result["memory_mb"].values()) < LIMIT_MB else 1  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
