"""The HTTP edge: problem documents (RFC 9457), body limits, no echo of what was sent.

HTTP status codes exist here and nowhere else; the rest of the code raises what
`schemas.errors` defines.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from broker.telemetry import logger
from keys.strict_json import MAX_INTEGER
from schemas.errors import BrokerError, SchemaRefused, Suspect, TooLarge, Truncated, Unavailable

PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = 5

Position = Annotated[int, Query(ge=0, le=MAX_INTEGER)]
"""How far a caller has read. Bounded as every integer of the protocol is: a database would fail on
what does not fit into its own."""
RowNumber = Annotated[int, Path(ge=0, le=MAX_INTEGER)]
DigestName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""SHA-256 of what is asked for, base64url."""


def require_free(host: str, port: int) -> None:
    """Refuse an address where this process could not listen, before it serves anybody. The server
    itself says so in a line of its library's log, of which we keep the place alone.

    Raises:
        Unavailable: Another program listens there, or the address is none of this machine's.
    """
    why, free = "no such address", False
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(f"cannot listen at {host}:{port}: {error.strerror}") from None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen()
                free = True
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why, free = "another program does", False
                break
            why = error.strerror or why  # a name may stand for a family that this machine has not
    if not free:
        raise Unavailable(f"cannot listen at {host}:{port}: {why}")


def problem(error: BrokerError) -> JSONResponse:
    """Answer an error as a problem document. A `Suspect` says nothing but that."""
    if isinstance(error, Suspect):
        body: dict[str, object] = {"type": "about:blank", "status": 400, "code": "suspect"}
        return JSONResponse(body, status_code=400, media_type=PROBLEM)
    body = {
        "type": f"urn:referral-broker:error:{error.code}",
        "title": (type(error).__doc__ or error.code).splitlines()[0],
        "status": error.status,
        "code": error.code,
        "family": error.family,
    }
    if error.detail:
        body["detail"] = error.detail
    if error.where:
        body["where"] = list(error.where)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status in (503, 429) else None
    return JSONResponse(body, status_code=error.status, media_type=PROBLEM, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Replace FastAPI's handlers, which repeat what the client typed."""

    async def broker_error(_request: Request, error: Exception) -> Response:
        if not isinstance(error, BrokerError):
            raise error
        if isinstance(error, Unavailable):
            logger().warning("http:unavailable", code=error.code)
        return problem(error)

    async def validation(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        where = tuple(
            ".".join(str(step) for step in item["loc"]) + ": " + item["type"]
            for item in error.errors()
        )
        return problem(SchemaRefused(where=where[:20]))

    async def http_error(_request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        body = {"type": "about:blank", "status": error.status_code, "code": "http"}
        return JSONResponse(body, status_code=error.status_code, media_type=PROBLEM)

    async def bug(request: Request, error: Exception) -> Response:
        route = request.scope.get("route")
        logger().error(
            "http:bug", route=getattr(route, "path", None), method=request.method, exc_info=error
        )
        body = {"type": "about:blank", "status": 500, "code": "internal"}
        return JSONResponse(body, status_code=500, media_type=PROBLEM)

    app.add_exception_handler(BrokerError, broker_error)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, bug)


async def limited_body(request: Request, limit: int) -> bytes:
    """Read a whole body of at most `limit` bytes.

    Raises:
        TooLarge: Longer, announced or not; reading stops at the limit.
        Truncated: Shorter than its Content-Length.
    """
    announced = request.headers.get("content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"more than {limit} bytes")
    body = bytearray()
    async for chunk in limited_stream(request, limit):
        body += chunk
    if announced is not None and announced.isdigit() and len(body) != int(announced):
        raise Truncated(f"{len(body)} of {announced} bytes")
    return bytes(body)


async def limited_stream(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in chunks as they come, at most `limit` bytes in all.

    Raises:
        TooLarge: Longer.
        Truncated: The sender hung up before the end, which happens to anybody and is no bug.
    """
    total = 0
    try:
        async for chunk in request.stream():
            total += len(chunk)
            if total > limit:
                raise TooLarge(f"more than {limit} bytes")
            yield chunk
    except ClientDisconnect:
        raise Truncated("the sender hung up") from None
