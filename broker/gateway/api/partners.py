"""`/v1/partners`: who can be reached, how, and what they can take."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from broker.gateway.partners import all_partners
from broker.gateway.parts import Parts


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/partners")
    async def partners() -> dict[str, Any]:
        """The directory, with what each announced of itself; what is stale says so."""
        return {"partners": await all_partners(parts.core, parts.agreements)}

    return routes
