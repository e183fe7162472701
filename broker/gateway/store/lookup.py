"""For what every message reads: a query that is built once.

On PostgreSQL it goes past SQLAlchemy, which takes longer over a short query than the server does,
and gets its keys as one array. SQLite gets the same query with a list of them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, String, any_, literal_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.store.bulk import among, padded

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def given(number: int, item: str) -> str:
    """An array that is an argument, for `ANY` and `unnest`, its length hidden from the planner.

    It would count the values, find a plan for so few cheaper than one for any number, and plan the
    statement anew each time, which takes longer than running it.
    """
    return f"(SELECT ${number}::{item}[])::{item}[]"


_With = Callable[[ColumnElement[bool]], Select[Any]]


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

    def __init__(self, query: Select[Any] | _With, key: Column[Any]) -> None:
        """
        Args:
            query: Is asked where `key` is among them; or a function that says where in a query
                this condition goes.
        """
        made: _With = query.where if isinstance(query, Select) else query
        self._query = made(among(key))
        item = "text" if isinstance(key.type, String) else key.type.compile(dialect=_DIALECT)
        self._text = _text(made(key == any_(literal_column(given(1, str(item))))))
        self._row = _row_of(self._query)

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
