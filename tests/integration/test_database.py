"""What a process may expect of its database: connections that came back, migrations in one piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from asyncpg.exceptions import InternalClientError
from sqlalchemy import inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from broker import database as module
from broker.database import Database, as_unavailable, fetch
from broker.migrating import upgrade
from schemas.errors import StorageUnavailable
from tests.support.services import PostgreSQL
from tests.support.silence import Silence
from tests.support.waiting import until


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(postgres_url)
    yield opened
    await opened.close()


async def _backend(connection: AsyncConnection) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


@pytest.mark.parametrize("kill", [True, False])
async def test_a_server_that_came_back_is_used_without_an_error(
    database: Database, postgres_server: PostgreSQL, kill: bool
) -> None:
    await database.ping()

    await asyncio.to_thread(postgres_server.restart, kill=kill)

    await database.ping()


async def test_a_connection_that_died_silently_is_found_after_a_pause(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.read() as connection:
        first = await _backend(connection)
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    async with database.begin() as connection:
        assert await _backend(connection) == first

    monkeypatch.setattr(type(database.engine.dialect), "do_ping", _dead)

    async with database.begin() as connection:
        assert await _backend(connection) != first


def _dead(*_: object) -> bool:
    raise ConnectionResetError


async def _fall_silent_within(
    way: AbstractAsyncContextManager[AsyncConnection], silent: Silence
) -> None:
    async with way as connection:
        silent.fall()
        await connection.execute(text("SELECT 2"))


async def _freeze_while_another_works(frozen: Database, awake: Database) -> None:
    async with frozen.begin() as connection:
        await connection.execute(text("UPDATE head SET size = 2"))
        async with asyncio.timeout(10), awake.begin() as other:
            await other.execute(text("UPDATE head SET size = 3"))


@pytest.fixture
def silent(postgres_server: PostgreSQL) -> Iterator[Silence]:
    """A way to PostgreSQL that can fall silent."""
    way = Silence(postgres_server.port)
    yield way
    way.close()


async def test_a_connection_that_answers_no_more_is_given_up_and_the_next_one_works(
    postgres_url: str, silent: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgets a connection tells neither end."""
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.3)
    port = str(make_url(postgres_url).port)
    database = Database(postgres_url.replace(f":{port}/", f":{silent.port}/"))
    try:
        for way in (database.begin, database.alone, database.read):
            async with way() as connection:
                await connection.execute(text("SELECT 1"))
            with pytest.raises(StorageUnavailable):
                await _fall_silent_within(way(), silent)
            async with asyncio.timeout(10), way() as connection:
                assert await connection.scalar(text("SELECT 3")) == 3
    finally:
        await database.close()


