"""`/v1/notices`: what a person is still to be told, and that she was."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import Field

from broker.gateway.api.guard import Worker
from broker.gateway.api.messages import parse
from broker.gateway.consent.receipt import as_html, as_text
from broker.gateway.notices import queue
from broker.gateway.parts import Parts
from schemas.base import ProtectedModel


class Given(ProtectedModel):
    """How she was told."""

    how: Literal["handed_over", "read_out", "safe_contact", "by_other_office", "not_wanted"]
    by: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None
    """Of `safe_contact`: the way that she called safe (code list `contact_method`)."""
    times_read: bool = False
    """She said in words when she may be reached; the worker has read them and kept to them."""


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.get("/notices")
    async def notices() -> dict[str, Any]:
        """What is still to be told, oldest first."""
        return {"notices": await queue.waiting(core)}

    @routes.get("/notices/{notice}")
    async def paper(
        notice: UUID, language: Annotated[str, Query(pattern=r"^[a-z]{2}$")] = "en"
    ) -> dict[str, Any]:
        """One notice to be handed over or read out, and her own rules for reaching her: which
        ways are open now stands in `contact.ways`."""
        made, contact = await queue.paper(core, notice, language)
        return {"html": as_html(made), "text": as_text(made), "contact": contact}

    @routes.post("/notices/{notice}/done")
    async def done(request: Request, notice: UUID, worker: Worker) -> dict[str, Any]:
        """She was told; or does not want to be. Not by a way or at a time that she excluded."""
        given = await parse(request, Given)
        await queue.done(
            core, notice, given.how, worker=worker, by=given.by, times_read=given.times_read
        )
        return {"id": str(notice), "how": given.how}

    return routes
