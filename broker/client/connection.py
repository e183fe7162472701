"""One connection to an HTTP/1.1 server, with one request at a time on it.

On asyncio's own transports and httptools, as the server's side is (uvicorn): a request's head and
the beginning of its body leave in one write, and what comes back is parsed by llhttp. The general
client's connection is careful for all servers in the world and costs three times as much.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, Self, cast

import httptools
import httpx2

MAX_HEAD_BYTES = 64 * 1024
HIGH_WATER = 256 * 1024
"""Bytes of an answer that may wait to be read before the other side is made to wait."""

Origin = tuple[bytes, bytes, int]
"""Scheme, host, port."""


def origin_of(url: httpx2.URL) -> Origin:
    """Where a request goes."""
    return url.raw_scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)


class Connection(asyncio.Protocol):
    """Open it, then `send` and read the answer's body to its end before the next `send`."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_done = False
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._ended = True
        """Nothing of an answer is to come: there is none, or it came whole."""
        self._sent = False
        """The request left whole."""
        self._kept = True
        """The other side will keep the connection."""
        self._failed: httpx2.TransportError | None = None
        self._news: asyncio.Future[None] | None = None
        """Of whoever waits for more of the answer."""
        self._room: asyncio.Future[None] | None = None
        """Of whoever waits to write; None while there is room."""

    @classmethod
    async def open(cls, origin: Origin, context: ssl.SSLContext, patience: float | None) -> Self:
        """Connect.

        Raises:
            httpx2.ConnectError, httpx2.ConnectTimeout: As they say.
        """
        scheme, host, port = origin
        secure = scheme == b"https"
        try:
            async with asyncio.timeout(patience):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: cls(origin),
                    host.decode("ascii").strip("[]"),
                    port,
                    ssl=context if secure else None,
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("connecting") from error
        except OSError as error:  # an error of TLS is one too
            raise httpx2.ConnectError(type(error).__name__) from error
        return made

    @property
    def is_free(self) -> bool:
        """True if another request may be sent."""
        return self._ended and self._sent and self._kept and self._failed is None

    async def send(self, request: httpx2.Request) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a request; returns the answer's status and headers.

        Raises:
            httpx2.TransportError: No whole answer, for whatever reason.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._head_bytes, self._head_done = [], 0, False
        self._ended = self._sent = False
        patience: dict[str, float | None] = request.extensions.get("timeout", {})
        await self._write(request, patience.get("write"))
        while not self._head_done:
            await self._more(patience.get("read"))
        return self._parser.get_status_code(), self._headers

    async def body(self, patience: float | None) -> AsyncIterator[bytes]:
        """The answer's body as it comes.

        Raises:
            httpx2.TransportError: It ended early, or nothing came for too long.
        """
        while True:
            if self._chunks:
                chunks, self._chunks, self._waiting_bytes = self._chunks, [], 0
                if self._transport is not None and not self._transport.is_closing():
                    self._transport.resume_reading()
                yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
            elif self._ended:
                return
            else:
                await self._more(patience)

    def close(self) -> None:
        """Let it go, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # --- sending ------------------------------------------------------------------------------

    async def _write(self, request: httpx2.Request, patience: float | None) -> None:
        lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%b: %b\r\n" % header for header in request.headers.raw]
        pending = b"".join([*lines, b"\r\n"])
        chunked = "transfer-encoding" in request.headers
        # The head waits for the first piece of the body, which as a rule is the only one.
        async for chunk in cast("httpx2.AsyncByteStream", request.stream):
            if chunk:
                pending += b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
                await self._write_all(pending, patience)
                pending = b""
            if self._head_done:
                return  # answered before it was sent: a refusal, after which nothing else is sent
        if chunked:
            pending += b"0\r\n\r\n"
        if pending:
            await self._write_all(pending, patience)
        self._sent = True

    async def _write_all(self, data: bytes, patience: float | None) -> None:
        if self._transport is None or self._failed is not None:
            raise self._failed or httpx2.WriteError("not connected")
        self._transport.write(data)
        if self._room is not None:
            try:
                async with asyncio.timeout(patience):
                    await asyncio.shield(self._room)
            except TimeoutError as error:
                raise httpx2.WriteTimeout("writing") from error

    async def _more(self, patience: float | None) -> None:
        """Wait until there is more of the answer."""
        if self._failed is not None:
            raise self._failed
        self._news = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience):
                await self._news
        except TimeoutError as error:
            raise httpx2.ReadTimeout("reading") from error
        finally:
            self._news = None

    # --- called by the event loop -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            self._fail(httpx2.RemoteProtocolError("more than an answer"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(type(error).__name__))
            return
        if self._waiting_bytes > HIGH_WATER and self._transport is not None:
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        framed = {name.lower() for name, _ in self._headers} & {
            b"content-length",
            b"transfer-encoding",
        }
        if self._head_done and not framed:
            self._sent, self._ended = False, True  # such an answer ends with the connection
            self._tell()
        else:
            self._fail(httpx2.RemoteProtocolError("the other side hung up"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(httpx2.ReadError(type(exc).__name__))

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _fail(self, error: httpx2.TransportError) -> None:
        if self._failed is None:
            self._failed = error
            if self._transport is not None:
                self._transport.abort()
        self.resume_writing()
        self._tell()

    def _tell(self) -> None:
        if self._news is None or self._news.done():
            return
        if self._failed is not None and not self._ended:
            self._news.set_exception(self._failed)
        else:
            self._news.set_result(None)

    # --- called by the parser -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._head_done:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too long")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_done = self._parser.get_status_code() >= 200
        self._kept = self._parser.should_keep_alive()
        if not self._head_done:
            self._headers = []  # 1xx: the answer itself is still to come

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        self._ended = self._head_done
