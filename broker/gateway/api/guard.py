"""Who may talk to the local API: the right `Host`, and a worker's token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from sqlalchemy import select

from broker.database import Database
from broker.gateway.home import token_hash
from broker.gateway.settings import ApiSettings
from broker.gateway.store.tables import worker
from broker.http import problem
from schemas.errors import Forbidden, Unauthenticated

OPEN_PATHS = frozenset({"/livez", "/readyz", "/startupz"})


def install_host_check(app: FastAPI, settings: ApiSettings) -> None:
    """Refuse requests for another name.

    A page in a worker's browser can point a name of its own at this machine (DNS rebinding); its
    requests then carry that name.
    """
    allowed = {name.lower().strip("[]") for name in (*settings.allowed_hosts, settings.host)}

    @app.middleware("http")
    async def check(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if name.strip("[]") not in allowed:
            return problem(Forbidden("not a name of this gateway"))
        response = await call_next(request)
        response.headers["cache-control"] = "no-store"
        return response


class Workers:
    """Finds the worker behind a token."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, request: Request) -> str:
        """The worker's name.

        Raises:
            Unauthenticated: No token, or one that is not (or no longer) a worker's.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("a worker's token is needed")
        async with self._database.read() as connection:
            # Looked up by its hash, so the time it takes tells nothing about the token.
            name: str | None = await connection.scalar(
                select(worker.c.name).where(
                    worker.c.token_hash == token_hash(token.strip()), worker.c.removed_at.is_(None)
                )
            )
        if name is None:
            raise Unauthenticated("not a worker's token")
        return name


def current_worker(request: Request) -> str:
    """The worker that the router's guard has found."""
    name: str = request.state.worker
    return name


Worker = Annotated[str, Depends(current_worker)]
