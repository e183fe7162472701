"""Rows of several tables in one statement: one journey to PostgreSQL for all that belongs together.

The text depends on which tables and columns there are and not on how many rows, so that it is
prepared once. SQLite, which has no network between, gets one statement for each table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, String, Table, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[Mapping[str, Any]]
_Shape = tuple[tuple[Table, tuple[str, ...]], ...]


async def insert_together(connection: AsyncConnection, *groups: tuple[Table, Rows]) -> None:
    """Insert rows; those of one table all have the same columns. Tables in an order that their
    foreign keys allow; one may stand here more than once."""
    wanted = [(table, rows) for table, rows in _merged(groups) if rows]
    if not wanted:
        return
    if connection.dialect.name != "postgresql":
        for table, rows in wanted:
            await connection.execute(insert(table), [dict(row) for row in rows])
        return
    shape = tuple((table, tuple(rows[0])) for table, rows in wanted)
    arrays = [
        [row[name] for row in rows]
        for (_, names), (_, rows) in zip(shape, wanted, strict=True)
        for name in names
    ]
    await connection.exec_driver_sql(_insert_text(shape), tuple(arrays))


async def insert_missing(connection: AsyncConnection, table: Table, rows: Rows) -> set[Any]:
    """Insert the rows whose primary key is free; returns the keys of those, as tuples.

    Two that insert the same keys at once should both sort them, so that they never wait in a ring.
    """
    if not rows:
        return set()
    key = tuple(column.name for column in table.primary_key.columns)
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        text = _missing_text(table, names, key)
        arrays = tuple([row[name] for row in rows] for name in names)
        return {tuple(row) for row in await connection.exec_driver_sql(text, arrays)}
    statement = sqlite.insert(table).on_conflict_do_nothing()
    result = await connection.execute(
        statement.returning(*table.primary_key.columns), [dict(row) for row in rows]
    )
    return {tuple(row) for row in result}


async def update_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Rows,
    *,
    key: str,
    only: tuple[str, tuple[str, ...]] | None = None,
) -> None:
    """Set the other columns of the rows with these keys.

    Args:
        only: A text column and its values: rows in which it holds another are left alone.
    """
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        arrays = [[row[name] for row in rows] for name in names]
        await connection.exec_driver_sql(_update_text(table, names, key, only), tuple(arrays))
        return
    statement = update(table).where(table.c[key] == bindparam("_" + key))
    if only is not None:
        # Spelt out: a list of many rows cannot be combined with `IN`.
        alternatives = [table.c[only[0]] == value for value in only[1]]
        condition = alternatives[0]
        for other in alternatives[1:]:
            condition = condition | other
        statement = statement.where(condition)
    statement = statement.values({name: bindparam("_" + name) for name in names if name != key})
    await connection.execute(statement, [{"_" + name: row[name] for name in names} for row in rows])


def _merged(groups: Sequence[tuple[Table, Rows]]) -> list[tuple[Table, list[Mapping[str, Any]]]]:
    found: dict[Table, list[Mapping[str, Any]]] = {}
    for table, rows in groups:
        found.setdefault(table, []).extend(rows)
    return list(found.items())


@cache
def _insert_text(shape: _Shape) -> str:
    # Foreign keys are looked at when the whole statement has ended, so their order is no matter.
    parts, used = [], 0
    for table, names in shape:
        columns = ", ".join(_quoted(name) for name in names)
        arrays = _arrays(table, names, used + 1)
        used += len(names)
        parts.append(
            f"INSERT INTO {_quoted(table.name)} ({columns}) SELECT * FROM unnest({arrays})"  # noqa: S608
        )
    *first, last = parts
    if not first:
        return last
    named = ", ".join(f"i{number} AS ({text})" for number, text in enumerate(first))
    return f"WITH {named} {last}"


@cache
def _missing_text(table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> str:
    returned = ", ".join(_quoted(name) for name in key)
    return f"{_insert_text(((table, names),))} ON CONFLICT DO NOTHING RETURNING {returned}"


@cache
def _update_text(
    table: Table, names: tuple[str, ...], key: str, only: tuple[str, tuple[str, ...]] | None
) -> str:
    columns = ", ".join(_quoted(name) for name in names)
    changes = ", ".join(f"{_quoted(name)} = n.{_quoted(name)}" for name in names if name != key)
    text = (
        f"UPDATE {_quoted(table.name)} AS t SET {changes} "  # noqa: S608 (our own names)
        f"FROM unnest({_arrays(table, names, 1)}) AS n({columns}) "
        f"WHERE t.{_quoted(key)} = n.{_quoted(key)}"
    )
    if only is not None:
        values = ", ".join(f"'{value}'" for value in only[1])
        text += f" AND t.{_quoted(only[0])} IN ({values})"
    return text


def _arrays(table: Table, names: tuple[str, ...], start: int) -> str:
    return ", ".join(
        f"${number}::{_type_name(table.c[name])}[]" for number, name in enumerate(names, start)
    )


@cache
def _type_name(column: Column[Any]) -> str:
    # As text without a length: a cast to a shorter one would cut silently, the insert refuses.
    if isinstance(column.type, String):
        return "text"
    return str(column.type.compile(dialect=_DIALECT))


def _quoted(name: str) -> str:
    return _DIALECT.identifier_preparer.quote(name)


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
