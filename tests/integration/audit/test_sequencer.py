"""A leaf whose decision committed is in the log exactly once, whatever dies and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.merkle import EMPTY_ROOT, leaf_hash, tree_root
from broker.audit.log.note import NoteSigner
from broker.audit.log.sequencer import MAX_DELAY, Sequencer
from broker.audit.log.store import (
    INSERT_ONLY,
    StoredCheckpoint,
    add_leaves,
    create_log_tables,
    entries,
    log_size,
    log_tables,
    newest_checkpoint,
)
from broker.database import Database, new_metadata
from schemas.errors import LogInconsistent, LogUnavailable, StorageUnavailable
from tests.support.audit_log import ORIGIN, LogKeys
from tests.support.stored_log import StoredLog
from tests.support.waiting import until


class Abort(Exception):
    """The process stops here."""


async def head_of(log: StoredLog) -> StoredCheckpoint:
    async with log.database.read() as connection:
        head = await newest_checkpoint(connection, log.tables)
    assert head is not None
    open_checkpoint(head.note.encode(), log.keys.verifiers)
    return head


async def stored(log: StoredLog) -> list[bytes]:
    async with log.database.read() as connection:
        return await entries(connection, log.tables, start=0, limit=10**6)


async def pending(log: StoredLog) -> int:
    async with log.database.read() as connection:
        return int(
            await connection.scalar(select(func.count()).select_from(log.tables.leaf_pending)) or 0
        )


async def assert_log_holds_everything(log: StoredLog) -> None:
    bodies = await stored(log)
    head = await head_of(log)
    assert sorted(bodies) == sorted(log.added)
    assert head.size == len(bodies)
    assert head.root == tree_root([leaf_hash(body) for body in bodies])
    assert await pending(log) == 0


async def test_a_new_log_is_signed_empty_so_that_it_can_be_followed_from_the_start(
    log: StoredLog,
) -> None:
    assert not log.sequencer.healthy(log.clock.now())
    assert await log.sequencer.run_once() == 0
    head = await head_of(log)
    assert (head.size, head.root) == (0, EMPTY_ROOT)
    assert log.sequencer.healthy(log.clock.now())


@pytest.mark.parametrize("steps", [(1, 1, 1), (255, 1, 1), (256, 256), (600, 1, 500)])
async def test_leaves_are_integrated_in_the_order_in_which_they_were_moved(
    log: StoredLog, steps: tuple[int, ...]
) -> None:
    for step in steps:
        await log.grow(step)
        assert await stored(log) == log.added
        await assert_log_holds_everything(log)


async def test_a_limited_run_leaves_the_rest_for_the_next(log: StoredLog) -> None:
    await log.add(10)
    assert [await log.sequencer.run_once(limit=4) for _ in range(4)] == [4, 4, 2, 0]
    await assert_log_holds_everything(log)


async def test_a_decision_that_rolls_back_leaves_no_leaf(log: StoredLog) -> None:
    async def decide_and_fail() -> None:
        async with log.database.begin() as connection:
            await add_leaves(connection, log.tables, [b"{}"])
            raise Abort

    with pytest.raises(Abort):
        await decide_and_fail()
    assert await log.sequencer.run_once() == 0
    assert await stored(log) == []


async def test_an_idle_log_signs_again_after_an_hour_and_not_before(log: StoredLog) -> None:
    await log.grow(3)
    first = await head_of(log)
    await log.turn(minutes=59)
    await log.sequencer.run_once()
    assert await head_of(log) == first
    await log.turn(minutes=2)
    await log.sequencer.run_once()
    later = await head_of(log)
    assert (later.size, later.root) == (first.size, first.root)
    assert later.issued_at - first.issued_at == timedelta(minutes=61)
    dated = open_checkpoint(later.note.encode(), log.keys.verifiers).dated_by_log
    assert dated == later.issued_at


@contextmanager
def told(log: StoredLog, when: str, listener: Callable[..., None]) -> Iterator[None]:
    """`listener` is called at each of these moments; on PostgreSQL the driver commits."""
    if when == "commit" and log.database.dialect == "postgresql":
        execute = asyncpg.Connection.execute

        async def listened(self: asyncpg.Connection, query: str, *more: Any, **named: Any) -> Any:
            if query == "COMMIT":
                listener()
            return await execute(self, query, *more, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncpg.Connection, "execute", listened)
            yield
        return
    engine = log.database.engine.sync_engine
    event.listen(engine, when, listener)
    try:
        yield
    finally:
        event.remove(engine, when, listener)


@pytest.mark.parametrize("when", ["before_cursor_execute", "after_cursor_execute", "commit"])
async def test_a_crash_at_any_statement_loses_nothing_and_doubles_nothing(
    log: StoredLog, when: str
) -> None:
    await log.grow(250)
    before = await head_of(log)
    await log.add(20)
    crashes = 0
    while True:
        seen = 0

        def count(*_: object, stop_at: int = crashes) -> None:
            nonlocal seen
            seen += 1
            if seen > stop_at:
                raise Abort

        with told(log, when, count):
            try:
                await log.sequencer.run_once()
            except (Abort, DBAPIError):
                assert not log.sequencer.healthy(log.clock.now())
            else:
                break
        crashes += 1
        assert crashes < 50
        assert await head_of(log) == before
        assert await pending(log) == 20
        assert len(await stored(log)) == 250
    # Lock, checkpoint, size, edge, pending, entries, tiles, checkpoint: each was hit once.
    assert crashes >= (1 if when == "commit" else 8)
    await assert_log_holds_everything(log)
    assert log.sequencer.healthy(log.clock.now())


async def test_a_key_that_cannot_sign_moves_nothing(
    log: StoredLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.grow(5)
    await log.add(5)

    def broken(*_: object) -> None:
        raise OSError("the token was pulled out")

    with monkeypatch.context() as patch:
        patch.setattr(NoteSigner, "sign", broken)
        with pytest.raises(LogUnavailable):
            await log.sequencer.run_once()
    assert not log.sequencer.healthy(log.clock.now())
    assert await pending(log) == 5
    await log.sequencer.run_once()
    assert log.sequencer.healthy(log.clock.now())
    await assert_log_holds_everything(log)


async def test_health_turns_red_when_runs_stop_and_green_again_by_itself(log: StoredLog) -> None:
    await log.grow(1)
    await log.turn(seconds=MAX_DELAY.total_seconds() + 1)
    assert not log.sequencer.healthy(log.clock.now())
    await log.sequencer.run_once()
    assert log.sequencer.healthy(log.clock.now())


async def test_health_turns_red_when_a_leaf_waits_too_long(log: StoredLog) -> None:
    await log.add(10)
    await log.turn(seconds=61)
    await log.sequencer.run_once(limit=4)
    assert not log.sequencer.healthy(log.clock.now())
    await log.sequencer.run_once()
    assert log.sequencer.healthy(log.clock.now())


async def test_a_tree_that_is_not_the_signed_one_is_never_signed_over(log: StoredLog) -> None:
    await log.grow(300)
    before = await head_of(log)
    entry = log.tables.entry
    async with log.database.begin() as connection:
        await connection.execute(
            entry.insert().values(seq=300, body=b"slipped in", leaf_hash=leaf_hash(b"slipped in"))
        )
    await log.add(1)
    with pytest.raises(LogInconsistent):
        await log.sequencer.run_once()
    assert not log.sequencer.healthy(log.clock.now())
    assert await head_of(log) == before
    assert await pending(log) == 1


async def test_a_changed_leaf_hash_is_noticed_before_signing(log: StoredLog) -> None:
    await log.grow(10)
    async with log.database.begin() as connection:
        if log.database.dialect == "sqlite":
            await connection.execute(text("DROP TRIGGER log_entry_no_update"))
        else:
            await connection.execute(
                text("ALTER TABLE log_entry DISABLE TRIGGER log_entry_insert_only")
            )
        await connection.execute(
            log.tables.entry.update()
            .where(log.tables.entry.c.seq == 4)
            .values(leaf_hash=leaf_hash(b"another"))
        )
    with pytest.raises(LogInconsistent):
        await log.sequencer.run_once()


async def test_a_database_of_another_log_is_refused(log: StoredLog) -> None:
    await log.grow(1)
    other = LogKeys("other.example/log")
    sequencer = Sequencer(
        log.database,
        log.tables,
        origin="other.example/log",
        signers=other.signers,
        clock=log.clock,
    )
    with pytest.raises(LogInconsistent):
        await sequencer.run_once()
    with pytest.raises(ValueError, match="name"):
        Sequencer(log.database, log.tables, origin=ORIGIN, signers=other.signers, clock=log.clock)


@pytest.mark.parametrize("table", INSERT_ONLY)
@pytest.mark.parametrize("verb", ["update", "delete", "truncate", "replace"])
async def test_history_cannot_be_changed_by_sql(log: StoredLog, table: str, verb: str) -> None:
    await log.grow(256)
    async with log.database.begin() as connection:
        await connection.execute(
            log.tables.cosignature.insert().values(
                size=256, name="w", line="x", dated=log.clock.now()
            )
        )
    postgresql = log.database.dialect == "postgresql"
    column = {"log_entry": "body", "log_tile": "hashes"}.get(table, "size")
    delete = f"DELETE FROM {table}"  # noqa: S608 (our own names)
    again = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"  # noqa: S608
    statements = {
        "update": [f"UPDATE {table} SET {column} = {column}"],  # noqa: S608
        "delete": [delete],
        "truncate": [f"TRUNCATE {table}" if postgresql else delete],
        "replace": ["SET session_replication_role = replica", delete] if postgresql else [again],
    }[verb]

    async def rewrite() -> None:
        async with log.database.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    before = await stored(log)
    with pytest.raises(DBAPIError, match="insert-only"):
        await rewrite()
    assert await stored(log) == before
    await log.grow(1)


async def test_tables_may_be_asked_for_again_without_harm(log: StoredLog) -> None:
    metadata = new_metadata()
    log_tables(metadata)
    async with log.database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await log.grow(1)


async def test_run_integrates_when_woken_and_survives_errors(
    log: StoredLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 1
    once = Sequencer.run_once

    async def flaky(self: Sequencer, limit: int = 4096) -> int:
        nonlocal failures
        if failures:
            failures -= 1
            raise StorageUnavailable("once")
        return await once(self, limit)

    monkeypatch.setattr(Sequencer, "run_once", flaky)
    task = asyncio.create_task(log.sequencer.run(interval=timedelta(milliseconds=20)))
    try:
        await log.add(3)
        log.sequencer.wake()

        async def all_there() -> bool:
            async with log.database.read() as connection:
                return await log_size(connection, log.tables) == 3

        await until("three entries", all_there)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await log.sequencer.run_once()
    await assert_log_holds_everything(log)


async def test_a_second_sequencer_begins_only_when_the_first_has_committed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hubs on one database. The second has read nothing yet: it waits for the head's row."""
    database, other = Database(postgres_url), Database(postgres_url)
    async with database.begin() as connection:
        await connection.run_sync(create_log_tables)
    log = StoredLog(database, log_tables(new_metadata()), LogKeys())
    await log.grow(1)
    await log.add(3)
    one, two = log.sequencer, log.another_sequencer(other)
    signing, may_sign = asyncio.Event(), asyncio.Event()
    sign = one._sign

    async def slowly(*given: Any) -> None:
        signing.set()
        await may_sign.wait()
        await sign(*given)

    monkeypatch.setattr(one, "_sign", slowly)
    first = asyncio.create_task(one.run_once())
    await signing.wait()
    second = asyncio.create_task(two.run_once())
    waits_for: str | None = None
    while waits_for is None:
        assert not second.done()
        async with database.read() as connection:
            waits_for = await connection.scalar(
                text(
                    "SELECT query FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
    may_sign.set()
    moved = (await first, await second)

    assert "FROM log_head" in waits_for
    assert moved == (3, 0)
    await assert_log_holds_everything(log)
    await database.close()
    await other.close()


async def test_two_sequencers_and_many_writers_lose_and_double_nothing(log: StoredLog) -> None:
    """On PostgreSQL each has connections of its own; on SQLite they share the one writer's lock."""
    other = Database(log.database.url) if log.database.dialect == "postgresql" else log.database
    one, two = log.sequencer, log.another_sequencer(other)
    writing = True

    async def sequence(sequencer: Sequencer) -> None:
        while writing:
            await sequencer.run_once(limit=7)
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        for _ in range(8):
            leaves = log.leaves(3)
            async with log.database.begin() as connection:
                await add_leaves(connection, log.tables, leaves)
                # Commits in another order than that of the ids.
                await asyncio.sleep(0.001 * (number * 7 % 5))

    tasks = [asyncio.create_task(sequence(each)) for each in (one, two)]
    await asyncio.gather(*(write(number) for number in range(6)))
    writing = False
    await asyncio.gather(*tasks)
    while await one.run_once():
        pass
    await assert_log_holds_everything(log)
    if other is not log.database:
        await other.close()


async def test_a_leaf_that_commits_after_later_ids_is_not_passed_over(log: StoredLog) -> None:
    early = log.leaves(1)
    async with log.database.begin() as connection:
        await add_leaves(connection, log.tables, early)
        if log.database.dialect == "postgresql":  # SQLite has one writer at a time
            await asyncio.create_task(log.grow(2))
            assert len(await asyncio.create_task(stored(log))) == 2
    await log.sequencer.run_once()
    await assert_log_holds_everything(log)


@pytest.mark.parametrize("size", [0, 65_536])
async def test_a_leaf_that_no_bundle_could_hold_is_refused_with_its_decision(
    log: StoredLog, size: int
) -> None:
    async def decide() -> None:
        async with log.database.begin() as connection:
            await add_leaves(connection, log.tables, [b"{}", bytes(size)])

    with pytest.raises(ValueError, match="too large"):
        await decide()
    assert await pending(log) == 0
