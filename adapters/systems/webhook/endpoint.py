"""One HTTP endpoint: a signed POST, one strict JSON answer, or a clear "nothing happened".

Each request has a connection of its own. A kept one may have been closed by the other side just
now, and then nobody could say whether the request had arrived.

Nothing of an answer that is not the endpoint's own word is used: no redirect is followed, no
error page read, no compressed body unpacked. A request and its answer have one time limit in all,
however slowly the bytes drip.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from adapters.systems.webhook.breaker import Breaker
from adapters.systems.webhook.tls import Tls

SignRequest = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]

SPOKEN: Final = frozenset({200, 201, 409, 422})
"""Statuses with which the endpoint itself speaks, in JSON."""
NOT_DONE: Final = frozenset(
    {301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 411, 413, 414, 415, 421, 426, 429, 431, 503}
)
"""Statuses that say that the request was not carried out. With every other one, nobody knows."""
TOO_LARGE: Final = 413
_DEPTH: Final = 64
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)


class NotDone(Exception):
    """Nothing happened there. Holds a code, never what was sent or answered."""

    def __init__(self, code: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(code)


class NoWord(Exception):
    """It was sent, and the endpoint has not said what it did. Holds a code."""


@dataclass
class Endpoint:
    """Where one country's system listens. Safe to use from several threads."""

    url: str
    """Base address; an act is one segment more."""
    sign: SignRequest | None
    tls: Tls | None
    """None on this machine alone."""
    timeout: float
    """Seconds for one request in all. So long after a pause nothing is under way any more."""
    pause: Path | None = None
    """While this file exists, nothing new begins; what is under way ends."""
    token: Callable[[], str] | None = None
    """A bearer token for gateways in front of the endpoint that know no signatures."""
    breaker: Breaker = field(default_factory=Breaker)
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, act: str, given: Mapping[str, Any], *, limit: int, key: str | None = None) -> Any:
        """One act and the JSON of its answer. Called where no event loop runs.

        Args:
            limit: Bytes of the answer.
            key: Names the act for an endpoint that carries it out once (`Idempotency-Key`).

        Raises:
            NotDone: Paused, resting, not reached, refused.
            NoWord: Too late, cut off, or not an answer.
            Unavailable: The gateway cannot sign now, or a certificate cannot be read.
        """
        with self._entered():
            url = f"{self.url}/{act}"
            body = json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()
            headers = {
                "accept": "application/json",
                "accept-encoding": "identity",
                "content-type": "application/json",
                "user-agent": "referral-gateway",
            }
            if key is not None:
                headers["idempotency-key"] = f'"{key}"'
            if self.token is not None:
                headers["authorization"] = f"Bearer {self.token()}"
            if self.sign is not None:
                headers |= self.sign("POST", url, headers, body)
            tls = None if self.tls is None else self.tls.context()
            return asyncio.run(self._exchange(url, headers, body, limit, tls))

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Pause and breaker around one request, whatever becomes of it."""
        with self._lock:
            if self.pause is not None and self.pause.exists():
                raise NotDone("paused")
            self.breaker, entered = self.breaker.enter(self.clock())
            if entered is None:
                raise NotDone("resting")
            self.in_flight += 1
        try:
            yield
        except (NotDone, NoWord):
            self._leave(lambda breaker: breaker.failed(self.clock(), entered))
            raise
        except BaseException:
            self._leave(lambda breaker: breaker.gave_up(entered))
            raise
        self._leave(Breaker.succeeded)

    def _leave(self, change: Callable[[Breaker], Breaker]) -> None:
        with self._lock:
            self.breaker = change(self.breaker)
            self.in_flight -= 1

    async def _exchange(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        limit: int,
        tls: ssl.SSLContext | None,
    ) -> Any:
        try:
            async with (
                asyncio.timeout(self.timeout),
                httpx2.AsyncClient(
                    verify=False if tls is None else tls,
                    follow_redirects=False,
                    trust_env=False,
                    # A host that cannot be reached is told from one that is silent: sooner.
                    timeout=httpx2.Timeout(None, connect=self.timeout / 2),
                ) as client,
                client.stream("POST", url, headers=dict(headers), content=body) as answer,
            ):
                if answer.status_code not in SPOKEN:
                    raise _unspoken(answer.status_code)
                return _understood(answer, await _content(answer, limit))
        except _NEVER_SENT:
            raise NotDone("not-reached") from None
        except TimeoutError:
            raise NoWord("too-late") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            raise NoWord("cut-off") from None


def _unspoken(status: int) -> Exception:
    if status in NOT_DONE:
        return NotDone("refused", status)
    return NoWord(f"status {status}")


async def _content(answer: httpx2.Response, limit: int) -> bytes:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise NoWord("compressed")  # unpacked, a small body may be a huge one
    content = bytearray()
    async for chunk in answer.aiter_raw():
        content += chunk
        if len(content) > limit:
            raise NoWord("too-large")
    return bytes(content)


def _understood(answer: httpx2.Response, content: bytes) -> Any:
    media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise NoWord("not-json")
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise NoWord("not-json") from None
    if answer.status_code not in (200, 201) and not (
        isinstance(value, dict) and "outcome" in value
    ):
        # An error document of something in between, or of a framework.
        raise NotDone("refused", answer.status_code)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
