"""Files beside a message: sealed on disk before the message is stored, uploaded before it is sent,
fetched after it arrived, and kept in the vault like everything else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core, wait_for
from broker.gateway.send.drafts import AttachmentDraft
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import load_grants
from broker.gateway.store.tables import (
    inbox,
    inbox_attachment,
    outbox_attachment,
)
from broker.telemetry import logger
from keys.binding import stream_context
from keys.streams import new_stream_key, open_stream, seal_stream
from schemas.envelope import MAX_ATTACHMENT_BYTES, AttachmentRef
from schemas.errors import (
    BrokerError,
    CannotOpen,
    NotFound,
    Refused,
    Suspect,
    TooLarge,
    Unavailable,
)
from schemas.message import AttachmentKey

CHUNK = 64 * 1024
FOLDER = "attachments"
POLL = timedelta(seconds=5)
MAX_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that lies sealed on disk, ready to be uploaded."""

    key: AttachmentKey
    ref: AttachmentRef

    @property
    def section(self) -> str:
        return self.key.section


async def stage(
    core: Core, draft: AttachmentDraft, *, thread: UUID, scope: str | None
) -> StagedFile:
    """Seal a file of this machine under a key of its own.

    Raises:
        NotFound: No such file.
        TooLarge: More than 25 MiB.
    """
    return await asyncio.to_thread(_stage, core, draft, thread, scope)


