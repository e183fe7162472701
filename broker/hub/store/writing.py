"""Many rows into many tables at once.

On PostgreSQL everything that one transaction writes is one statement, with one array for each
column: it reads the same for any number of rows (of more than a few), so it is prepared once, and
costs one round trip.
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

_TYPES: tuple[tuple[type[Any], str], ...] = (
    (Uuid, "uuid"),
    (LargeBinary, "bytea"),
    (UtcDateTime, "timestamptz"),
    (Date, "date"),
    (Boolean, "boolean"),
    (SmallInteger, "smallint"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (String, "text"),
)


FEW = 2
"""Up to so many rows of a table are written out: a third less for the server than arrays."""


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
        # All or none: each combination of numbers is another statement to prepare.
        few = all(len(rows) <= FEW for rows in self._rows.values())
        shape = tuple(
            (table, tuple(rows[0]), len(rows) if few else 0) for table, rows in self._rows.items()
        )
        sql = _statement(shape, tuple(change.sql for change in self._changes), returning)
        arguments: list[Any] = []
        for table, names, _ in shape:
            rows = self._rows[table]
            if few:
                arguments += [row[name] for row in rows for name in names]
            else:
                arguments += [[row[name] for row in rows] for name in names]
        for change in self._changes:
            arguments.extend(change.arguments)
        answer = await fetch(connection, sql, arguments)
        return answer if returning else []


@lru_cache(maxsize=256)
def _statement(
    shape: tuple[tuple[Table, tuple[str, ...], int], ...],
    changes: tuple[str, ...],
    returning: tuple[Column[Any], ...],
) -> str:
    numbers = count(1)
    parts: list[str] = []
    answer = "1"
    for table, names, written in shape:
        columns = ", ".join(f'"{name}"' for name in names)
        types = [_type(table, name) for name in names]
        if written:
            rows = (
                ", ".join(f"${next(numbers)}::{kind}" for kind in types) for _ in range(written)
            )
            given = f"VALUES {', '.join(f'({row})' for row in rows)}"
        else:
            arrays = ", ".join(f"${next(numbers)}::{kind}[]" for kind in types)
            given = f"SELECT * FROM unnest({arrays})"  # noqa: S608 (our own names)
        part = f'INSERT INTO "{table.name}" ({columns}) {given}'
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


def _type(table: Table, name: str) -> str:
    kind = table.c[name].type
    for known, its_name in _TYPES:
        if isinstance(kind, known):
            return its_name
    raise TypeError(f"{table.name}.{name}")
