"""Who is asking (RFC 9421), how often, and how answers are written."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from broker.http import limited_body, problem
from broker.hub.intake.limiting import Limiter
from broker.hub.state import Hub
from keys.http_signing import Nonces, verify_request
from schemas.directory import Participant
from schemas.errors import BrokerError, Forbidden, RateLimited, Unauthenticated

JOSE = "application/jose+json"
MAX_REQUEST_BYTES = 64 * 1024
"""Of what is not a signed object: a list of delivery numbers, an incarnation."""
CREATED = re.compile(r";created=(\d+)")


class Callers:
    """Tells participants apart by the signatures on their requests."""

    def __init__(self, hub: Hub, limiter: Limiter) -> None:
        self._hub = hub
        self._limiter = limiter
        self._nonces = Nonces()

    async def body(self, request: Request) -> tuple[Participant, bytes]:
        """The caller, and the body that the signature covers."""
        body = await limited_body(request, MAX_REQUEST_BYTES)
        return self._verify(request, body), body

    def of(self, request: Request) -> Participant:
        """The caller of a request without a body, or whose path names the body's digest."""
        return self._verify(request, b"")

    def _verify(self, request: Request, body: bytes) -> Participant:
        hub = self._hub
        try:
            caller = verify_request(
                method=request.method,
                url=self._url(request),
                headers=_once(request),
                body=body,
                directory=hub.directory.current(),
                now=hub.clock.now(),
                nonces=self._nonces,
            )
        except Unauthenticated:
            hub.metrics.strangers.labels(Unauthenticated.code).inc()
            raise
        self._compare_clocks(caller.id, request.headers["signature-input"])
        if caller.suspended:
            raise Forbidden
        if not self._limiter.request(caller.id):
            raise RateLimited
        return caller

    def _compare_clocks(self, participant: str, signed: str) -> None:
        # Verified a moment ago, so it is there; whole seconds.
        found = CREATED.search(signed)
        if found is not None:
            ahead = int(found[1]) - self._hub.clock.now().timestamp()
            self._hub.metrics.clock_ahead.labels(participant).set(round(ahead))

    def _url(self, request: Request) -> str:
        """The URL as the caller wrote it: the proxy in front may have changed scheme and host."""
        public = self._hub.settings.public_url
        base = public.rstrip("/") if public else f"{request.url.scheme}://{request.url.netloc}"
        path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        query: bytes = request.scope.get("query_string", b"")
        return base + path.decode("ascii") + ("?" + query.decode("ascii") if query else "")


def _once(request: Request) -> dict[str, str]:
    """The headers; a signature header that comes twice is refused, not merged."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        if name in found and name in ("signature", "signature-input", "content-digest"):
            raise Unauthenticated
        found[name] = value
    return found


def jose(raw: bytes, status: int) -> Response:
    """A signed object as it is."""
    return Response(raw, status_code=status, media_type=JOSE)


def refused(error: BrokerError, evidence: bytes) -> Response:
    """A problem document with the signed evidence of the refusal in it."""
    answer = problem(error)
    body: dict[str, Any] = json.loads(bytes(answer.body))
    body["evidence"] = evidence.decode()
    return Response(json.dumps(body), status_code=answer.status_code, media_type=answer.media_type)
