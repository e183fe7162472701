"""On PostgreSQL the hub's own process may not change history: its role has no right to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from broker.audit.log.store import INSERT_ONLY
from broker.clock import TurnedClock
from broker.hub.app import MIGRATIONS
from broker.migrating import upgrade
from tests.support.hub import World

SCRIPT = Path(__file__).parents[3] / "deploy" / "postgres" / "hub-role.sql"
REFUSED = "42501"
"""SQLSTATE insufficient_privilege: the rights, before any trigger."""


@pytest.fixture
async def as_hub(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a role that `hub-role.sql` gave its rights to, in a migrated database."""
    role = f"hub_{uuid4().hex[:12]}"
    await asyncio.to_thread(upgrade, postgres_url, MIGRATIONS)
    owner = create_async_engine(postgres_url)
    async with owner.begin() as connection:
        await connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
        lines = [line for line in SCRIPT.read_text().splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).replace(':"hub"', role).split(";"):
            if statement.strip():
                await connection.execute(text(statement))
    scheme, _, place = postgres_url.partition("://")
    yield f"{scheme}://{role}:{role}@{place.rpartition('@')[2]}"
    async with owner.begin() as connection:
        await connection.execute(text(f"DROP OWNED BY {role}"))
        await connection.execute(text(f"DROP ROLE {role}"))
    await owner.dispose()


async def test_the_hub_works_as_a_role_that_cannot_change_the_log(
    as_hub: str, tmp_path: Path
) -> None:
    world = World(tmp_path, TurnedClock(), database=as_hub, names=("it.nrm", "al.nrm"))
    async with world.serving() as served:
        it, _, agreement = await served.pair()
        await it.send("al.nrm", agreement=agreement, grant=await it.grant("al.nrm"))
        await served.hub.sequencer.run_once()
        ready = await served.http.get("/readyz")
        head = await served.http.get("/log/checkpoint")
    assert ready.status_code == 200, ready.text
    assert int(head.text.split("\n")[1]) > 2


async def test_the_hubs_role_is_refused_whatever_would_change_history(as_hub: str) -> None:
    engine = create_async_engine(as_hub)
    tried = [
        statement.format(table=table)
        for table in INSERT_ONLY
        for statement in (
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "DROP TABLE {table} CASCADE",
            "DROP TRIGGER {table}_insert_only ON {table}",
            "ALTER TABLE {table} DISABLE TRIGGER ALL",
        )
    ]
    tried += [
        "UPDATE log_entry SET body = ''",
        "UPDATE log_tile SET root = ''",
        "UPDATE log_checkpoint SET note = ''",
        "UPDATE log_cosignature SET line = ''",
        "DROP FUNCTION log_insert_only() CASCADE",
        "CREATE OR REPLACE FUNCTION log_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "UPDATE alembic_version SET version_num = 'x'",
        "SET session_replication_role = replica",
        "SELECT partitions_ahead('log_entry', now(), '1 day')",
        "SELECT partitions_drop_empty('log_entry', now())",
        "CREATE TABLE planted (one integer)",
        "DROP TABLE payload CASCADE",
    ]
    for statement in tried:
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError) as caught:
                await connection.execute(text(statement))
            assert getattr(caught.value.orig, "sqlstate", None) == REFUSED, statement
    await engine.dispose()
