"""The log's tables, and the two things others do with them: add a leaf, read the newest head.

`leaf_pending` is where a decision leaves its leaf, in the decision's own transaction; ids are
given out before commits happen, so their order says nothing and the sequencer moves whole rows.
`log_entry`, `log_tile`, `log_checkpoint` and `log_cosignature` are insert-only: triggers refuse
UPDATE, DELETE and TRUNCATE, and nothing in the code tries. (Who owns the tables can still drop a
trigger; then the witnesses' copies of the checkpoints tell.) `log_head` is one row: the lock that
lets one sequencer write at a time, and the log's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    event,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import ExecutableDDLElement

from broker.audit.log.merkle import leaf_hash
from broker.audit.log.tiles import MAX_ENTRY, WIDTH, Edge, FullTile, Tile, edge_tiles, split, width
from broker.database import UtcDateTime, new_metadata
from schemas.audit import Leaf
from schemas.errors import LogInconsistent

INSERT_ONLY = ("log_entry", "log_tile", "log_checkpoint", "log_cosignature")
DIALECTS = ("postgresql", "sqlite")

_BigId = BigInteger().with_variant(Integer, "sqlite")


@dataclass(frozen=True)
class LogTables:
    """The tables of one log inside a process's metadata."""

    leaf_pending: Table
    entry: Table
    tile: Table
    checkpoint: Table
    cosignature: Table
    head: Table


def log_tables(metadata: MetaData) -> LogTables:
    """Define the log's tables in the given metadata; `create_all` makes the triggers too."""
    tables = LogTables(
        leaf_pending=Table(
            "leaf_pending",
            metadata,
            Column("id", _BigId, Identity(), primary_key=True),
            Column("body", LargeBinary, nullable=False),
        ),
        entry=Table(
            "log_entry",
            metadata,
            Column("seq", BigInteger, primary_key=True, autoincrement=False),
            Column("body", LargeBinary, nullable=False),
            Column("leaf_hash", LargeBinary, nullable=False),
            # With `seq`, or PostgreSQL may walk the primary key to find the first of a hash.
            Index("ix_log_entry_leaf_hash", "leaf_hash", "seq"),
        ),
        tile=Table(
            "log_tile",
            metadata,
            Column("level", SmallInteger, primary_key=True, autoincrement=False),
            Column("idx", BigInteger, primary_key=True, autoincrement=False),
            # Before the hashes: SQLite walks a long value's pages to reach what stands behind it.
            Column("root", LargeBinary, nullable=False),
            Column("hashes", LargeBinary, nullable=False),
        ),
        checkpoint=Table(
            "log_checkpoint",
            metadata,
            Column("id", _BigId, Identity(), primary_key=True),
            Column("size", BigInteger, nullable=False),
            Column("root", LargeBinary, nullable=False),
            Column("issued_at", UtcDateTime, nullable=False),
            Column("note", Text, nullable=False),
            Index("ix_log_checkpoint_size", "size", "id"),
        ),
        cosignature=Table(
            "log_cosignature",
            metadata,
            Column("id", _BigId, Identity(), primary_key=True),
            Column("size", BigInteger, nullable=False),
            Column("name", String(200), nullable=False),
            Column("line", Text, nullable=False),
            Column("dated", UtcDateTime, nullable=False),
            Index("ix_log_cosignature_size", "size", "id"),
        ),
        head=Table(
            "log_head",
            metadata,
            Column("id", SmallInteger, primary_key=True, autoincrement=False),
            Column("origin", String(200), nullable=False),
            CheckConstraint("id = 1", name="one_row"),
        ),
    )
    for dialect in DIALECTS:
        for statement in immutable_ddl(dialect):
            event.listen(metadata, "after_create", _ddl(statement, dialect))
    return tables


def _ddl(statement: str, dialect: str) -> ExecutableDDLElement:
    made: ExecutableDDLElement = DDL(statement)  # type: ignore[no-untyped-call]
    return made.execute_if(dialect=dialect)


def create_log_tables(connection: Connection) -> None:
    """Make tables and triggers in a database that has none: for a process's first migration."""
    metadata = new_metadata()
    log_tables(metadata)
    metadata.create_all(connection, checkfirst=False)


def immutable_ddl(dialect: str) -> list[str]:
    """The statements, to be run one by one, that make the log's tables insert-only."""
    if dialect == "postgresql":
        return _postgresql_ddl()
    if dialect == "sqlite":
        return _sqlite_ddl()
    raise ValueError("unknown dialect")


def _postgresql_ddl() -> list[str]:
    statements = [
        "CREATE OR REPLACE FUNCTION log_insert_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        "MESSAGE = TG_TABLE_NAME || ' is insert-only'; END $$"
    ]
    for table in INSERT_ONLY:
        # ALWAYS: a replication role, as a restore tool sets it, does not switch this one off.
        statements += [
            f"CREATE OR REPLACE TRIGGER {table}_insert_only "
            f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION log_insert_only()",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_insert_only",
        ]
    return statements


def _sqlite_ddl() -> list[str]:
    statements = []
    keys = {
        "log_entry": "seq = NEW.seq",
        "log_tile": "level = NEW.level AND idx = NEW.idx",
        "log_checkpoint": "id = NEW.id",
        "log_cosignature": "id = NEW.id",
    }
    for table in INSERT_ONLY:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
        # INSERT OR REPLACE deletes without firing a delete trigger, hence the third.
        held = f"EXISTS (SELECT 1 FROM {table} WHERE {keys[table]})"  # noqa: S608 (our own names)
        statements += [
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN {held} {refuse}",
        ]
    return statements


