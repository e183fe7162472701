"""For what every message reads: a query that is built once.

On PostgreSQL it goes past SQLAlchemy, which takes longer over a short query than the server does,
and gets its keys as one array. SQLite gets the same query with a list of them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, Select, String, any_, literal_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.store.bulk import among, padded

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


class Listing:
    """A query that asks for nothing in particular. Its rows are alike on both databases, of columns
    whose values PostgreSQL's driver gives as they are: no JSON."""

    def __init__(self, query: Select[Any]) -> None:
        self._query = query
        self._text = _text(query)
        self._row = _row_of(query)

    async def __call__(self, connection: AsyncConnection) -> list[Any]:
        """The rows, with the columns as attributes."""
        if connection.dialect.name != "postgresql":
            return list(await connection.execute(self._query))
        return [self._row(*row) for row in await fetch(connection, self._text, ())]


class Lookup:
    """A query of which `key` is among what is asked for. Its rows are as those of `Listing`."""

    def __init__(self, query: Select[Any], key: Column[Any]) -> None:
        self._query = query.where(among(key))
        item = "text" if isinstance(key.type, String) else key.type.compile(dialect=_DIALECT)
        self._text = _text(query.where(key == any_(literal_column(f"$1::{item}[]"))))
        self._row = _row_of(query)

    async def __call__(self, connection: AsyncConnection, keys: Sequence[Any]) -> list[Any]:
        """The rows, with the columns as attributes."""
        if connection.dialect.name != "postgresql":
            rows = await connection.execute(self._query, {"ids": padded(keys)})
            return list(rows)
        return [self._row(*row) for row in await fetch(connection, self._text, [list(keys)])]


def _text(query: Select[Any]) -> str:
    return str(query.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def _row_of(query: Select[Any]) -> Callable[..., Any]:
    names = [str(column.key) for column in query.selected_columns]
    return namedtuple("Row", names)
