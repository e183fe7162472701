"""`/v1/questions`: what only a worker can say before a case is filed."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from broker.gateway.api.guard import Worker
from broker.gateway.api.messages import parse
from broker.gateway.cases.questions import Answer
from broker.gateway.parts import Parts
from schemas.base import ProtectedModel


class Said(ProtectedModel):
    """A worker's answer."""

    answer: Answer
    reference: Annotated[str, Field(min_length=1, max_length=200)] | None = None


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/questions")
    async def questions() -> dict[str, Any]:
        """What waits for an answer, oldest first: who is it, or was it filed."""
        return {"questions": await parts.questions.open()}

    @routes.post("/questions/{message}")
    async def answer(request: Request, message: UUID, worker: Worker) -> dict[str, Any]:
        """Answer; unless the worker is unsure, the case is filed next."""
        said = await parse(request, Said)
        await parts.questions.answer(message, said.answer, reference=said.reference, worker=worker)
        return {"id": str(message), "answer": said.answer.value}

    return routes
