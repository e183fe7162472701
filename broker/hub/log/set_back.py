"""A database that is older than what was signed: noticed before the log forks, and by whom it can be.

A restored backup holds a shorter log than the one that countries have co-signed. Grown from there,
it would be another log under the same name. So three know more than the database:

1. This machine: the newest head lies in a file of the state folder too. At the next start nothing
   is signed from an older one.
2. Witnesses: a gateway that sees our log shrunk, or changed, shows us the head that it holds.
3. Senders: a gateway that finds its stream longer than we know shows us our own evidence that we
   had accepted what is missing.

Of 2 and 3 nothing is believed but our own signature, so anybody may show them. From then on the
sequencer stands still, and with it intake and relay: gateways keep what they have. It goes on when
the database is put right, or when the operator ends this log and begins another
(`broker.hub.log.continuing`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.checkpoint import Checkpoint, open_checkpoint, reopen_checkpoint
from broker.audit.log.merkle import evaluate, root_plan
from broker.audit.log.note import Verifier
from broker.audit.log.store import StoredCheckpoint, load_tiles, log_size
from broker.audit.log.tiles import lookup_in, tiles_of
from broker.hub.store import evidence
from broker.hub.store.sql import AnyRow
from broker.hub.store.tables import LOG, LOG_ENDED, TESTIMONY
from broker.telemetry import logger
from keys.signing import verify_evidence
from schemas.base import ParticipantId
from schemas.directory import TrustedDirectory
from schemas.errors import (
    BadSignature,
    BrokerError,
    LogSetBack,
    StorageUnavailable,
)
from schemas.evidence import Fact

FILE = "log-head"


class HeadFile:
    """The newest head that this machine knows, beside the database: asked before each new one."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._path = folder / FILE
        self._origin = origin
        self._turn = asyncio.Lock()
        self._written: bytes | None = None
        self._size = 0
        self.refused: LogSetBack | None = None
        """Why nothing may be signed, if so."""

    def newest(self) -> Checkpoint | None:
        """The head in the file, if it is one of this log. Blocking.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        try:
            head = reopen_checkpoint(self._path.read_bytes()).checkpoint
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable(f"log-head: {error.strerror}") from None
        except BrokerError:
            return None  # cut off by a crash of the machine: it says nothing
        return head if head.origin == self._origin else None

    def note(self) -> str:
        """The whole file. Blocking."""
        return self._path.read_text()

    async def allow(self, connection: AsyncConnection, last: StoredCheckpoint | None) -> None:
        """Refuse to go on from a head that is older than one that was signed.

        Raises:
            LogSetBack: This machine, or a participant, has seen a later one.
        """
        try:
            await self._compare(connection, last)
        except LogSetBack as error:
            self.refused = error
            raise
        self.refused = None

    async def signed(self, head: StoredCheckpoint) -> None:
        """Keep a head that is in the database for good.

        Raises:
            StorageUnavailable: It cannot be written: the next restore might not be noticed.
        """
        note = head.note.encode()
        async with self._turn:  # two runs at once end in any order; the larger head stays
            if note == self._written or head.size < self._size:
                return
            await asyncio.to_thread(self._write, note)
            self._written, self._size = note, head.size

    async def _compare(self, connection: AsyncConnection, last: StoredCheckpoint | None) -> None:
        if self._written is None or last is None or last.note.encode() != self._written:
            known = await asyncio.to_thread(self.newest)
            if known is not None and await contradicts(connection, known):
                raise LogSetBack(f"this machine has seen size {known.size}")
        said = await connection.scalar(
            select(TESTIMONY.c.participant).where(TESTIMONY.c.origin == self._origin).limit(1)
        )
        if said is not None:
            raise LogSetBack(f"{said} holds what this hub has signed and does not have")

    def _write(self, note: bytes) -> None:
        fresh = self._path.with_name(FILE + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StorageUnavailable(f"log-head: {error.strerror}") from None


async def contradicts(connection: AsyncConnection, head: Checkpoint) -> bool:
    """True if our log is not the grown form of this head."""
    if head.size > await log_size(connection, LOG):
        return True
    plan = root_plan(head.size)
    if not plan:
        return False  # of nothing
    tiles = await load_tiles(connection, LOG, tiles_of(plan), head.size)
    return evaluate(plan, lookup_in(tiles)) != [head.root]


# --- what others hold ------------------------------------------------------------------------


async def show_head(
    connection: AsyncConnection,
    raw: bytes,
    log: Sequence[Verifier],
    *,
    by: ParticipantId,
    now: datetime,
) -> bool:
    """Take a head of ours that somebody holds; True if our log does not lead to it.

    Raises:
        SchemaRefused: Not a checkpoint.
        BadSignature: Not signed by this log.
    """
    head = open_checkpoint(raw, log).checkpoint
    if not await contradicts(connection, head):
        return False
    await _keep(connection, head.origin, by, size=head.size, raw=raw, now=now)
    return True


async def show_evidence(
    connection: AsyncConnection,
    raw: bytes,
    directory: TrustedDirectory,
    *,
    hub: ParticipantId,
    origin: str,
    by: ParticipantId,
    now: datetime,
    remembered: timedelta,
) -> bool:
    """Take evidence of ours that we accepted something; True if we know nothing of it.

    Args:
        remembered: How long evidence is kept; of older nothing follows.

    Raises:
        BadSignature: By somebody else, or it says something else.
        KeyUnknown, KeyRevoked, TooLarge, MalformedJson, SchemaRefused: See `verify_evidence`.
    """
    content = verify_evidence(raw, directory, now=now).content
    if content.by != hub or {stated.fact for stated in content.facts} != {Fact.SUBMITTED}:
        raise BadSignature("not this hub's word that it has accepted something")
    if content.issued_at < now - remembered:
        return False
    if await evidence.find(connection, content.id) is not None:
        return False
    ended = await connection.scalar(select(func.max(LOG_ENDED.c.ended_at)))
    if ended is not None and content.issued_at <= ended:
        return True  # of a log that was ended for that
    await _keep(connection, origin, by, size=0, raw=raw, now=now)
    return True


async def testimonies(connection: AsyncConnection, origin: str) -> Sequence[AnyRow]:
    """What was shown of a log, the largest head first."""
    rows = await connection.execute(
        select(TESTIMONY).where(TESTIMONY.c.origin == origin).order_by(TESTIMONY.c.size.desc())
    )
    return rows.all()


async def _keep(
    connection: AsyncConnection,
    origin: str,
    by: ParticipantId,
    *,
    size: int,
    raw: bytes,
    now: datetime,
) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"origin": origin, "participant": by, "size": size, "raw": raw, "heard_at": now}
    statement = dialect.insert(TESTIMONY).values(**row)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["origin", "participant"],
            set_={name: row[name] for name in ("size", "raw", "heard_at")},
            where=TESTIMONY.c.size < size,
        )
    )
    logger().error("log:set-back", participant=by)
