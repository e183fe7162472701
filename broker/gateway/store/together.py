"""Rows of several tables in one statement: one journey to PostgreSQL for all that belongs together.

The text depends on which tables and columns there are and not on how many rows (of more than a
few), so that it is prepared once. SQLite, which has no network between, gets one statement for each table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, String, Table, bindparam, insert, or_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.store.bulk import insert_rows

Rows = Sequence[Mapping[str, Any]]
FEW = 3
"""Up to so many rows are written out: a receipt says three things. The server needs a third less for them than for one array a
column, whose statement reads the same for any number of rows."""


class _Part(NamedTuple):
    """What is done with rows of one table, whatever is in them."""

    table: Table
    names: tuple[str, ...]
    written: int
    """How many are written out; 0 if they come as arrays."""
    key: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    changes: bool = False
    only: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Rows that may be there already: then these columns are replaced, or nothing is."""

    table: Table
    rows: Rows
    key: tuple[str, ...]
    replace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows that are there already: set the other columns of those with these keys."""

    table: Table
    rows: Rows
    key: str
    only: tuple[str, tuple[str, ...]] | None = None
    """A text column and its values: rows in which it holds another are left alone."""


async def insert_together(
    connection: AsyncConnection,
    *groups: tuple[Table, Rows],
    merges: Sequence[Merge] = (),
    changes: Sequence[Changes] = (),
) -> None:
    """Insert rows; those of one table all have the same columns. Tables in an order that their
    foreign keys allow; one may stand here more than once.

    Args:
        merges: To be inserted before the others, or to replace what is there; keys that differ.
        changes: To be made beside. None of a row that is inserted here, and of one table one.
    """
    wanted = [(table, rows) for table, rows in _merged(groups) if rows]
    merges = [merge for merge in merges if merge.rows]
    changes = [change for change in changes if change.rows]
    if connection.dialect.name != "postgresql":
        for merge in merges:
            await insert_rows(
                connection, merge.table, merge.rows, key=merge.key, replace=merge.replace
            )
        for table, rows in wanted:
            await connection.execute(insert(table), [dict(row) for row in rows])
        for change in changes:
            await _change_one_by_one(connection, change)
        return
    if not wanted and not merges and not changes:
        return
    every = [
        *(merge.rows for merge in merges),
        *(rows for _, rows in wanted),
        *(change.rows for change in changes),
    ]
    # All or none: each combination of numbers is another statement to prepare.
    few = all(len(rows) <= FEW for rows in every)
    shape = (
        *(_part(m.table, m.rows, few, key=m.key, replace=m.replace) for m in merges),
        *(_part(table, rows, few) for table, rows in wanted),
        *(_part(c.table, c.rows, few, key=(c.key,), changes=True, only=c.only) for c in changes),
    )
    await fetch(connection, _text(shape), [one for rows in every for one in _given(rows, few)])


def _part(table: Table, rows: Rows, few: bool, **more: Any) -> _Part:
    return _Part(table, tuple(rows[0]), len(rows) if few else 0, **more)


def _given(rows: Rows, few: bool) -> list[Any]:
    """What goes with a part: row by row, or an array for each column."""
    if few:
        return [row[name] for row in rows for name in rows[0]]
    return [[row[name] for row in rows] for name in rows[0]]


async def insert_missing(connection: AsyncConnection, table: Table, rows: Rows) -> set[Any]:
    """Insert the rows whose primary key is free; returns the keys of those, as tuples.

    Two that insert the same keys at once should both sort them, so that they never wait in a ring.
    """
    if not rows:
        return set()
    key = tuple(column.name for column in table.primary_key.columns)
    if connection.dialect.name == "postgresql":
        few = len(rows) <= FEW
        text = _missing_text(_part(table, rows, few), key)
        return {tuple(row) for row in await fetch(connection, text, _given(rows, few))}
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
    """Set the other columns of the rows with these keys; see `Changes`."""
    await insert_together(connection, changes=(Changes(table, rows, key, only),))


async def _change_one_by_one(connection: AsyncConnection, change: Changes) -> None:
    table, key, names = change.table, change.key, tuple(change.rows[0])
    statement = update(table).where(table.c[key] == bindparam("_" + key))
    if change.only is not None:
        # Spelt out: a list of many rows cannot be combined with `IN`.
        column, values = change.only
        statement = statement.where(or_(*(table.c[column] == value for value in values)))
    statement = statement.values({name: bindparam("_" + name) for name in names if name != key})
    rows = [{"_" + name: row[name] for name in names} for row in change.rows]
    await connection.execute(statement, rows)


def _merged(groups: Sequence[tuple[Table, Rows]]) -> list[tuple[Table, list[Mapping[str, Any]]]]:
    found: dict[Table, list[Mapping[str, Any]]] = {}
    for table, rows in groups:
        found.setdefault(table, []).extend(rows)
    return list(found.items())


@cache
def _text(shape: tuple[_Part, ...]) -> str:
    # Foreign keys are looked at when the whole statement has ended, so their order is no matter.
    parts, used = [], 0
    for part in shape:
        if part.changes:
            parts.append(_update_text(part, used + 1))
        elif part.key:
            parts.append(_merge_text(part, used + 1))
        else:
            parts.append(_insert_text(part, used + 1))
        used += len(part.names) * max(part.written, 1)
    *first, last = parts
    if not first:
        return last
    named = ", ".join(f"p{number} AS ({text})" for number, text in enumerate(first))
    return f"WITH {named} {last}"


@cache
def _missing_text(part: _Part, key: tuple[str, ...]) -> str:
    returned = ", ".join(_quoted(name) for name in key)
    return f"{_insert_text(part, 1)} ON CONFLICT DO NOTHING RETURNING {returned}"


def _insert_text(part: _Part, start: int) -> str:
    columns = ", ".join(_quoted(name) for name in part.names)
    rows = _values(part, start) if part.written else f"SELECT * FROM {_arrays(part, start)}"  # noqa: S608
    return f"INSERT INTO {_quoted(part.table.name)} ({columns}) {rows}"


def _merge_text(part: _Part, start: int) -> str:
    taken = ", ".join(_quoted(name) for name in part.key)
    changes = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in part.replace)
    otherwise = f"UPDATE SET {changes}" if changes else "NOTHING"
    return f"{_insert_text(part, start)} ON CONFLICT ({taken}) DO {otherwise}"


def _update_text(part: _Part, start: int) -> str:
    [key] = part.key
    columns = ", ".join(_quoted(name) for name in part.names)
    changes = ", ".join(
        f"{_quoted(name)} = n.{_quoted(name)}" for name in part.names if name != key
    )
    rows = f"({_values(part, start)})" if part.written else _arrays(part, start)
    text = (
        f"UPDATE {_quoted(part.table.name)} AS t SET {changes} "  # noqa: S608 (our own names)
        f"FROM {rows} AS n({columns}) WHERE t.{_quoted(key)} = n.{_quoted(key)}"
    )
    if part.only is not None:
        values = ", ".join(f"'{value}'" for value in part.only[1])
        text += f" AND t.{_quoted(part.only[0])} IN ({values})"
    return text


def _values(part: _Part, start: int) -> str:
    types = [_type_name(part.table.c[name]) for name in part.names]
    rows = (
        ", ".join(
            f"${number}::{kind}" for number, kind in enumerate(types, start + row * len(types))
        )
        for row in range(part.written)
    )
    return f"VALUES {', '.join(f'({row})' for row in rows)}"


def _arrays(part: _Part, start: int) -> str:
    arrays = ", ".join(
        f"${number}::{_type_name(part.table.c[name])}[]"
        for number, name in enumerate(part.names, start)
    )
    return f"unnest({arrays})"


@cache
def _type_name(column: Column[Any]) -> str:
    # As text without a length: a cast to a shorter one would cut silently, the insert refuses.
    if isinstance(column.type, String):
        return "text"
    return str(column.type.compile(dialect=_DIALECT))


def _quoted(name: str) -> str:
    return _DIALECT.identifier_preparer.quote(name)


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
