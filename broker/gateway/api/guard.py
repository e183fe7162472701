"""Who may talk to the local API: the right `Host`, and a worker's token."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import bindparam, select
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.database import Database
from broker.gateway.api.inbound import CHANGED, NEWS
from broker.gateway.home import token_hash
from broker.gateway.settings import ApiSettings
from broker.gateway.store.tables import worker
from broker.http import problem
from broker.telemetry import logger
from schemas.errors import BrokerError, Forbidden, Unauthenticated, Unavailable

OPEN_PATHS = frozenset({"/livez", "/readyz", "/startupz", NEWS, CHANGED})
"""Without a worker's token. What the case system brings is signed with its own key instead."""
REMEMBER_SECONDS = 1.0
"""How long a worker who was removed may still be taken for one."""
MOST_REMEMBERED = 1024

_BY_TOKEN = select(worker.c.name, worker.c.may_know).where(
    worker.c.token_hash == bindparam("hash"), worker.c.removed_at.is_(None)
)


class Guard:
    """Stands before the application: lets a request in, with the worker that it comes from.

    The host is checked because a page in a worker's browser can point a name of its own at this
    machine (DNS rebinding); its requests then carry that name.
    """

    def __init__(self, app: ASGIApp, *, settings: ApiSettings, database: Database) -> None:
        self._app = app
        self._allowed = {
            name.lower().strip("[]") for name in (*settings.allowed_hosts, settings.host)
        }
        self._workers = Workers(database)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            if scope["path"] not in OPEN_PATHS:
                found = await self._workers(headers.get("authorization", ""))
                scope.setdefault("state", {}).update(worker=found.name, may_know=found.may_know)
        except BrokerError as error:
            if isinstance(error, Unavailable):
                logger().warning("http:unavailable", code=error.code)
            await problem(error)(scope, receive, send)
            return

        async def not_kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, not_kept)

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name.strip("[]") not in self._allowed:
            raise Forbidden("not a name of this gateway")


@dataclass(frozen=True, slots=True)
class Found:
    """A worker, and whether she may know what protects the persons of the cases."""

    name: str
    may_know: bool


class Workers:
    """Finds the worker behind a token, and remembers it for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[Found, float]] = {}

    async def __call__(self, authorization: str) -> Found:
        """The worker.

        Raises:
            Unauthenticated: No token, or one that is not (or no longer) a worker's.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("a worker's token is needed")
        # Looked up by its hash, so the time it takes tells nothing about the token.
        hashed = token_hash(token.strip())
        remembered = self._known.get(hashed)
        now = time.monotonic()
        if remembered is not None and now < remembered[1]:
            return remembered[0]
        async with self._database.read() as connection:
            row = (await connection.execute(_BY_TOKEN, {"hash": hashed})).first()
        if row is None:
            self._known.pop(hashed, None)
            raise Unauthenticated("not a worker's token")
        found = Found(row.name, row.may_know)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[hashed] = (found, now + REMEMBER_SECONDS)
        return found


def current_worker(request: Request) -> str:
    """The worker that the guard has found."""
    name: str = request.state.worker
    return name


def knowing_worker(request: Request) -> str:
    """The worker, if she may know what protects a person.

    Raises:
        Forbidden: She may not.
    """
    if not request.state.may_know:
        raise Forbidden("this worker may not know the safeguards of a case")
    return current_worker(request)


Worker = Annotated[str, Depends(current_worker)]
KnowingWorker = Annotated[str, Depends(knowing_worker)]