def _stage(core: Core, draft: AttachmentDraft, thread: UUID, scope: str | None) -> StagedFile:
    source = Path(draft.path)
    if not source.is_file():
        raise NotFound("no such file")
    size = source.stat().st_size
    if size > MAX_ATTACHMENT_BYTES:
        raise TooLarge(f"more than {MAX_ATTACHMENT_BYTES} bytes")
    folder = core.settings.home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    key = new_stream_key()
    fresh = folder / f"{uuid4()}.new"
    sealed = seal_stream(_read_chunks(source), key=key, context=stream_context(thread, scope))
    length = 0
    with fresh.open("wb") as target:
        for chunk in sealed:
            length += len(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    fresh.replace(folder / sealed.digest)
    return StagedFile(
        key=AttachmentKey(
            digest=sealed.digest,
            key=key,
            size=sealed.content_bytes,
            name=draft.name,
            media_type=draft.media_type,
            section=draft.section,
        ),
        ref=AttachmentRef(scope=scope, digest=sealed.digest, bucket=length),
    )


def _read_chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk


class Attachments:
    """Uploads what we send and fetches what we received."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def upload_for(self, message: UUID) -> None:
        """Have every file of a message at the hub; repeating it is harmless.

        Raises:
            Unavailable: Not all of them are there yet.
        """
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(outbox_attachment).where(
                        outbox_attachment.c.message == message,
                        outbox_attachment.c.uploaded_at.is_(None),
                    )
                )
            ).all()
        for row in rows:
            path = core.settings.home / FOLDER / row.digest
            if not path.is_file():
                raise NotFound("the sealed file is gone")
            await core.hub.put_attachment(row.digest, _async_chunks(path), size=row.size)
            async with core.database.begin() as connection:
                await connection.execute(
                    update(outbox_attachment)
                    .where(
                        outbox_attachment.c.message == message,
                        outbox_attachment.c.digest == row.digest,
                    )
                    .values(uploaded_at=core.now())
                )
            path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Fetch for ever."""
        while True:
            try:
                fetched = await self.fetch_due()
            except Unavailable as error:
                logger().warning("attachments:wait", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not fetched:
                await wait_for(self._core.wakes.attachments, POLL)

    async def fetch_due(self) -> int:
        """Fetch, verify and keep files that messages announced; returns how many came."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(
                        inbox_attachment,
                        inbox.c.thread,
                        inbox.c.sender,
                        inbox.c.case_ref,
                        inbox.c.grant,
                    )
                    .join(inbox, inbox.c.id == inbox_attachment.c.message)
                    .where(
                        inbox_attachment.c.state == "waiting",
                        inbox_attachment.c.next_attempt_at <= core.now(),
                        inbox.c.state.not_in(("stopped", "erased")),
                    )
                    .limit(8)
                )
            ).all()
        done = 0
        for row in rows:
            try:
                key = await self._key_of(row.key)
                plain = await self._fetch(row.digest, key, row.thread, row.scope)
                case = f"{row.sender}:{row.case_ref}"
                async with core.database.begin() as connection:
                    if not await self._still_wanted(connection, row):
                        await self._settle(connection, row, "stopped")
                        continue
                    ref = await core.vault.store(connection, case, row.section, row.grant, plain)
                    await self._settle(connection, row, "kept", content=ref)
                done += 1
            except (Refused, Suspect) as error:
                async with core.database.begin() as connection:
                    state = "failed" if row.attempts >= MAX_ATTEMPTS else "waiting"
                    if isinstance(error, Suspect):
                        state = "suspect"
                    if state != "waiting":
                        await raise_alarm(
                            connection, "attachment-" + state, row.message, now=core.now()
                        )
                    await self._settle(connection, row, state)
            except BrokerError:
                async with core.database.begin() as connection:
                    await self._settle(connection, row, "waiting")
        return done

    async def _still_wanted(self, connection: AsyncConnection, row: AnyRow) -> bool:
        """False if the file was taken back while it was under way.

        Asked under locks, in the transaction that stores it: a withdrawal either is seen here, or
        comes after and finds the file to erase. Nothing is stored after its erasure was attested.
        """
        if row.grant is not None:
            found = await load_grants(connection, [row.grant], lock=True)
            grant = found.get(row.grant)
            if grant is not None and (grant.withdrawn or row.scope in grant.removed):
                return False
        state = await connection.scalar(
            select(inbox.c.state).where(inbox.c.id == row.message).with_for_update()
        )
        if state is None or state in ("stopped", "erased"):
            return False
        left = await connection.scalar(
            select(inbox_attachment.c.state).where(
                inbox_attachment.c.message == row.message,
                inbox_attachment.c.digest == row.digest,
            )
        )
        return left == "waiting"

    async def _key_of(self, ref: str) -> AttachmentKey:
        async with self._core.database.read() as connection:
            return AttachmentKey.from_json(await self._core.vault.read(connection, ref))

    async def _fetch(
        self, digest: str, key: AttachmentKey, thread: UUID, scope: str | None
    ) -> bytes:
        """Download, compare with the signed digest, open.

        Raises:
            CannotOpen: Not the bytes that the sender named, or not under this key and thread.
        """
        sealed = bytearray()
        async for chunk in self._core.hub.get_attachment(digest):
            sealed += chunk
            if len(sealed) > 2 * MAX_ATTACHMENT_BYTES:
                raise CannotOpen("larger than any attachment")
        parts = [bytes(sealed[at : at + CHUNK]) for at in range(0, len(sealed), CHUNK)]
        opened = open_stream(
            iter(parts),
            key=key.key,
            context=stream_context(thread, scope),
            size=key.size,
            digest=digest,
        )
        return await asyncio.to_thread(b"".join, opened)

    async def _settle(
        self,
        connection: AsyncConnection,
        row: AnyRow,
        state: str,
        *,
        content: str | None = None,
    ) -> None:
        wait = timedelta(seconds=min(2.0 ** min(row.attempts, 9), 300.0))
        await connection.execute(
            update(inbox_attachment)
            .where(
                inbox_attachment.c.message == row.message,
                inbox_attachment.c.digest == row.digest,
            )
            .values(
                state=state,
                content=content,
                attempts=inbox_attachment.c.attempts + 1,
                next_attempt_at=self._core.now() + wait,
            )
        )


async def _async_chunks(path: Path) -> AsyncIterator[bytes]:
    for chunk in _read_chunks(path):
        yield chunk
        await asyncio.sleep(0)
