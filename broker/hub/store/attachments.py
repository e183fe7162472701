"""Sealed files in chunks, who uploaded them, and which accepted envelopes name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.hub.store.sql import AnyRow, one_of
from broker.hub.store.tables import ATTACHMENT, ATTACHMENT_CHUNK, ATTACHMENT_LINK, ENVELOPE


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
    connection: AsyncConnection, digest: str, recipient: str, *, now: datetime
) -> AnyRow | None:
    """The file, if a live envelope to this recipient names it."""
    rows = await connection.execute(
        select(ATTACHMENT.c.upload, ATTACHMENT.c.size, ENVELOPE.c.id)
        .join(ATTACHMENT_LINK, ATTACHMENT_LINK.c.digest == ATTACHMENT.c.digest)
        .join(ENVELOPE, ENVELOPE.c.id == ATTACHMENT_LINK.c.envelope_id)
        .where(
            ATTACHMENT.c.digest == digest,
            ENVELOPE.c.recipient == recipient,
            ENVELOPE.c.sender == ATTACHMENT.c.uploader,
            ENVELOPE.c.expires_at > now,
        )
        .limit(1)
    )
    return rows.first()


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
    digests = sorted(set(rows.scalars()))
    if digests:
        await _destroy(connection, one_of(connection, ATTACHMENT.c.digest, digests))


async def destroy_orphans(connection: AsyncConnection, before: datetime) -> int:
    """Destroy files, and parts of files, that were uploaded before a moment and never named."""
    await connection.execute(
        delete(ATTACHMENT_CHUNK).where(
            ATTACHMENT_CHUNK.c.stored_at < before,
            ATTACHMENT_CHUNK.c.upload.not_in(select(ATTACHMENT.c.upload)),
        )
    )
    return await _destroy(connection, ATTACHMENT.c.uploaded_at < before)


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
