"""Is it alive, has it started, can it do its work: the truth, without looking at anybody's data."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from broker.hub.health import reasons_not_ready, what_ends
from broker.hub.state import Hub


def router(hub: Hub) -> APIRouter:
    routes = APIRouter()

    @routes.api_route("/livez", methods=["GET", "HEAD"])
    async def live() -> Response:
        return JSONResponse({"live": True})

    @routes.api_route("/startupz", methods=["GET", "HEAD"])
    async def started() -> Response:
        done = hub.ready.is_set()
        return JSONResponse({"started": done}, status_code=200 if done else 503)

    @routes.api_route("/readyz", methods=["GET", "HEAD"])
    async def ready() -> Response:
        codes = await reasons_not_ready(hub)
        told = {"ready": not codes, "codes": codes, "ending": what_ends(hub)}
        return JSONResponse(told, status_code=503 if codes else 200)

    return routes
