"""Kept connections without a common pool.

A pool looks at all of its connections, each time that a request begins or ends; with dozens of
requests at once that costs more than the requests do. Here the connection that was used last is
used next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ssl import SSLContext

import httpx2

from broker.client.connection import Connection, origin_of


class KeptConnections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once; those that are idle are kept."""

    def __init__(self, *, verify: SSLContext | None = None, keep: int = 32) -> None:
        """
        Args:
            verify: Which servers are believed; those that the machine believes if not given.
            keep: How many idle connections are kept.
        """
        # Made once: reading the authorities takes longer than a request.
        self._context = verify or httpx2.create_ssl_context()
        self._keep = keep
        self._idle: list[Connection] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeouts = request.extensions.get("timeout", {})
        connection = self._take(request.url) or await Connection.open(
            origin_of(request.url), self._context, timeouts.get("connect")
        )
        try:
            status, headers = await connection.send(request)
        except BaseException:
            connection.close()
            raise
        body = connection.body(timeouts.get("read"))
        return httpx2.Response(
            status, headers=headers, stream=_Answer(body, lambda: self._give_back(connection))
        )

    async def aclose(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self, url: httpx2.URL) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_free and connection.origin == origin_of(url):
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if not connection.is_free:
            connection.close()
            return
        self._idle.append(connection)
        if len(self._idle) > self._keep:
            self._idle.pop(0).close()


class _Answer(httpx2.AsyncByteStream):
    """An answer's body; when it is closed its connection is free again."""

    def __init__(self, body: AsyncIterator[bytes], closed: Callable[[], None]) -> None:
        self._body = body
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk

    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
