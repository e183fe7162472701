"""The client's requests go over aiohttp's connections.

They cost two thirds of the processor time of httpx2's own, less still with dozens of requests at
once, which counts where a gateway and its hub talk all day. Requests, answers and errors stay those
of httpx2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import cast

import aiohttp
import httpx2
from yarl import URL

MAX_HEAD_BYTES = 64 * 1024

IDLE_SECONDS = 4.0
"""Less than the five after which servers as a rule hang up: nothing is sent into a closing door."""

CHUNKED = "transfer-encoding"
"""Said by aiohttp itself, of a body without a length."""

_SAID_BY_US = frozenset({"Accept", "Accept-Encoding", "Content-Type", "User-Agent"})


class KeptConnections(httpx2.AsyncBaseTransport):
    """As many connections as there are requests at once; those that are idle are kept."""

    def __init__(self, *, verify: SSLContext | None = None) -> None:
        """
        Args:
            verify: Which servers are believed; those that the machine believes if not given.
        """
        # Made once: reading the authorities takes longer than a request.
        self._context = verify or httpx2.create_ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        patience = request.extensions.get("timeout", {})
        with _named():
            answer = await self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[one for one in request.headers.multi_items() if one[0] != CHUNKED],
                data=_body(request),
                skip_auto_headers=_SAID_BY_US,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    sock_connect=patience.get("connect"), sock_read=patience.get("read")
                ),
            )
        return httpx2.Response(answer.status, headers=answer.raw_headers, stream=_Answer(answer))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._context, limit=0, keepalive_timeout=IDLE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_field_size=MAX_HEAD_BYTES,
            )
        return self._session


class _Answer(httpx2.AsyncByteStream):
    """An answer's body; when it is closed its connection is free again."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _named():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        self._answer.release()


def _body(request: httpx2.Request) -> bytes | httpx2.AsyncByteStream | None:
    """What is there whole is given whole, so that head and body leave in one write."""
    try:
        return request.content or None
    except httpx2.RequestNotRead:
        return cast("httpx2.AsyncByteStream", request.stream)


@contextmanager
def _named() -> Iterator[None]:
    """aiohttp's errors as httpx2's."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout("connecting") from error
    except TimeoutError as error:
        raise httpx2.ReadTimeout("reading") from error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError(type(error).__name__) from error
    except aiohttp.ClientPayloadError as error:
        raise httpx2.ReadError(type(error).__name__) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx2.RemoteProtocolError(type(error).__name__) from error
