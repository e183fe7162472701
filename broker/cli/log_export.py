"""Downloads a hub's log with an auditor's rights into the static layout of C2SP tlog-tiles.

Hash tiles come as they are; entries are written as bundles. Nothing is trusted: whether the
folder is whole, and who signed it, is what `referral log verify-all` finds out, offline.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from broker.audit.tiles import WIDTH, entries_path, tile_list, tile_path, write_bundle
from broker.cli.identity import Identity
from schemas.errors import HubUnreachable

CHECKPOINT = "checkpoint"


async def export_log(identity: Identity, folder: Path, at: Callable[[str], None]) -> int:
    """Write checkpoint, tiles and entries; give the size that the checkpoint says.

    Tiles and bundles never change, so what is there already is not fetched again. The checkpoint
    is written last: a download cut off in the middle leaves a folder that verifies as before.

    Raises:
        Forbidden: Not an auditor.
        HubUnreachable: No answer, or fewer entries than the checkpoint says.
    """
    async with identity.hub() as hub:
        note = await hub.checkpoint()
        size = int(note.split("\n")[1])
        for tile, count in tile_list(size):
            path = folder / tile_path(tile, count)
            if not path.exists():
                _write(path, await hub.tile(tile_path(tile, count)))
            if tile.level != 0:
                continue
            bundle = folder / entries_path(tile.number, count)
            if not bundle.exists():
                first = tile.number * WIDTH
                leaves = await hub.log_entries(after=first, limit=count)
                if len(leaves) < count:
                    raise HubUnreachable("fewer entries than the checkpoint says")
                _write(bundle, write_bundle(leaves[:count]))
            at(str(tile.number * WIDTH + count))
    _write(folder / CHECKPOINT, note.encode())
    return size


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.replace(path)
