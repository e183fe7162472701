"""Following a log from outside: does it only ever grow, and does it show everyone the same?

A monitor needs only the checkpoint and a few hash tiles, no right to read entries, and no trust in
the log. Who also signs what it saw is a witness (`broker.audit.witnesses.witness`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.audit.log.checkpoint import Contradiction, SignedCheckpoint, open_checkpoint
from broker.audit.log.merkle import consistency_plan, evaluate, root_plan, verify_consistency
from broker.audit.log.note import Verifier
from broker.audit.log.tiles import Tile, lookup_in, split, tile_path, tiles_of, width
from schemas.errors import LogInconsistent

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets `checkpoint` or `tile/...` of one log, over whatever; raises `Unavailable` if it cannot."""

Remember = Callable[[bytes], Awaitable[None]]
"""Makes a checkpoint durable, so that a restart goes on from it."""


@dataclass(frozen=True)
class Followed:
    """One step: the head that was verified, and by how many leaves the log grew."""

    head: SignedCheckpoint
    grew_by: int


class Monitor:
    """Follows one log. Not for concurrent use."""

    def __init__(
        self,
        *,
        log: Sequence[Verifier],
        fetch: Fetch,
        remember: Remember,
        trusted: bytes | None,
    ) -> None:
        """
        Args:
            log: The log's keys, from the directory.
            trusted: The checkpoint that `remember` kept last; None makes the first one seen the
                start, after which only growth is accepted.
        """
        self._log = log
        self._fetch = fetch
        self._remember = remember
        self.trusted = None if trusted is None else open_checkpoint(trusted, log)

    async def update(self) -> Followed:
        """Take one step. When it returns, the new head is durable.

        1. The checkpoint is signed by the log.
        2. It is not smaller than the one before; of the same size, it has the same root.
        3. Larger, a consistency proof made from the log's tiles leads from one to the other.
        4. The very first one's root is that of the log's own tiles.

        Raises:
            Contradiction: 2 or 3 failed; carries both signed checkpoints. Nothing is remembered.
            LogInconsistent: The tiles are not those of the checkpoint.
            BadSignature: 1 failed.
            SchemaRefused: Not a checkpoint.
        """
        head = open_checkpoint(await self._fetch("checkpoint"), self._log)
        before = self.trusted
        if before is None:
            await self._check_root(head)
            grew_by = head.checkpoint.size
        else:
            await self._check_growth(before, head)
            grew_by = head.checkpoint.size - before.checkpoint.size
        await self._remember(head.raw)
        self.trusted = head
        return Followed(head, grew_by)

    async def _check_root(self, head: SignedCheckpoint) -> None:
        plan = root_plan(head.checkpoint.size)
        tiles = await self._tiles(tiles_of(plan), head.checkpoint.size)
        if plan and evaluate(plan, lookup_in(tiles)) != [head.checkpoint.root]:
            raise LogInconsistent("the log's tiles are not those of its checkpoint")

    async def _check_growth(self, before: SignedCheckpoint, head: SignedCheckpoint) -> None:
        old, new = before.checkpoint, head.checkpoint
        if new.origin != old.origin:
            raise LogInconsistent("the log has changed its name")
        if new.size < old.size:
            raise Contradiction("the log has shrunk", before, head)
        plan = consistency_plan(old.size, new.size)
        tiles = await self._tiles(tiles_of(plan), new.size)
        path = evaluate(plan, lookup_in(tiles))
        if not verify_consistency(old.size, new.size, path, old.root, new.root):
            raise Contradiction("the log has another history now", before, head)

    async def _tiles(self, wanted: set[Tile], size: int) -> dict[Tile, list[bytes]]:
        found = {}
        for tile in sorted(wanted):
            count = width(tile, size)
            try:
                hashes = split(await self._fetch(tile_path(tile, count)))
            except ValueError:
                raise LogInconsistent("the log serves something that is not a tile") from None
            if len(hashes) != count:
                raise LogInconsistent("the log serves a tile of another width")
            found[tile] = hashes
        return found


def fetch_from(folder: Path) -> Fetch:
    """Follow an exported log on disk."""

    async def fetch(path: str) -> bytes:
        return (folder / path).read_bytes()

    return fetch
