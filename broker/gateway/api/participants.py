"""`/v1/participants`: who can be reached, how, and what they can take."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from broker.gateway.network.participants import all_participants
from broker.gateway.parts import Parts


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/participants")
    async def participants() -> dict[str, Any]:
        """The directory, with what each announced of itself; what is stale says so."""
        return {"participants": await all_participants(parts.core, parts.agreements)}

    return routes