async def test_connections_that_nobody_needs_any_more_are_left_to_others(
    postgres_url: str, postgres_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause of the server every process opened all it may; the last one found no place."""
    monkeypatch.setattr(module, "IDLE_SESSION_SECONDS", 0.2)
    name = make_url(postgres_url).database
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608

    async def open_are(wanted: int) -> bool:
        return int(await asyncio.to_thread(postgres_server.sql, query)) == wanted

    database = Database(postgres_url)
    over = asyncio.Event()
    busy = [asyncio.create_task(_held(database, over)) for _ in range(5)]
    try:
        await until("all are busy", lambda: open_are(5))
        over.set()
        await asyncio.gather(*busy)
        await until("none is left", lambda: open_are(0))
        await database.ping()
    finally:
        await database.close()


async def _held(database: Database, over: asyncio.Event) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))
        while not over.is_set():
            await connection.execute(text("SELECT pg_sleep(0.02)"))


async def test_a_process_that_is_frozen_in_a_transaction_keeps_nobody_waiting(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNFINISHED_SECONDS", 0.3)
    frozen, awake = Database(postgres_url), Database(postgres_url)
    try:
        async with awake.begin() as connection:
            await connection.execute(text("CREATE TABLE head (size int)"))
            await connection.execute(text("INSERT INTO head VALUES (1)"))
        with pytest.raises(StorageUnavailable):
            await _freeze_while_another_works(frozen, awake)
        async with frozen.read() as connection:
            assert await connection.scalar(text("SELECT size FROM head")) == 3
    finally:
        await frozen.close()
        await awake.close()


async def _insert_and_fail(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO t VALUES (1)"))
        raise RuntimeError


async def test_reading_leaves_nothing_behind_and_writing_is_one_transaction(
    database: Database,
) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n int)"))
    with pytest.raises(RuntimeError):
        await _insert_and_fail(database)
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM t")) == 0
    async with database.begin() as connection:
        level = await connection.scalar(text("SHOW transaction_isolation"))
        assert level == "read committed"
        await connection.execute(text("INSERT INTO t VALUES (1)"))
        assert await asyncio.create_task(_count(database)) == 0
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM t")) == 1


async def _count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM t"))).scalar_one())


@pytest.fixture
async def table(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n int PRIMARY KEY)"))


@pytest.mark.usefixtures("table")
async def test_what_failed_in_the_middle_and_was_passed_over_is_not_taken_for_written(
    database: Database,
) -> None:
    async def passed_over() -> None:
        async with database.begin() as connection:
            await fetch(connection, "INSERT INTO t VALUES ($1)", [1])
            with contextlib.suppress(IntegrityError):
                await fetch(connection, "INSERT INTO t VALUES ($1)", [1])

    with pytest.raises(StorageUnavailable):
        await passed_over()

    assert await _count(database) == 0


@pytest.mark.usefixtures("table")
async def test_a_transaction_that_was_given_up_leaves_its_connection_as_it_was(
    database: Database,
) -> None:
    reached = asyncio.Event()

    async def given_up() -> None:
        async with database.begin() as connection:
            await fetch(connection, "INSERT INTO t VALUES ($1)", [1])
            reached.set()
            await fetch(connection, "SELECT pg_sleep($1)", [60])

    task = asyncio.create_task(given_up())
    await reached.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.begin() as connection:
        await fetch(connection, "INSERT INTO t VALUES ($1)", [2])

    assert await _count(database) == 1


def test_what_the_driver_finds_impossible_is_a_server_that_is_away_and_no_bug() -> None:
    """A backend ended between two parts of an answer; an innocent message went to quarantine."""
    with pytest.raises(StorageUnavailable), as_unavailable():
        raise InternalClientError("cannot switch to state")


@pytest.mark.usefixtures("table")
async def test_a_statement_of_ours_fails_as_any_other_does(
    database: Database, postgres_server: PostgreSQL
) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await fetch(connection, "INSERT INTO t VALUES ($1), ($1)", [1])
    with pytest.raises(DBAPIError):
        async with database.read() as connection:
            await fetch(connection, "SELECT 1 / $1::int", [0])

    async def interrupted() -> None:
        async with database.begin() as connection:
            await asyncio.to_thread(postgres_server.restart, kill=True)
            await fetch(connection, "INSERT INTO t VALUES ($1)", [1])

    with pytest.raises(StorageUnavailable):
        await interrupted()

    assert await _count(database) == 0


@pytest.mark.usefixtures("table")
async def test_one_statement_that_stands_alone_is_a_transaction(database: Database) -> None:
    async with database.alone() as connection:
        await fetch(connection, "INSERT INTO t VALUES ($1)", [1])
        assert await asyncio.create_task(_count(database)) == 1


_ENV = """
from sqlalchemy import MetaData
from broker.migrating import run_migrations
run_migrations(MetaData())
"""
_REVISION = """
from alembic import op
revision, down_revision = {revision!r}, {down!r}
def upgrade():
    op.execute("CREATE TABLE {table} (n int)")
    {then}
"""


async def test_a_migration_that_dies_in_the_middle_leaves_the_old_schema(
    tmp_path: Path, database_url: str
) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(_ENV)

    def revise(revision: str, down: str | None, then: str) -> None:
        text = _REVISION.format(revision=revision, down=down, table=f"t{revision}", then=then)
        (versions / f"{revision}.py").write_text(text)

    async def tables() -> set[str]:
        database = Database(database_url)
        async with database.read() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        await database.close()
        return set(names) - {"alembic_version"}

    revise("1", None, "")
    await asyncio.to_thread(upgrade, database_url, versions.parent)
    revise("2", "1", "")
    revise("3", "2", "raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(upgrade, database_url, versions.parent)
    assert await tables() == {"t1"}

    revise("3", "2", "")
    await asyncio.to_thread(upgrade, database_url, versions.parent)
    assert await tables() == {"t1", "t2", "t3"}


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite+aiosqlite:///{tmp_path}/one.db")
    async with opened.begin() as connection:
        await connection.execute(text("CREATE TABLE note (word TEXT)"))
    yield opened
    await opened.close()


async def test_cleaning_up_stops_no_writer_while_a_reader_is_still_reading(
    embedded: Database,
) -> None:
    async def clean_up() -> None:
        await embedded.scrub()

    async with embedded.read() as reading:
        await reading.execute(text("SELECT * FROM note"))
        cleaning = asyncio.create_task(clean_up())
        for _ in range(5):
            await asyncio.create_task(_note(embedded))
        assert not cleaning.done()

    await cleaning


async def test_who_begins_to_read_does_not_wait_for_who_writes(embedded: Database) -> None:
    async with embedded.begin() as writing:
        await writing.execute(text("INSERT INTO note VALUES ('not committed')"))

        assert await asyncio.create_task(_notes(embedded)) == 0


async def test_a_transaction_inside_a_transaction_is_refused(embedded: Database) -> None:
    """Each would hold what the other waits for: a snapshot, or the last free connection."""
    async with embedded.read():
        with pytest.raises(RuntimeError):
            await _note(embedded)
    async with embedded.begin():
        with pytest.raises(RuntimeError):
            await _notes(embedded)

    await _note(embedded)

    assert await _notes(embedded) == 1


async def _note(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO note VALUES ('kept')"))


async def _notes(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM note"))).scalar_one())
