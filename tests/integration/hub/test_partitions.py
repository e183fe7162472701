"""What is sealed and what is technical gives its room back: in partitions on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Column, MetaData, Table, delete, func, insert, select, text

from broker.clock import TurnedClock
from broker.database import Database
from broker.hub.app import MIGRATIONS
from broker.hub.ending import deadlines, retention
from broker.hub.store import partitions, payload
from broker.hub.store.tables import ENVELOPE, PAYLOAD, QUARANTINE
from broker.migrating import upgrade
from schemas.evidence import Fact
from tests.support.hub import Served, World, turned_clock

PARTED = ("payload", "attachment_chunk", "quarantine")
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> TurnedClock:
    return turned_clock()


@pytest.fixture
async def server(tmp_path: Path, clock: TurnedClock, postgres_url: str) -> AsyncIterator[Served]:
    """A hub on PostgreSQL, with the partitions of now."""
    world = World(tmp_path, clock, database=postgres_url, names=("it.nrm", "al.nrm"))
    async with world.serving() as served:
        await retention.prepare(served.hub)
        yield served


async def asked(served: Served, sql: str, **given: Any) -> list[Any]:
    async with served.hub.database.begin() as connection:
        return list((await connection.execute(text(sql), given)).scalars())


async def parts_of(served: Served, table: str) -> set[str]:
    return set(
        await asked(
            served,
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = CAST(:name AS text)::regclass",
            name=table,
        )
    )


async def largest_of(served: Served) -> int:
    """Bytes on disk of the largest partition of any table, with indexes and long values."""
    found = await asked(
        served,
        "SELECT max(pg_total_relation_size(inhrelid)) FROM pg_inherits "
        "WHERE inhparent = ANY (CAST(:names AS text[])::regclass[])",
        names=list(PARTED),
    )
    return int(found[0])


async def turn(served: Served, clock: TurnedClock, by: timedelta) -> None:
    clock.turn(by)
    await served.hub.sequencer.run_once()


async def go_on(served: Served, clock: TurnedClock, by: timedelta) -> None:
    """Let time pass, and then the hub's loops work."""
    await turn(served, clock, by)
    while await deadlines.run_once(served.hub):
        pass
    await retention.run_once(served.hub)


async def test_when_all_was_delivered_and_its_time_is_over_no_partition_holds_any_room(
    server: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    empty, first = await largest_of(server), await parts_of(server, "payload")
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(20)]
    async with server.hub.database.begin() as connection:
        suspect = {
            "claimed_kid": "k" * 43,
            "claimed_by": "al.nrm",
            "code": "bad-signature",
            "digest": bytes(32),
            "raw": bytes(20_000),
            "recorded_at": clock.now(),
        }
        await connection.execute(insert(QUARANTINE), [suspect] * 20)
    full = await largest_of(server)
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in sent]))

    for _ in range(12):
        await go_on(server, clock, 10 * DAY)

    assert full > empty + 20 * len(sent[0].raw)
    assert await largest_of(server) == empty
    assert await parts_of(server, "payload") & first == {"payload_rest"}
    assert len(await parts_of(server, "payload")) <= len(first) + 1


async def test_one_message_that_nobody_fetches_keeps_no_partition_and_is_not_lost(
    server: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    expires_at = clock.now() + 60 * DAY
    late = await it.send("al.nrm", agreement=agreement, grant=grant, expires_at=expires_at)
    done = await it.send("al.nrm", agreement=agreement, grant=grant)
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, done)]))
    (first,) = await asked(server, "SELECT DISTINCT tableoid::regclass::text FROM payload")

    await go_on(server, clock, 9 * DAY)

    assert first not in await parts_of(server, "payload")
    assert await asked(server, "SELECT envelope_id FROM payload") == [late.content.id]
    assert late.raw.decode() in [item["jws"] for item in await al.mailbox()]


async def test_an_id_is_known_again_when_its_bytes_lie_in_another_partition(
    server: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    expires_at = clock.now() + 60 * DAY
    one = await it.send("al.nrm", agreement=agreement, grant=grant, expires_at=expires_at)
    await go_on(server, clock, 9 * DAY)

    again = await it.submit(one)
    other = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, id=one.content.id))
    )

    assert again.status_code == 200
    assert other.json()["code"] == "id-conflict"
    assert await asked(server, "SELECT count(*) FROM payload") == [1]


async def test_no_partition_is_dropped_with_a_row_in_it_whoever_asks(server: Served) -> None:
    it, _, agreement = await server.pair()
    await it.send("al.nrm", agreement=agreement, grant=await it.grant("al.nrm"))
    (holding,) = await asked(server, "SELECT tableoid::regclass::text FROM payload")
    empty = await parts_of(server, "payload") - {holding, "payload_rest"}

    async with server.hub.database.begin() as connection:
        dropped = await partitions.drop_empty(
            connection, "payload", before=server.hub.clock.now() + 900 * DAY
        )

    assert dropped == len(empty) > 0
    assert await parts_of(server, "payload") == {holding, "payload_rest"}


