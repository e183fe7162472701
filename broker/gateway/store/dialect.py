"""The one thing that PostgreSQL and SQLite spell differently: insert unless it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of any columns."""


def insert_for(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An `INSERT` that knows `ON CONFLICT`, in the connection's dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


async def insert_new(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert one row unless its key is taken; True if it was new."""
    key = next(iter(table.primary_key.columns))
    statement = insert_for(connection, table).values(**values).on_conflict_do_nothing()
    return (await connection.execute(statement.returning(key))).first() is not None


async def upsert(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, Any],
    *,
    key: Sequence[str],
) -> None:
    """Insert one row, or replace what is not its key."""
    statement = insert_for(connection, table).values(**values)
    rest = {name: statement.excluded[name] for name in values if name not in key}
    if rest:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=list(key), set_=rest)
        )
    else:
        await connection.execute(statement.on_conflict_do_nothing())
