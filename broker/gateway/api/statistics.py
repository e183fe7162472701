"""`/v1/statistics`: tables of many, what was published of them, and records for research."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import date
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.gateway.api.messages import parse, stored_view
from broker.gateway.parts import Parts
from broker.gateway.statistics import ledger
from broker.gateway.statistics.export import as_csv
from broker.gateway.statistics.page import page
from broker.gateway.statistics.telling import tell
from schemas.base import ParticipantId, ProtectedModel
from schemas.errors import Unavailable


class Publication(ProtectedModel):
    """A period to publish; told to `to` as well, if anybody is named."""

    first: date
    last: date
    to: ParticipantId | None = None


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    async def heard() -> None:
        """Nobody is counted whose withdrawal the hub has. If it cannot be asked, what was heard
        last counts for as long as it is fresh."""
        with contextlib.suppress(Unavailable):
            await parts.receiver.follow_withdrawals()

    @routes.get("/statistics/table")
    async def table(first: date, last: date) -> dict[str, Any]:
        """The tables of a period, as published or as they would be. Small counts are not in it."""
        await heard()
        made = await ledger.tables_of(core, parts.grants, first, last)
        return {
            "first": str(first),
            "last": str(last),
            "figures": ledger.rows_of(made),
            "html": page(made, core.participant),
        }

    @routes.post("/statistics/publications")
    async def publish(request: Request) -> dict[str, Any]:
        """Publish a period: into the ledger, for good, and to a rapporteur."""
        wanted = await parse(request, Publication)
        await heard()
        made = await ledger.publish(core, parts.grants, wanted.first, wanted.last)
        sent = [] if wanted.to is None else await tell(parts, made, wanted.to)
        return {
            "first": str(wanted.first),
            "last": str(wanted.last),
            "figures": ledger.rows_of(made),
            "messages": [stored_view(one) for one in sent],
        }

    @routes.get("/statistics/publications")
    async def publications() -> dict[str, Any]:
        """What was published, period by period."""
        async with core.database.read() as connection:
            found = await ledger.history(connection)
        return {
            "publications": [
                {"id": str(number), "first": str(first), "last": str(last), "at": at}
                for number, first, last, at in found
            ]
        }

    @routes.get("/statistics/export")
    async def export() -> Response:
        """Records in CTDC's variables, as CSV, of those who agree at this moment; every line is there
        at least eleven times."""
        await heard()
        async with core.database.read() as connection:
            records = await ledger.countable(core, parts.grants, connection)
        text, left_out = await asyncio.to_thread(as_csv, records, core.participant)
        return Response(
            text, media_type="text/csv; charset=utf-8", headers={"x-left-out": str(left_out)}
        )

    return routes
