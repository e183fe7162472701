"""The whole log as static files (C2SP tlog-tiles): for auditors, mirrors and cold storage.

Tiles and bundles never change, so an export into the same folder continues where the last one
stopped, and the checkpoint comes last: a folder cut off in the middle still verifies as before.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from broker.audit.log.store import LogTables, entries, load_tiles
from broker.audit.log.tiles import (
    WIDTH,
    Tile,
    entries_path,
    tile_list,
    tile_path,
    write_bundle,
)
from broker.audit.proofs.proof import cosigned_checkpoint
from broker.database import Database

CHECKPOINT = "checkpoint"


async def export_log(database: Database, tables: LogTables, folder: Path) -> int:
    """Write the log up to its newest checkpoint; give the size.

    Raises:
        NotFound: The log has no checkpoint yet.
        StorageUnavailable: The database.
        OSError: The folder.
    """
    async with database.read() as connection:
        note = await cosigned_checkpoint(connection, tables)
    size = int(note.split("\n")[1])
    for tile, count in _missing(folder, size):
        async with database.read() as connection:
            hashes = (await load_tiles(connection, tables, [tile], size))[tile]
            bodies = (
                await entries(connection, tables, start=tile.number * WIDTH, limit=count)
                if tile.level == 0
                else []
            )
        await asyncio.to_thread(_write, folder / tile_path(tile, count), b"".join(hashes))
        if tile.level == 0:
            path = folder / entries_path(tile.number, count)
            await asyncio.to_thread(_write, path, write_bundle(bodies))
    await asyncio.to_thread(_write, folder / CHECKPOINT, note.encode())
    return size


def _missing(folder: Path, size: int) -> Iterator[tuple[Tile, int]]:
    for tile, count in tile_list(size):
        done = (folder / tile_path(tile, count)).exists()
        if tile.level == 0:
            done = done and (folder / entries_path(tile.number, count)).exists()
        if not done:
            yield tile, count


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
