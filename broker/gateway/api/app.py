"""The API application: routes, guard, health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

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
from broker.gateway.core import Core
from broker.gateway.parts import Parts
from broker.http import install_error_handlers
from schemas.errors import BrokerError, CaseSystemUnavailable

PATIENCE = timedelta(seconds=2)
"""So long a folder may take to answer; one of another machine that is away answers never."""


class CaseFolder:
    """Asks whether cases can be filed, where that is a folder of this machine. A system behind a
    network is not asked: it may be away, what is for it waits, and `filing-late` tells of it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asking: asyncio.Task[None] | None = None

    async def require(self) -> None:
        """Return if they can, or if nobody is to ask.

        Raises:
            CaseSystemUnavailable: The folder is missing, cannot be written, or does not answer.
            SchemaRefused: Its spelling cannot be read.
        """
        if not self._core.settings.adapter.is_folder:
            return
        if self._asking is None or self._asking.done():
            # One at a time: who asks again while a disk hangs must not use up the threads.
            self._asking = asyncio.create_task(asyncio.to_thread(self._core.adapter.check))
        answered, _ = await asyncio.wait({self._asking}, timeout=PATIENCE.total_seconds())
        if not answered:
            raise CaseSystemUnavailable("the adapter's folder does not answer")
        await self._asking


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

    case_folder = CaseFolder(parts.core)

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/startupz")
    async def startupz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Red when it cannot record, decide, sign, or write into its folder of cases. A hub that is
        away does not make it red: what is sent meanwhile waits on disk."""
        codes = list(not_ready())
        for able in (parts.core.database.require_writable, case_folder.require):
            try:
                await able()
            except BrokerError as error:
                codes.append(error.code)
        return JSONResponse({"codes": codes}, status_code=503 if codes else 200)

    return app
