"""Many rows into many tables at once.

On PostgreSQL everything that one transaction writes is one statement, with one array for each
column: it reads the same for any number of rows, so it is prepared once, and costs one round trip.
On SQLite, where nothing has to travel, each table is written in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Uuid,
    insert,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import UtcDateTime, fetch

_ARRAYS: tuple[tuple[type[Any], str], ...] = (
    (Uuid, "uuid[]"),
    (LargeBinary, "bytea[]"),
    (UtcDateTime, "timestamptz[]"),
    (Date, "date[]"),
    (Boolean, "boolean[]"),
    (SmallInteger, "smallint[]"),
    (BigInteger, "bigint[]"),
    (Integer, "integer[]"),
    (String, "text[]"),
)


class Change(NamedTuple):
    """An UPDATE or DELETE that goes with the rows."""

    sql: str
    """For PostgreSQL; `{0}`, `{1}` stand for the arguments, each with its type."""
    arguments: tuple[Any, ...]
    otherwise: Callable[[AsyncConnection], Awaitable[None]]
    """The same on SQLite."""


class Writing:
    """Gathers what a transaction writes; `send` does it. Rows of one table have the same keys."""

    def __init__(self) -> None:
        self._rows: dict[Table, list[Mapping[str, Any]]] = {}
        self._changes: list[Change] = []

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows; those of a serial column are numbered in this order."""
        if rows:
            self._rows.setdefault(table, []).extend(rows)

    def change(self, change: Change) -> None:
        """Add a change. It does not see the rows that go with it."""
        self._changes.append(change)

    async def send(
        self, connection: AsyncConnection, *, returning: tuple[Column[Any], ...] = ()
    ) -> list[Any]:
        """Write everything, in the caller's transaction.

        Args:
            returning: Columns of one table that rows are added to.

        Returns:
            What PostgreSQL has put there, for each of those rows; on SQLite nothing.
        """
        if connection.dialect.name == "postgresql":
            return await self._at_once(connection, returning)
        for table, rows in self._rows.items():
            await connection.execute(insert(table), rows)
        for change in self._changes:
            await change.otherwise(connection)
        return []

    async def _at_once(
        self, connection: AsyncConnection, returning: tuple[Column[Any], ...]
    ) -> list[Any]:
        if not self._rows and not self._changes:
            return []
        shape = tuple((table, tuple(rows[0])) for table, rows in self._rows.items())
        sql = _statement(shape, tuple(change.sql for change in self._changes), returning)
        arguments: list[Any] = [
            [row[name] for row in self._rows[table]] for table, names in shape for name in names
        ]
        for change in self._changes:
            arguments.extend(change.arguments)
        rows = await fetch(connection, sql, arguments)
        return rows if returning else []


@lru_cache(maxsize=64)
def _statement(
    shape: tuple[tuple[Table, tuple[str, ...]], ...],
    changes: tuple[str, ...],
    returning: tuple[Column[Any], ...],
) -> str:
    numbers = count(1)
    parts: list[str] = []
    answer = "1"
    for table, names in shape:
        columns = ", ".join(f'"{name}"' for name in names)
        arrays = ", ".join(f"${next(numbers)}::{_array(table, name)}" for name in names)
        part = f'INSERT INTO "{table.name}" ({columns}) SELECT * FROM unnest({arrays})'  # noqa: S608 (our own names)
        if any(table is column.table for column in returning):
            returned = ", ".join(f'"{column.name}"' for column in returning)
            answer = f"{returned} FROM w{len(parts)}"
            part += f" RETURNING {returned}"
        parts.append(part)
    for sql in changes:
        wanted = 1 + max(place for place in range(9) if f"{{{place}}}" in sql)
        parts.append(sql.format(*(f"${next(numbers)}" for _ in range(wanted))))
    named = ", ".join(f"w{number} AS ({part})" for number, part in enumerate(parts))
    return f"WITH {named} SELECT {answer}"


def _array(table: Table, name: str) -> str:
    kind = table.c[name].type
    for known, array in _ARRAYS:
        if isinstance(kind, known):
            return array
    raise TypeError(f"{table.name}.{name}")
