"""Grants and their changes, agreements, suspensions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from broker.http import Position, limited_body
from broker.hub import registry
from broker.hub.api.requests import Callers
from broker.hub.intake.limiting import Limiter
from broker.hub.state import Hub
from broker.hub.store import agreements, grants
from keys.jws import MAX_STATEMENT_BYTES
from schemas.base import instant_text
from schemas.errors import NotFound


def router(hub: Hub, callers: Callers, limiter: Limiter) -> APIRouter:
    routes = APIRouter()

    @routes.post("/grants")
    async def register_grant(request: Request) -> Response:
        body = await limited_body(request, MAX_STATEMENT_BYTES)
        new = await registry.register_grant(hub, limiter, body)
        return JSONResponse({}, status_code=201 if new else 200)

    @routes.get("/grants/changes")
    async def changes(
        request: Request,
        after: Position = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, object]:
        caller = callers.of(request)
        # Taken before reading: what the answer says was true at this moment, perhaps later too.
        as_of = hub.clock.now()
        async with hub.database.read() as connection:
            found, cursor = await grants.changes(connection, caller.id, after=after, limit=limit)
        return {
            "changes": [
                {"cursor": row.cursor, "grant": str(row.grant_id), "envelope": row.raw.decode()}
                for row in found
            ],
            "cursor": cursor,
            "as_of": instant_text(as_of),
        }

    @routes.get("/grants/{grant}")
    async def state(request: Request, grant: UUID) -> dict[str, object]:
        caller = callers.of(request)
        as_of = hub.clock.now()
        async with hub.database.read() as connection:
            found = await grants.find(connection, grant)
        if found is None or caller.id not in (found.giver, found.recipient):
            raise NotFound
        removed = " ".join(sorted({*found.removed.split(), *hub.stops.removed(grant)}))
        status = registry.grant_status(
            withdrawn=found.withdrawn or hub.stops.wholly(grant),
            removed=removed,
            until_passed=found.until < as_of.date(),
        )
        return {
            "statement": found.raw.decode(),
            "status": status,
            "removed": removed.split(),
            "as_of": instant_text(as_of),
        }

    @routes.post("/agreements")
    async def register_agreement(request: Request) -> Response:
        body = await limited_body(request, MAX_STATEMENT_BYTES)
        new = await registry.register_agreement(hub, limiter, body)
        return JSONResponse({}, status_code=201 if new else 200)

    @routes.get("/agreements")
    async def of_caller(request: Request) -> dict[str, object]:
        caller = callers.of(request)
        async with hub.database.read() as connection:
            found = await agreements.of_party(connection, caller.id)
            said = await agreements.words(connection, [row.id for row in found])
        return {
            "agreements": [
                {
                    "agreement": row.raw.decode(),
                    "suspensions": [raw.decode() for raw in said.get(row.id, [])],
                }
                for row in found
            ]
        }

    @routes.post("/suspensions")
    async def suspend(request: Request) -> Response:
        await registry.suspend(hub, limiter, await limited_body(request, MAX_STATEMENT_BYTES))
        return JSONResponse({}, status_code=201)

    return routes
