"""Kept connections without a common pool.

A pool looks at all of its connections, each time that a request begins or ends; with dozens of
requests at once that costs more than the requests do. Here each connection is a pool of its own,
and the one that was used last is used next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx2


class KeptConnections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once; those that are idle are kept."""

    def __init__(self, *, verify: Any = True, keep: int = 32) -> None:
        """
        Args:
            verify: As of `httpx2.AsyncHTTPTransport`.
            keep: How many idle connections are kept.
        """
        # Made once: reading the authorities takes longer than a request.
        self._verify = httpx2.create_ssl_context() if verify is True else verify
        self._keep = keep
        self._idle: list[httpx2.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connection = self._idle.pop() if self._idle else self._open()
        try:
            answer = await connection.handle_async_request(request)
        except BaseException:
            await connection.aclose()
            raise
        body = cast("httpx2.AsyncByteStream", answer.stream)
        answer.stream = _Answer(body, lambda: self._idle.append(connection))
        if len(self._idle) > self._keep:
            await self._idle.pop(0).aclose()
        return answer

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    def _open(self) -> httpx2.AsyncHTTPTransport:
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
        return httpx2.AsyncHTTPTransport(verify=self._verify, limits=limits, trust_env=False)


class _Answer(httpx2.AsyncByteStream):
    """An answer's body; when it is closed its connection is free again."""

    def __init__(self, inner: httpx2.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._inner = inner
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed()
