"""Revocations in, by whoever may say so; out, to every participant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from broker.http import Position, limited_body
from broker.hub.api.requests import Callers
from broker.hub.revocations import revoke
from broker.hub.state import Hub
from broker.hub.store import revocations
from keys.signing import MAX_STATEMENT_BYTES


def router(hub: Hub, callers: Callers) -> APIRouter:
    routes = APIRouter()

    @routes.post("/revocations")
    async def take(request: Request) -> Response:
        new = await revoke(hub, await limited_body(request, MAX_STATEMENT_BYTES))
        return JSONResponse({}, status_code=201 if new else 200)

    @routes.get("/revocations")
    async def feed(
        request: Request,
        after: Position = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, object]:
        callers.of(request)
        async with hub.database.read() as connection:
            found = await revocations.after(connection, after, limit)
        return {
            "revocations": [
                {"position": row.position, "revocation": row.raw.decode()} for row in found
            ]
        }

    return routes
