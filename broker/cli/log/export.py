"""Downloads a hub's log with an auditor's rights into the static layout of C2SP tlog-tiles.

Nothing is trusted: whether the folder is whole, and who signed it, is what
`referral log verify-all` finds out, offline.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from broker.audit.log.tiles import WIDTH, entries_path, tile_list, tile_path
from broker.cli.homes.identity import Identity

CHECKPOINT = "checkpoint"


async def export_log(identity: Identity, folder: Path, at: Callable[[str], None]) -> int:
    """Write checkpoint, tiles and entries; give the size that the checkpoint says.

    Tiles and bundles never change, so what is there already is not fetched again. The checkpoint
    is written last: a download cut off in the middle leaves a folder that verifies as before.

    Raises:
        Forbidden: Not an auditor.
        Unavailable: No answer.
    """
    async with identity.hub() as hub:
        note = await hub.checkpoint()
        size = int(note.split("\n")[1])
        for tile, count in tile_list(size):
            paths = [tile_path(tile, count)]
            if tile.level == 0:
                paths.append(entries_path(tile.number, count))
            for path in paths:
                if not (folder / path).exists():
                    _write(folder / path, await hub.log_file(path))
            at(str(tile.number * WIDTH + count))
    _write(folder / CHECKPOINT, note.encode())
    return size


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.replace(path)
