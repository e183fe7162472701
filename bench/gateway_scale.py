"""Whether one gateway stays as quick with a million messages as with ten thousand.

    .venv/bin/python -m bench.gateway_scale [--postgresql] [--sizes 10000,100000,1000000]

A real referral goes through; then its rows are copied in SQL until the gateway holds so many
messages, ten to a case. Measured are opening a thread, the ledger of one person, and a round of the
deadlines: with nothing due, and with a hundred answers that are. Prints one JSON object: of each,
the best and the middle of several times in milliseconds, this process's own time in the middle one,
and on PostgreSQL the pages that the server touched, which no other work on the machine changes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, column, insert, literal, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.rights.ledger import of_case
from broker.gateway.store.tables import (
    alarm,
    disclosure,
    inbox,
    outbox,
    thread,
    thread_event,
)
from tests.support.gateways import Side, world
from tests.support.services import PostgreSQL

SIZES = (10_000, 100_000, 1_000_000)
PER_CASE = 10
REPEAT = 15
DUE_ROUNDS = 5
STATISTICS_SECONDS = 1.2
"""After so long PostgreSQL has counted what was done."""
PAGES = "SELECT blks_read + blks_hit FROM pg_stat_database WHERE datname = current_database()"
Cost = dict[str, float]
DUE = 100
STEP = 200_000
THREADS, SENT, CAME = 1 << 40, 2 << 40, 3 << 40
"""Where the numbers of copied threads and messages begin."""


class Filler:
    """Copies one exchange many times."""

    def __init__(self, side: Side, dialect: str) -> None:
        self._database = side.gateway.core.database
        self._dialect = dialect
        self._rows: dict[str, Mapping[str, Any]] = {}
        self.cases = 0

    async def learn(self) -> None:
        """Take the rows of the one exchange that there is."""
        async with self._database.read() as connection:
            for one in (thread, thread_event, outbox, disclosure):
                row = (await connection.execute(select(one).limit(1))).one()
                self._rows[one.name] = dict(row._mapping)

    async def fill(self, messages: int) -> None:
        """Add cases until there are so many messages."""
        while self.cases < messages // PER_CASE:
            until = min(messages // PER_CASE, self.cases + STEP // PER_CASE)
            async with self._database.begin() as connection:
                await self._copy(connection, self.cases, until)
            self.cases = until
        async with self._database.begin() as connection:
            await connection.execute(text("ANALYZE"))

    async def _copy(self, connection: AsyncConnection, start: int, until: int) -> None:
        half = PER_CASE // 2
        key, ref = self._id(THREADS, "n"), "'CASE-' || n"
        await self._many(connection, thread, start, until, id=key, case_ref=ref, state="'accepted'")
        for number in range(half):
            sent = self._id(SENT + number, f"n * {PER_CASE}")
            await self._many(
                connection,
                outbox,
                start,
                until,
                id=sent,
                thread=key,
                business_id=sent,
                case_ref=ref,
                stream_number=f"n * {PER_CASE} + {number} + 1000",
                state="'filed'",
                look_at="NULL",
                envelope="''",
            )
            came = self._id(CAME + number, f"n * {PER_CASE}")
            await self._incoming(connection, start, until, id=came, thread=key, case_ref=ref)
            for place, message in ((2 * number, sent), (2 * number + 1, came)):
                await self._many(
                    connection,
                    thread_event,
                    start,
                    until,
                    thread=key,
                    message=message,
                    position=str(place),
                )
        sent = self._id(SENT, f"n * {PER_CASE}")
        await self._many(
            connection, disclosure, start, until, message=sent, thread=key, own_case=ref
        )

    async def _incoming(
        self, connection: AsyncConnection, start: int, until: int, **changed: str
    ) -> None:
        """An answer, in the words of the message that it answers."""
        row = self._rows["outbox"]
        given = {
            name: row[name]
            for name in ("in_reply_to", "type", "kind", "lane", "digest", "attempts")
        }
        given |= {
            "sender": row["recipient"],
            "state": "kept",
            "next_attempt_at": row["created_at"],
            "received_at": row["created_at"],
            "expires_at": row["expires_at"],
        }
        changed |= {"business_id": changed["id"]}
        await self._insert(connection, inbox, given, changed, start, until)

    async def _many(
        self, connection: AsyncConnection, one: Table, start: int, until: int, **changed: str
    ) -> None:
        row = {name: value for name, value in self._rows[one.name].items() if name != "position"}
        if one is thread_event:
            row = dict(self._rows[one.name])
        await self._insert(connection, one, row, changed, start, until)

    async def _insert(
        self,
        connection: AsyncConnection,
        one: Table,
        given: Mapping[str, Any],
        changed: Mapping[str, str],
        start: int,
        until: int,
    ) -> None:
        names = list(dict.fromkeys([*given, *changed]))
        values = [
            literal_column(changed[name])
            if name in changed
            else literal(given[name], one.c[name].type)
            for name in names
        ]
        series = (
            text(f"SELECT generate_series({start}, {until - 1}) AS n")
            if self._dialect == "postgresql"
            else text(
                f"WITH RECURSIVE s(n) AS (SELECT {start} UNION ALL "  # noqa: S608
                f"SELECT n + 1 FROM s WHERE n < {until - 1}) SELECT n FROM s"
            )
        )
        numbers = series.columns(column("n")).subquery("numbers")
        await connection.execute(
            insert(one).from_select(names, select(*values).select_from(numbers))
        )

    def _id(self, base: int, expression: str) -> str:
        if self._dialect == "postgresql":
            return f"lpad(to_hex({base}::bigint + {expression}), 32, '0')::uuid"
        return f"printf('%032x', {base} + {expression})"


def thread_of(case: int) -> UUID:
    """The copied thread of this case."""
    return UUID(int=THREADS + case)


async def timed(side: Side, act: Callable[[], Awaitable[object]], repeat: int = REPEAT) -> Cost:
    """What one of several costs. Others of this process wait meanwhile."""
    walls, own = [], []
    before = await pages(side)
    for _ in range(repeat):
        began, worked = time.perf_counter(), time.process_time()
        await act()
        walls.append((time.perf_counter() - began) * 1000)
        own.append((time.process_time() - worked) * 1000)
    touched = await pages(side) - before
    found = {
        "best": round(min(walls), 2),
        "median": round(statistics.median(walls), 2),
        "own_cpu": round(statistics.median(own), 2),
    }
    return found if before == 0 else {**found, "pages": round(touched / repeat)}


async def pages(side: Side) -> int:
    """Pages of tables and indexes that were read until now, from memory or not; 0 on SQLite."""
    database = side.gateway.core.database
    if database.dialect == "sqlite":
        return 0
    await asyncio.sleep(STATISTICS_SECONDS)
    async with database.read() as connection:
        return int(await connection.scalar(text(PAGES)) or 0)


async def measure(side: Side, cases: int) -> dict[str, Cost]:
    """All of it at one size."""
    core = side.gateway.core
    late = core.now() - timedelta(minutes=1)
    ids = [UUID(int=SENT + case * PER_CASE) for case in range(DUE)]

    async def open_thread() -> None:
        async with core.database.read() as connection:
            await threads.require(connection, thread_of(cases // 2))
            await threads.history(connection, thread_of(cases // 2))

    async def ledger() -> None:
        async with core.database.read() as connection:
            found = await of_case(connection, f"CASE-{cases // 3}")
        if len(found) != 1:
            raise RuntimeError("the ledger of another person")

    await side.parts.deadlines.run_once()
    found = {
        "thread": await timed(side, open_thread),
        "ledger": await timed(side, ledger),
        "round": await timed(side, side.parts.deadlines.run_once),
    }
    rounds = []
    for _ in range(DUE_ROUNDS):
        async with core.database.begin() as connection:
            await connection.execute(
                outbox.update()
                .where(outbox.c.id == bindparam("key"))
                .values(look_at=late, answer_by=late),
                [{"key": one} for one in ids],
            )
        rounds.append(await timed(side, side.parts.deadlines.run_once, 1))
        async with core.database.begin() as connection:
            await connection.execute(alarm.delete())
            settled = outbox.update().where(outbox.c.id.in_(ids)).values(look_at=None)
            await connection.execute(settled)
    found["round_with_100_due"] = min(rounds, key=lambda one: one["best"])
    return found


async def run(sizes: tuple[int, ...], url: str | None) -> dict[str, Any]:
    """The curve on one database."""
    dialect = "sqlite" if url is None else "postgresql"
    with tempfile.TemporaryDirectory() as folder:
        databases = None if url is None else {"it.nrm": url}
        async with world(Path(folder) / "network", databases=databases) as made:
            italy = made["it.nrm"]
            await italy.refer("al.nrm", await italy.consent("al.nrm"))
            await made.settle()
            filler = Filler(italy, dialect)
            await filler.learn()
            curve = {}
            for size in sizes:
                await filler.fill(size)
                curve[str(size)] = await measure(italy, filler.cases)
                sys.stderr.write(f"{dialect} {size}: {curve[str(size)]}\n")
            return {"database": dialect, "curve": curve}


@contextlib.contextmanager
def database(wanted: bool) -> Iterator[str | None]:
    """A private PostgreSQL, or none."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, PostgreSQL(Path(folder)) as server:
        yield server.url()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    given = parser.parse_args()
    sizes = tuple(int(size) for size in given.sizes.split(","))
    with database(given.postgresql) as url:
        json.dump(asyncio.run(run(sizes, url)), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
