"""One call to the hub: signed where it must be, and every failure told apart.

No answer is `Unavailable`, and then it is not known whether the hub acted.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from broker.client.transport import KeptConnections
from broker.clock import Clock
from keys import strict_json
from keys.http_signing import sign_request
from keys.jws import Signer
from schemas.errors import (
    BrokerError,
    HubUnreachable,
    Refused,
    Suspect,
    Unavailable,
    codes,
)

ANSWER_LIMIT = 64 * 1024 * 1024
"""Of one answer: a mailbox page of envelopes at their largest."""


class Calls:
    """What every call has in common."""

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | Callable[[], Signer],
        clock: Clock,
        timeout: timedelta = timedelta(seconds=10),
        transport: httpx2.AsyncBaseTransport | None = None,
        ca: Path | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._sign_with = signer if callable(signer) else lambda: signer
        self._clock = clock
        self.clock_ahead: timedelta | None = None
        """How far the hub's clock was ahead of ours at its last answer, to the second; None while
        it has not dated one."""
        self._timeout = timeout.total_seconds()
        self._transport = transport or KeptConnections(verify=_context(ca))
        self._http = httpx2.AsyncClient(
            timeout=self._timeout,
            transport=self._transport,
            follow_redirects=False,
            trust_env=False,
        )
        """For what is streamed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _json(
        self, method: str, path: str, *, body: bytes = b"", held_open: float = 0.0
    ) -> dict[str, Any]:
        answer = await self._send(method, path, body=body, signed=True, held_open=held_open)
        if answer.status_code != 200:
            raise error_of(problem(answer), answer.status_code)
        parsed = strict_json.parse(answer.content, limit=ANSWER_LIMIT)
        if not isinstance(parsed, dict):
            raise HubUnreachable("the hub's answer is not an object")
        return parsed

    async def _expect(
        self,
        method: str,
        path: str,
        *,
        body: bytes,
        media: str = "application/json",
        signed: bool = False,
    ) -> None:
        answer = await self._send(method, path, body=body, media=media, signed=signed)
        if not answer.is_success:
            raise error_of(problem(answer), answer.status_code)

    async def _expect_stream(
        self, method: str, path: str, chunks: AsyncIterator[bytes], *, size: int
    ) -> None:
        url = self.url + path
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        headers |= sign_request(
            method=method,
            url=url,
            headers=headers,
            body=b"",
            signer=self._sign_with(),
            now=self._clock.now(),
        )
        try:
            answer = await self._http.request(method, url, headers=headers, content=chunks)
        except httpx2.TransportError as error:
            raise HubUnreachable(type(error).__name__) from error
        if not answer.is_success:
            raise error_of(problem(answer), answer.status_code)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        media: str = "application/json",
        signed: bool = False,
        held_open: float = 0.0,
    ) -> httpx2.Response:
        url = self.url + path
        headers = {"content-type": media} if body else {}
        if signed:
            headers |= sign_request(
                method=method,
                url=url,
                headers=headers,
                body=body,
                signer=self._sign_with(),
                now=self._clock.now(),
            )
        patience = httpx2.Timeout(self._timeout + held_open).as_dict()
        request = httpx2.Request(
            method, url, headers=headers, content=body or None, extensions={"timeout": patience}
        )
        try:
            # Past the client, which has redirects, cookies and logins in mind and takes as long.
            answer = await self._transport.handle_async_request(request)
            await answer.aread()
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise HubUnreachable(type(error).__name__) from error
        # Also of a refusal: whoever is more than ten minutes off is answered with nothing else.
        dated = _date_of(answer)
        if dated is not None:
            self.clock_ahead = dated - self._clock.now()
        return answer


def _date_of(answer: httpx2.Response) -> datetime | None:
    """When the hub, or the proxy in front of it, says that it answered (RFC 9110, 6.6.1)."""
    try:
        return parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError):
        return None


def _context(ca: Path | None) -> ssl.SSLContext | None:
    return None if ca is None else ssl.create_default_context(cafile=str(ca))


def problem(answer: httpx2.Response) -> Mapping[str, Any]:
    """The problem document of an answer; anything else, from a proxy say, is an empty one."""
    try:
        parsed = strict_json.parse(answer.content, limit=4 * 1024 * 1024)
    except Refused:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def is_later(answer: httpx2.Response, said: Mapping[str, Any]) -> bool:
    """True if the answer is no word of the hub's, or its word that it cannot now."""
    # 401 and 403 without a code, 404 without one: a proxy or a wrong address, not the hub's word.
    return (
        answer.status_code >= 500
        or answer.status_code == 429
        or answer.status_code < 400
        or "code" not in said
    )


def error_of(said: Mapping[str, Any], status: int) -> BrokerError:
    """The error that the hub named, as ours."""
    code = str(said.get("code", ""))[:40]
    if status == 429 or code == "":
        return Unavailable(code or f"http {status}")
    kind = codes().get(code)
    if kind is None or issubclass(kind, Suspect):
        return Unavailable(f"http {status}") if status >= 500 else Refused(quote(code))
    return kind("said by the hub")
