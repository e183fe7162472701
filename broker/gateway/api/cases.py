"""`/v1/cases`: finding a received case, and a sheet of it to be printed.

What is known of a person is no part of a URL, so it is asked for in a body.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from broker.gateway.api.messages import parse
from broker.gateway.cases.finding import CaseSearch, find_cases
from broker.gateway.cases.sheet import case_sheet
from broker.gateway.consent.receipt import as_html, as_text, words_of
from broker.gateway.parts import Parts
from broker.gateway.receive.opening import open_message
from schemas.base import ProtectedModel


class SheetRequest(ProtectedModel):
    """Which message, and in which language."""

    message: UUID
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.post("/cases/search")
    async def search(request: Request) -> dict[str, Any]:
        """Cases by business id, number, name, birth date, sender or day: those that may be opened."""
        return await find_cases(parts, await parse(request, CaseSearch))

    @routes.post("/cases/sheet")
    async def sheet(request: Request) -> dict[str, Any]:
        """One case to be printed. It is opened: the sender is told that it was read."""
        wanted = await parse(request, SheetRequest)
        words_of(wanted.language)  # before anybody is told that it was read
        paper = case_sheet(parts.core, await open_message(parts, wanted.message), wanted.language)
        return {"html": as_html(paper), "text": as_text(paper)}

    return routes
