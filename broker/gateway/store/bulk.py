"""Many rows in one statement whose text does not depend on how many they are.

A `VALUES` list is as long as its rows: each length is another statement to build, to parse and to
plan. Here PostgreSQL gets one array a column instead, so that a statement is prepared once for
all. SQLite has no network between and no arrays: it gets the rows one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, String, Table, Text, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

_T = TypeVar("_T")
Names = tuple[str, ...]


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Names = (),
    replace: Names = (),
) -> None:
    """Insert rows that all have the same columns.

    Args:
        key: A row whose key is taken is left out, or replaces what `replace` names.
    """
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        statement = _from_arrays(table, names, key, replace)
        await connection.execute(statement, _columns(names, rows))
    else:
        await connection.execute(_one_by_one(table, names, key, replace), list(rows))


def padded(values: Sequence[_T]) -> list[_T]:
    """The values, the last one repeated up to a power of two: for `IN`, in few lengths."""
    wanted = 1 << max(len(values) - 1, 0).bit_length()
    return [*values, *list(values[-1:]) * (wanted - len(values))]


def one_of(given: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """`IN` with the values in the text: neither database uses a partial index for a parameter."""
    return given.in_(
        bindparam(None, list(values), expanding=True, literal_execute=True, type_=String())
    )


def batches(items: Sequence[_T], size: int = 256) -> Iterator[Sequence[_T]]:
    """In pieces that are far below the databases' limits on parameters."""
    return (items[start : start + size] for start in range(0, len(items), size))


def among(given: ColumnElement[Any], name: str = "ids") -> ColumnElement[bool]:
    """`given IN` a list that comes with each execution: for a statement that is built once. Building
    a statement takes longer than the rest of its way to the server; give it a `padded` list."""
    return given.in_(bindparam(name, expanding=True))


@cache
def _from_arrays(table: Table, names: Names, key: Names, replace: Names) -> Any:
    arrays = [bindparam(name, type_=postgresql.ARRAY(_item(table.c[name]))) for name in names]
    given = (
        func.unnest(*arrays)
        .table_valued(*(column(name, _item(table.c[name])) for name in names))
        .render_derived()
    )
    statement = postgresql.insert(table).from_select(
        list(names), select(*(given.c[name] for name in names))
    )
    return _on_conflict(statement, key, replace) if key else statement


@cache
def _one_by_one(table: Table, names: Names, key: Names, replace: Names) -> Any:
    statement = sqlite.insert(table).values({name: bindparam(name) for name in names})
    return _on_conflict(statement, key, replace) if key else statement


def _on_conflict(statement: Any, key: Names, replace: Names) -> Any:
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=list(key))
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in replace}
    )


def _item(given: Column[Any]) -> TypeEngine[Any]:
    # As text without a length: a cast to a shorter one would cut silently, the insert refuses.
    return Text() if isinstance(given.type, String) else given.type


def _columns(names: Names, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}
