"""Bringing a database to the newest schema (Alembic), whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import URL, Connection, MetaData, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from broker.database import as_unavailable, prepare_sqlite

_MIGRATING = 7_201_504_921
"""The advisory lock of who migrates: any number that no other program on this database uses."""


def upgrade(url: str, migrations: Path) -> None:
    """Bring a database to the newest schema (Alembic, expand then contract). Blocking.

    All that is missing is one transaction: whoever dies in the middle leaves the old schema.

    Raises:
        StorageUnavailable: It cannot be reached or written.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["url"] = url
    with as_unavailable():
        command.upgrade(config, "head")


def run_migrations(metadata: MetaData) -> None:
    """What the `env.py` of either side does when Alembic loads it."""

    def run(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            # Two processes may start at once; and nobody queues behind traffic for ever.
            connection.execute(text("SET lock_timeout = '10s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            context.run_migrations()

    url = make_url(context.config.attributes["url"])
    if url.get_backend_name() == "sqlite":
        _migrate_sqlite(url, run)
    else:
        asyncio.run(_migrate(url, run))


def _migrate_sqlite(url: URL, run: Callable[[Connection], None]) -> None:
    # Nothing here is concurrent, so it is done without the asynchronous driver's thread. A table
    # that is made anew under another name must not take along what refers to the old one.
    engine = create_engine(url.set(drivername="sqlite"), poolclass=NullPool)
    prepare_sqlite(engine, serving=False)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()


async def _migrate(url: URL, run: Callable[[Connection], None]) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()
