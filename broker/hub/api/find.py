"""`GET /find`: whom to call. For anybody; nothing is asked, nothing is noted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from broker.hub.finding import as_page
from broker.hub.state import Hub

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "max-age=300",
}


def router(hub: Hub) -> APIRouter:
    routes = APIRouter()

    @routes.get("/find")
    def find(
        lang: Annotated[str, Query(pattern=r"^[a-z]{2}$")] = "en",
        country: Annotated[str | None, Query(pattern=r"^[A-Z]{2}$")] = None,
    ) -> HTMLResponse:
        """The page, from the newest directory that verified."""
        page = as_page(hub.directory.current(), lang, country)
        return HTMLResponse(page, headers=HEADERS)

    return routes
