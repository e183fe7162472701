"""Sealed files in chunks, who uploaded them, and which accepted envelopes name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import (
    ATTACHMENT,
    ATTACHMENT_CHUNK,
    ATTACHMENT_LINK,
    ENVELOPE,
    GRANT,
    PAYLOAD,
)
from broker.rules.header import SKEW
from schemas.envelope import NEVER_HELD_BACK
from schemas.evidence import PRECEDENCE, Fact

_ENDED = tuple(PRECEDENCE.index(fact) for fact in (Fact.STOPPED, Fact.EXPIRED, Fact.REFUSED))
"""Standings of an envelope after which its recipient has no use for its files."""

Stops = Callable[[UUID | None, frozenset[str]], bool]
"""Says whether scopes of a grant are stopped by a withdrawal that is not recorded yet."""

_NEVER_HELD_BACK = tuple(sorted(kind.value for kind in NEVER_HELD_BACK))


async def uploaded(
    connection: AsyncConnection, wanted: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Which of these (digest, uploader) are complete; held FOR SHARE against their removal."""
    asked = set(wanted)
    rows = await connection.execute(
        select(ATTACHMENT.c.digest, ATTACHMENT.c.uploader)
        .where(one_of(connection, ATTACHMENT.c.digest, sorted({one[0] for one in asked})))
        .order_by(ATTACHMENT.c.digest)
        .with_for_update(read=True)
    )
    return {(row.digest, row.uploader) for row in rows} & asked


async def link(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """An accepted envelope names these files."""
    if rows:
        await connection.execute(insert(ATTACHMENT_LINK), list(rows))


async def add_chunk(
    connection: AsyncConnection, upload: UUID, number: int, data: bytes, now: datetime
) -> None:
    """Store one chunk of an upload that is not complete yet."""
    await connection.execute(
        insert(ATTACHMENT_CHUNK).values(upload=upload, number=number, data=data, stored_at=now)
    )


async def complete(
    connection: AsyncConnection,
    *,
    digest: str,
    uploader: str,
    upload: UUID,
    size: int,
    now: datetime,
) -> bool:
    """Make an upload known; False if the same file of the same uploader was there already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(ATTACHMENT)
        .values(digest=digest, uploader=uploader, upload=upload, size=size, uploaded_at=now)
        .on_conflict_do_nothing()
        .returning(ATTACHMENT.c.digest)
    )
    return (await connection.execute(statement)).first() is not None


async def drop_upload(connection: AsyncConnection, upload: UUID) -> None:
    """Destroy the chunks of one upload."""
    await connection.execute(delete(ATTACHMENT_CHUNK).where(ATTACHMENT_CHUNK.c.upload == upload))


async def for_addressee(
    connection: AsyncConnection, digest: str, recipient: str, *, now: datetime, stops: Stops
) -> AnyRow | None:
    """The file, if an envelope to this recipient names it whose way has not ended otherwise.

    What needs consent goes only while the grant lives and holds the file's scope.
    """
    rows = await connection.execute(
        select(
            ATTACHMENT.c.upload,
            ATTACHMENT.c.size,
            ATTACHMENT_LINK.c.scope,
            ENVELOPE.c.kind,
            ENVELOPE.c.grant_id,
            PAYLOAD.c.scopes,
            GRANT.c.withdrawn,
            GRANT.c.removed,
            GRANT.c.until,
        )
        .join(ATTACHMENT_LINK, ATTACHMENT_LINK.c.digest == ATTACHMENT.c.digest)
        .join(ENVELOPE, ENVELOPE.c.id == ATTACHMENT_LINK.c.envelope_id)
        .join(PAYLOAD, PAYLOAD.c.envelope_id == ENVELOPE.c.id)
        .outerjoin(GRANT, GRANT.c.id == ENVELOPE.c.grant_id)
        .where(
            ATTACHMENT.c.digest == digest,
            ENVELOPE.c.recipient == recipient,
            ENVELOPE.c.sender == ATTACHMENT.c.uploader,
            ENVELOPE.c.expires_at > now,
            ENVELOPE.c.standing.not_in(_ENDED),
        )
    )
    return next((row for row in rows if _may_go(row, now) and not _is_stopped(row, stops)), None)


def _is_stopped(row: AnyRow, stops: Stops) -> bool:
    if row.kind in _NEVER_HELD_BACK:
        return False
    scopes = row.scopes.split() if row.scope is None else [row.scope]
    return stops(row.grant_id, frozenset(scopes))


def _may_go(row: AnyRow, now: datetime) -> bool:
    if row.kind in _NEVER_HELD_BACK or row.withdrawn is None:
        return True
    if row.withdrawn or row.until < (now - SKEW).date():
        return False
    return row.scope not in row.removed.split()


async def chunk(connection: AsyncConnection, upload: UUID, number: int) -> bytes | None:
    """One chunk, or None after the last."""
    found: bytes | None = await connection.scalar(
        select(ATTACHMENT_CHUNK.c.data).where(
            ATTACHMENT_CHUNK.c.upload == upload, ATTACHMENT_CHUNK.c.number == number
        )
    )
    return found


async def unlink(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """These envelopes need their files no more; a file that no envelope names is destroyed."""
    rows = await connection.execute(
        delete(ATTACHMENT_LINK)
        .where(one_of(connection, ATTACHMENT_LINK.c.envelope_id, ids))
        .returning(ATTACHMENT_LINK.c.digest)
    )
    await _destroy_unnamed(connection, rows.scalars().all())


async def unlink_under(
    connection: AsyncConnection, grants: Sequence[UUID], *, scopes: frozenset[str] | None
) -> None:
    """Destroy what went under these grants, or under some of their scopes, delivered or not."""
    statement = delete(ATTACHMENT_LINK).where(
        one_of(connection, ATTACHMENT_LINK.c.grant_id, grants)
    )
    if scopes is not None:
        statement = statement.where(ATTACHMENT_LINK.c.scope.in_(scopes))
    rows = await connection.execute(statement.returning(ATTACHMENT_LINK.c.digest))
    await _destroy_unnamed(connection, rows.scalars().all())


async def destroy_orphans(connection: AsyncConnection, before: datetime) -> int:
    """Destroy files, and parts of files, that were uploaded before a moment and never named."""
    await connection.execute(
        delete(ATTACHMENT_CHUNK).where(
            ATTACHMENT_CHUNK.c.stored_at < before,
            ATTACHMENT_CHUNK.c.upload.not_in(select(ATTACHMENT.c.upload)),
        )
    )
    return await _destroy(connection, ATTACHMENT.c.uploaded_at < before)


async def _destroy_unnamed(connection: AsyncConnection, digests: Iterable[str]) -> None:
    if some := sorted(set(digests)):
        await _destroy(connection, one_of(connection, ATTACHMENT.c.digest, some))


async def _destroy(connection: AsyncConnection, which: Any) -> int:
    named = (
        select(ATTACHMENT_LINK.c.digest)
        .where(ATTACHMENT_LINK.c.digest == ATTACHMENT.c.digest)
        .correlate(ATTACHMENT)
        .exists()
    )
    rows = await connection.execute(
        delete(ATTACHMENT).where(which, ~named).returning(ATTACHMENT.c.upload)
    )
    uploads = list(rows.scalars())
    if uploads:
        await connection.execute(
            delete(ATTACHMENT_CHUNK).where(one_of(connection, ATTACHMENT_CHUNK.c.upload, uploads))
        )
    return len(uploads)