# --- writing -------------------------------------------------------------------------------


async def add_leaves(
    connection: AsyncConnection, tables: LogTables, leaves: Iterable[bytes]
) -> None:
    """Leave leaves for the sequencer, in the caller's transaction: recorded if it commits."""
    rows = [{"body": body} for body in leaves]
    if any(not 0 < len(row["body"]) <= MAX_ENTRY for row in rows):
        raise ValueError("a leaf is empty or too large")
    if rows:
        await connection.execute(insert(tables.leaf_pending), rows)


# --- reading -------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredCheckpoint:
    """One row of `log_checkpoint`."""

    size: int
    root: bytes
    issued_at: datetime
    note: str


async def newest_checkpoint(
    connection: AsyncConnection, tables: LogTables
) -> StoredCheckpoint | None:
    """The head of the log as it was last signed, or None for a log that never was."""
    table = tables.checkpoint
    row = (
        await connection.execute(
            select(table.c.size, table.c.root, table.c.issued_at, table.c.note)
            .order_by(table.c.id.desc())
            .limit(1)
        )
    ).first()
    return None if row is None else StoredCheckpoint(row.size, row.root, row.issued_at, row.note)


async def log_size(connection: AsyncConnection, tables: LogTables) -> int:
    """How many entries the table holds."""
    newest = await connection.scalar(select(func.max(tables.entry.c.seq)))
    return 0 if newest is None else int(newest) + 1


async def oldest_pending(connection: AsyncConnection, tables: LogTables) -> datetime | None:
    """The time of the leaf that waits longest for the sequencer, or None."""
    table = tables.leaf_pending
    body = await connection.scalar(select(table.c.body).order_by(table.c.id).limit(1))
    return None if body is None else Leaf.from_json(body).time


async def entries(
    connection: AsyncConnection, tables: LogTables, *, start: int, limit: int
) -> list[bytes]:
    """Entries from `start` on, in order."""
    table = tables.entry
    rows = await connection.execute(
        select(table.c.body)
        .where(table.c.seq >= start, table.c.seq < start + limit)
        .order_by(table.c.seq)
    )
    return list(rows.scalars())


async def load_tiles(
    connection: AsyncConnection, tables: LogTables, wanted: Iterable[Tile], size: int
) -> dict[Tile, list[bytes]]:
    """The hashes of tiles in the tree of `size` leaves, full ones whole, others as far as they go.

    Raises:
        LogInconsistent: A row that must be there is not.
    """
    widths = {tile: width(tile, size) for tile in wanted}
    full = [tile for tile, count in widths.items() if count == WIDTH]
    partial = {tile: count for tile, count in widths.items() if 0 < count < WIDTH}
    found: dict[Tile, list[bytes]] = {tile: [] for tile, count in widths.items() if count == 0}
    if full:
        table = tables.tile
        rows = await connection.execute(
            select(table.c.level, table.c.idx, table.c.hashes).where(
                or_(*(and_(table.c.level == level, table.c.idx == idx) for level, idx in full))
            )
        )
        found.update({Tile(row.level, row.idx): split(row.hashes) for row in rows})
    found.update(await _partials(connection, tables, partial))
    if any(len(found.get(tile, ())) != count for tile, count in widths.items()):
        raise LogInconsistent("a row of the tree is missing")
    return found


async def _partials(
    connection: AsyncConnection, tables: LogTables, wanted: Mapping[Tile, int]
) -> dict[Tile, list[bytes]]:
    """Tiles at the right edge: leaf hashes are in the entries, others are roots of full tiles."""
    found: dict[Tile, list[bytes]] = {tile: [] for tile in wanted}
    above = []
    for tile, count in wanted.items():
        start, end = tile.number * WIDTH, tile.number * WIDTH + count
        if tile.level:
            column = tables.tile.c
            above.append(
                and_(column.level == tile.level - 1, column.idx >= start, column.idx < end)
            )
            continue
        entry = tables.entry
        rows = await connection.execute(
            select(entry.c.leaf_hash)
            .where(entry.c.seq >= start, entry.c.seq < end)
            .order_by(entry.c.seq)
        )
        found[tile] = list(rows.scalars())
    if above:
        table = tables.tile
        rows = await connection.execute(
            select(table.c.level, table.c.idx, table.c.root)
            .where(or_(*above))
            .order_by(table.c.level, table.c.idx)
        )
        for row in rows:
            found[Tile(row.level + 1, row.idx // WIDTH)].append(row.root)
    return found


async def load_edge(connection: AsyncConnection, tables: LogTables, size: int) -> Edge:
    """The right edge of the tree of `size` leaves: what appending continues from."""
    edges = edge_tiles(size)
    found = await load_tiles(connection, tables, [tile for tile, count in edges if count], size)
    levels = [found.get(tile, []) for tile, _ in edges]
    return Edge(size, levels)


async def append(
    connection: AsyncConnection, tables: LogTables, edge: Edge, bodies: Sequence[bytes]
) -> None:
    """Insert entries and the tiles that they fill. The caller holds the head's lock."""
    rows: list[dict[str, object]] = []
    full: list[FullTile] = []
    for body in bodies:
        hashed = leaf_hash(body)
        rows.append({"seq": edge.size, "body": body, "leaf_hash": hashed})
        full.extend(edge.append(hashed))
    if rows:
        await connection.execute(insert(tables.entry), rows)
    if full:
        await connection.execute(
            insert(tables.tile),
            [
                {
                    "level": item.tile.level,
                    "idx": item.tile.number,
                    "hashes": item.hashes,
                    "root": item.root,
                }
                for item in full
            ],
        )
