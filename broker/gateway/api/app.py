"""The API application: routes, guard, health."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from broker.gateway.api import (
    cases,
    consents,
    deadlines,
    inbound,
    messages,
    notices,
    overview,
    participants,
    questions,
    rights,
    safeguards,
    statistics,
)
from broker.gateway.api.guard import Guard
from broker.gateway.parts import Parts
from broker.http import install_error_handlers
from schemas.errors import BrokerError


def create_api(parts: Parts, *, not_ready: Callable[[], tuple[str, ...]]) -> FastAPI:
    """The local API of one gateway.

    Args:
        not_ready: What keeps the gateway from working, as codes; empty when it works.
    """
    app = FastAPI(title="Referral gateway", docs_url=None, redoc_url=None, openapi_url=None)
    install_error_handlers(app)
    app.add_middleware(Guard, settings=parts.core.settings.api, database=parts.core.database)
    for module in (
        messages,
        cases,
        consents,
        deadlines,
        overview,
        inbound,
        notices,
        participants,
        questions,
        rights,
        safeguards,
        statistics,
    ):
        app.include_router(module.router(parts))

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/startupz")
    async def startupz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Red when it cannot record, decide or sign. A hub that is away does not make it red:
        what is sent meanwhile waits on disk."""
        codes = list(not_ready())
        try:
            await parts.core.database.require_writable()
        except BrokerError as error:
            codes.append(error.code)
        return JSONResponse({"codes": codes}, status_code=503 if codes else 200)

    return app