async def test_a_backup_that_reads_delays_the_dropping_and_nothing_else(
    server: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    first = await parts_of(server, "payload")
    reader = Database(server.hub.database.url)
    async with reader.engine.connect() as connection:
        await connection.execute(text("SELECT count(*) FROM payload"))
        await go_on(server, clock, 9 * DAY)
        kept = await parts_of(server, "payload")
        await it.send("al.nrm", agreement=agreement, grant=grant)
        await connection.rollback()
    await reader.close()
    await retention.run_once(server.hub)

    assert first <= kept
    assert await parts_of(server, "payload") & first == {"payload_rest"}


async def test_what_comes_when_no_partition_was_made_is_kept_and_goes_in_its_time(
    server: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    await turn(server, clock, 40 * DAY)
    sent = await it.send("al.nrm", agreement=agreement, grant=grant)
    where = await asked(server, "SELECT tableoid::regclass::text FROM payload")
    await retention.prepare(server.hub)
    handed = [item["jws"] for item in await al.mailbox()]
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sent)]))

    await go_on(server, clock, 8 * DAY)

    assert where == ["payload_rest"]
    assert sent.raw.decode() in handed
    assert await asked(server, "SELECT count(*) FROM payload") == [0]


async def test_partitions_never_overlap_when_another_time_is_set_for_keeping(
    server: Served, clock: TurnedClock
) -> None:
    made = []  # of a day each, by the hub itself, there are those of the next two days
    for days, turned in ((1, 0), (7, 1), (0.2, 1), (7, 30), (1, 3)):
        clock.turn(turned * DAY)
        async with server.hub.database.begin() as connection:
            made.append(
                await partitions.make_ahead(
                    connection, "payload", now=clock.now(), period=timedelta(days=days)
                )
            )
    assert [count > 0 for count in made] == [False, True, False, True, False]


async def test_who_withdraws_while_a_row_is_carried_on_destroys_it_all_the_same(
    server: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await server.pair()
    grant = await it.grant("al.nrm")
    expires_at = clock.now() + 60 * DAY
    sent = await it.send("al.nrm", agreement=agreement, grant=grant, expires_at=expires_at)
    await turn(server, clock, 20 * DAY)
    while await deadlines.run_once(server.hub):
        pass

    async with server.hub.database.begin() as connection:
        now = clock.now()
        moved = await payload.carry_on(connection, now, now, 10)
        withdrawing = asyncio.create_task(it.submit(it.withdrawal(grant, "al.nrm")))
        while not await asyncio.create_task(_somebody_waits(server)):
            assert not withdrawing.done()
    answer = await withdrawing

    assert moved == 1
    assert answer.status_code == 201
    left = await asked(server, "SELECT envelope_id FROM payload")
    assert sent.content.id not in left


async def _somebody_waits(served: Served) -> bool:
    return bool(await asked(served, "SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_a_database_of_before_is_brought_along_with_what_is_sealed_in_it(
    database_url: str, clock: TurnedClock
) -> None:
    """The envelope's row is written as the schema before had it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = database_url
    await asyncio.to_thread(command.upgrade, config, "0008")
    moment = clock.now()
    as_it_was = Table(
        "envelope",
        MetaData(),
        *(Column(column.name, column.type) for column in (*ENVELOPE.columns, *PAYLOAD.columns[2:])),
    )
    row = {
        **dict.fromkeys(("id", "thread", "evidence_id"), UUID(int=7)),
        **dict.fromkeys(("sender", "recipient", "lane", "kind", "incarnation", "signed_by"), "x"),
        **dict.fromkeys(("size", "suite", "stream_number", "directory_version", "standing"), 1),
        **dict.fromkeys(("issued_at", "accepted_at", "expires_at", "standing_at"), moment),
        "reply": False,
        "digest": bytes(32),
        "raw": b"sealed",
        "to_keys": "k",
    }
    before = Database(database_url)
    async with before.begin() as connection:
        await connection.execute(insert(as_it_was), [row])
    await before.close()

    await asyncio.to_thread(upgrade, database_url, MIGRATIONS)

    database = Database(database_url)
    async with database.begin() as connection:
        found = (await connection.execute(select(PAYLOAD))).one()
        await connection.execute(delete(PAYLOAD))
        assert await connection.scalar(select(func.count()).select_from(ENVELOPE)) == 1
    await database.close()
    assert (found.raw, found.scopes, found.to_keys) == (b"sealed", "", "k")
    assert (found.envelope_id.int, found.kept_at) == (7, moment)
