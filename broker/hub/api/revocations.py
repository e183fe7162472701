"""Revocations in, by whoever may say so; out, to every participant."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from broker.http import Position, limited_body
from broker.hub.api.requests import Callers
from broker.hub.revocations import TOPIC, revoke
from broker.hub.state import Hub
from broker.hub.store import revocations
from keys.jws import MAX_STATEMENT_BYTES

LOOK_EVERY = 5.0
"""Seconds: a wake-up that was lost costs no more."""


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
        wait: Annotated[float, Query(ge=0, le=25)] = 0,
    ) -> dict[str, object]:
        """Everybody's; `wait` holds the request, in seconds, until there is one."""
        callers.of(request)
        end = time.monotonic() + wait
        while True:
            # Registered before looking, so that what commits in between is not missed.
            wake = hub.wake.ticket(TOPIC)
            async with hub.database.read() as connection:
                found = await revocations.after(connection, after, limit)
            left = end - time.monotonic()
            if found or left <= 0 or hub.wake.ending or await request.is_disconnected():
                break
            await wake.wait(min(left, LOOK_EVERY))
        return {
            "revocations": [
                {"position": row.position, "revocation": row.raw.decode()} for row in found
            ]
        }

    return routes
