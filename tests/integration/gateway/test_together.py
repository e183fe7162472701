"""Rows of several tables in one statement: the same comes of it for one row, two, three and many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, Integer, String, Table, Uuid, select
from sqlalchemy.exc import DBAPIError

from broker.database import Database, UtcDateTime, new_metadata
from broker.gateway.store.together import (
    Changes,
    Merge,
    insert_missing,
    insert_together,
    update_rows,
)

METADATA = new_metadata()
NOTE = Table(
    "note",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("text", String(40)),
    Column("state", String(10), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
COUNT = Table("count", METADATA, Column("order", Integer, primary_key=True), Column("of", Uuid))
NOW = datetime(2026, 3, 1, 12, 30, 1, 250_000, tzinfo=UTC)
SIZES = pytest.mark.parametrize("size", [1, 2, 3, 40])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    async with opened.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield opened
    await opened.close()


def notes(size: int, **values: Any) -> list[dict[str, Any]]:
    return [
        {"id": uuid4(), "text": f"é'{n}" if n else None, "state": "new", "at": NOW, **values}
        for n in range(size)
    ]


async def stored(database: Database, table: Table = NOTE) -> dict[Any, dict[str, Any]]:
    async with database.read() as connection:
        rows = await connection.execute(select(table))
        return {row[0]: dict(row._mapping) for row in rows}


def by_id(rows: list[dict[str, Any]]) -> dict[UUID, dict[str, Any]]:
    return {row["id"]: row for row in rows}


@SIZES
async def test_rows_of_two_tables_are_there_as_they_were_given(
    database: Database, size: int
) -> None:
    rows = notes(size)
    async with database.begin() as connection:
        await insert_together(
            connection,
            (NOTE, rows),
            (COUNT, [{"order": n, "of": row["id"]} for n, row in enumerate(rows)]),
        )

    assert await stored(database) == by_id(rows)
    assert [row["of"] for _, row in sorted((await stored(database, COUNT)).items())] == [
        row["id"] for row in rows
    ]


@SIZES
async def test_merging_changes_and_inserting_go_together(database: Database, size: int) -> None:
    merged, changed, closed, new = (notes(size) for _ in range(4))
    for row in closed:
        row["state"] = "closed"
    async with database.begin() as connection:
        await insert_together(connection, (NOTE, [*merged, *changed, *closed]))
    later = NOW + timedelta(days=1)

    async with database.begin() as connection:
        await insert_together(
            connection,
            (COUNT, [{"order": n, "of": row["id"]} for n, row in enumerate(new)]),
            merges=[Merge(NOTE, [*notes(1), {**merged[0], "text": "b"}], ("id",), ("text",))],
            changes=[
                Changes(
                    NOTE,
                    [{"id": row["id"], "at": later} for row in [*changed, *closed]],
                    "id",
                    ("state", ("new", "read")),
                )
            ],
        )

    found = await stored(database)
    assert found[merged[0]["id"]]["text"] == "b"
    assert {found[row["id"]]["at"] for row in changed} == {later}
    assert {found[row["id"]]["at"] for row in closed} == {NOW}
    assert len(found) == 3 * size + 1


@SIZES
async def test_only_what_is_missing_is_inserted(database: Database, size: int) -> None:
    rows = notes(size)
    async with database.begin() as connection:
        await insert_missing(connection, NOTE, rows[: size // 2])
        added = await insert_missing(connection, NOTE, [{**row, "text": "b"} for row in rows])

    assert added == {(row["id"],) for row in rows[size // 2 :]}
    found = await stored(database)
    assert [found[row["id"]]["text"] for row in rows[: size // 2]] == [
        row["text"] for row in rows[: size // 2]
    ]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite knows no lengths
@pytest.mark.parametrize("size", [1, 3])
async def test_a_text_that_is_too_long_is_refused_and_not_cut(
    database: Database, size: int
) -> None:
    with pytest.raises(DBAPIError, match="too long"):
        await _insert(database, notes(size, text="x" * 41))

    assert await stored(database) == {}


async def _insert(database: Database, rows: list[dict[str, Any]]) -> None:
    async with database.begin() as connection:
        await insert_together(connection, (NOTE, rows))


async def test_a_single_row_is_updated_by_its_key(database: Database) -> None:
    rows = notes(2)
    async with database.begin() as connection:
        await insert_together(connection, (NOTE, rows))
        await update_rows(
            connection, NOTE, [{"id": rows[0]["id"], "state": "read", "text": None}], key="id"
        )

    found = await stored(database)
    assert (found[rows[0]["id"]]["state"], found[rows[1]["id"]]["state"]) == ("read", "new")
