"""Sealed files: streamed in and out in chunks, so that none is ever whole in memory.

The path names the digest and the request signature covers the path, so the body needs no digest of
its own; what does not have that digest at the end never becomes an attachment.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from broker.http import DigestName, limited_stream
from broker.hub.api.requests import Callers
from broker.hub.intake.limiting import Limiter
from broker.hub.state import Hub
from broker.hub.store import attachments
from schemas.base import b64u
from schemas.envelope import MAX_ATTACHMENT_BYTES
from schemas.errors import NotFound, RateLimited, TooLarge, Truncated

MAX_SEALED_BYTES = MAX_ATTACHMENT_BYTES * 2
"""Sealing pads to a bucket; see `schemas.envelope.AttachmentRef`."""
CHUNK_BYTES = 1024 * 1024


def router(hub: Hub, callers: Callers, limiter: Limiter) -> APIRouter:
    routes = APIRouter()

    @routes.put("/attachments/{digest}")
    async def upload(request: Request, digest: DigestName) -> Response:
        caller = callers.of(request)
        announced = _announced(request)
        if not limiter.upload(caller.id, announced or MAX_SEALED_BYTES):
            raise RateLimited
        hub.require_log()
        name = uuid4()
        try:
            size = await _store(request, name, digest, announced)
        except BaseException:
            await _drop(name)
            raise
        # From here on nothing is dropped: after an error it is not known whether this was
        # committed, and a known file without its bytes is worse than an orphan, which goes in a day.
        async with hub.database.begin() as connection:
            new = await attachments.complete(
                connection,
                digest=digest,
                uploader=caller.id,
                upload=name,
                size=size,
                now=hub.clock.now(),
            )
            if not new:
                await attachments.drop_upload(connection, name)
        return Response(status_code=201 if new else 200)

    async def _store(request: Request, name: UUID, digest: str, announced: int | None) -> int:
        """Store chunk by chunk, each in a transaction of its own; returns the size.

        Nothing of it counts before `complete`; what a dead process leaves is an orphan.
        """
        seen = hashlib.sha256()
        size = number = 0
        async for chunk in _regular(limited_stream(request, MAX_SEALED_BYTES)):
            seen.update(chunk)
            size += len(chunk)
            async with hub.database.begin() as connection:
                await attachments.add_chunk(connection, name, number, chunk, hub.clock.now())
            number += 1
        if announced is not None and size != announced:
            raise Truncated(f"{size} of {announced} bytes")
        if b64u(seen.digest()) != digest:
            # Without a length, cut off and exchanged look the same; nothing was stored either way.
            raise Truncated("the bytes do not have the digest of the path")
        return size

    async def _drop(name: UUID) -> None:
        async with hub.database.begin() as connection:
            await attachments.drop_upload(connection, name)

    @routes.get("/attachments/{digest}")
    async def download(request: Request, digest: DigestName) -> Response:
        caller = callers.of(request)
        async with hub.database.read() as connection:
            found = await attachments.for_addressee(
                connection, digest, caller.id, now=hub.clock.now(), stops=hub.stops.stops
            )
        if found is None:
            raise NotFound
        return StreamingResponse(
            _chunks(found.upload),
            media_type="application/octet-stream",
            headers={"content-length": str(found.size)},
        )

    async def _chunks(name: UUID) -> AsyncIterator[bytes]:
        number = 0
        while True:
            # A connection of its own for each chunk: a slow reader must not hold one.
            async with hub.database.read() as connection:
                data = await attachments.chunk(connection, name, number)
            if data is None:
                return
            yield data
            number += 1

    return routes


def _announced(request: Request) -> int | None:
    text = request.headers.get("content-length")
    if text is None or not text.isdigit():
        return None
    if int(text) > MAX_SEALED_BYTES:
        raise TooLarge(f"more than {MAX_SEALED_BYTES} bytes")
    return int(text)


async def _regular(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in chunks of one size, so that no client makes a million tiny rows."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        while len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered[:CHUNK_BYTES])
            del gathered[:CHUNK_BYTES]
    if gathered:
        yield bytes(gathered)
