"""Ending a log that cannot be brought back, and beginning another: an operator's deed.

The tree goes on under another origin and another key: every leaf that is still here is in the new
log, and its first new leaf says, signed, where the old one ended and how far others had seen it.
Under the old origin nothing is signed any more, so nobody can be shown two logs of one name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.checkpoint import Checkpoint, reopen_checkpoint
from broker.audit.log.leaves import public_leaf
from broker.audit.log.store import newest_checkpoint
from broker.hub.log.set_back import HeadFile, contradicts, testimonies
from broker.hub.store import openings
from broker.hub.store.tables import LOG, LOG_ENDED
from keys.binding import subject_of
from keys.jws import Signer, sign_jws
from schemas.audit import Event
from schemas.base import ParticipantId
from schemas.continuation import CONTINUATION_TYP, Continuation
from schemas.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the log in the database goes, and how far others have seen it."""

    origin: str
    kept: Checkpoint
    kept_note: str
    later_note: str | None
    """The largest head that this database does not lead to."""
    shown_by: tuple[ParticipantId, ...]
    """Who holds what is missing here; nobody if this machine alone remembers it."""

    @property
    def later(self) -> Checkpoint | None:
        """The same, read."""
        note = self.later_note
        return None if note is None else reopen_checkpoint(note.encode()).checkpoint

    @property
    def set_back(self) -> bool:
        """True if something is known to be missing."""
        return self.later_note is not None or bool(self.shown_by)


async def standing(connection: AsyncConnection, head_file: HeadFile) -> Standing:
    """Compare the database with what this machine and others remember.

    Raises:
        NotFound: This hub has never run.
    """
    origin = await connection.scalar(select(LOG.head.c.origin).where(LOG.head.c.id == 1))
    last = await newest_checkpoint(connection, LOG)
    if origin is None or last is None:
        raise NotFound("this hub has never run")
    shown = await testimonies(connection, origin)
    heads = [row.raw.decode() for row in shown if row.size]
    own = head_file.newest()
    if own is not None and await contradicts(connection, own):
        heads.append(head_file.note())
    kept = reopen_checkpoint(last.note.encode()).checkpoint
    return Standing(
        origin=origin,
        kept=kept,
        kept_note=last.note,
        later_note=max(heads, key=_size, default=None),
        shown_by=tuple(row.participant for row in shown),
    )


async def begin_another(
    connection: AsyncConnection,
    found: Standing,
    *,
    origin: str,
    by: ParticipantId,
    signer: Signer,
    now: datetime,
) -> Continuation:
    """End the log and name the next, in the caller's transaction; the head row is locked by it.

    Raises:
        Conflict: Another process has done so, or it is the same name.
    """
    if origin == found.origin:
        raise Conflict("another log needs another name")
    moved = await connection.execute(
        update(LOG.head)
        .where(LOG.head.c.id == 1, LOG.head.c.origin == found.origin)
        .values(origin=origin)
    )
    if moved.rowcount != 1:
        raise Conflict("the log has another name already")
    await connection.execute(insert(LOG_ENDED).values(origin=found.origin, ended_at=now))
    content = Continuation(
        by=by,
        ended=found.origin,
        origin=origin,
        kept=found.kept_note,
        later=found.later_note,
        issued_at=now,
    )
    raw = sign_jws(content.to_json(), typ=CONTINUATION_TYP, signer=signer)
    leaf, opening = public_leaf(Event.LOG_CONTINUED, now, subject_of(raw))
    await openings.record(connection, openings.row(leaf, opening, now=now, statement=raw))
    return content


def _size(note: str) -> int:
    return reopen_checkpoint(note.encode()).checkpoint.size
