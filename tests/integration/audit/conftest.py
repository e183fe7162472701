"""A log in each of the two databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from broker.audit.log.store import create_log_tables, log_tables
from broker.database import Database, new_metadata
from tests.support.audit_log import LogKeys
from tests.support.stored_log import StoredLog


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[StoredLog]:
    database = Database(database_url)
    async with database.begin() as connection:
        await connection.run_sync(create_log_tables)
    yield StoredLog(database, log_tables(new_metadata()), LogKeys())
    await database.close()
