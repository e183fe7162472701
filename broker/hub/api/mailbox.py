"""The mailbox: lease and acknowledge, straight from the delivery table; and the other channels."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from broker.hub.api.requests import Callers
from broker.hub.relay.channels import Channels
from broker.hub.relay.handover import take
from broker.hub.state import Hub
from broker.hub.store import deliveries, participants
from broker.hub.store.deliveries import Item
from keys import strict_json
from schemas.base import WireModel
from schemas.envelope import Lane
from schemas.errors import SecondIncarnation

LONGEST_WAIT = 25.0
LOOK_EVERY = 5.0
"""A lease of somebody who died ends without a wake-up, so waiting looks now and then."""
MOST_ITEMS = 256


class Acknowledgements(WireModel):
    """Deliveries that the caller has stored durably."""

    deliveries: Annotated[tuple[int, ...], Field(max_length=4096)]


class Incarnation(WireModel):
    """The name of the caller's database."""

    incarnation: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]


def router(hub: Hub, callers: Callers, channels: Channels) -> APIRouter:
    routes = APIRouter()

    @routes.get("/mailbox")
    async def mailbox(
        request: Request,
        lane: Lane,
        limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 50,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0,
        fresh: bool = False,
    ) -> Response:
        """Lease what is due. With `fresh` the caller says that it is at work on nothing of this
        lane, so that what it was given before and lost with an answer comes at once."""
        caller = callers.of(request)
        if fresh:
            async with hub.database.begin() as connection:
                await deliveries.release(connection, caller.id, lane.value, hub.clock.now())
        items = await _wait_for(request, caller.id, lane, limit, wait)
        for item in items:
            hub.metrics.handed_over.labels("mailbox", item.kind).inc()
        return JSONResponse(
            {
                "items": [
                    {"delivery": item.delivery, "kind": item.kind, "jws": item.raw.decode()}
                    for item in items
                ]
            }
        )

    async def _wait_for(
        request: Request, recipient: str, lane: Lane, limit: int, wait: float
    ) -> list[Item]:
        lease = timedelta(seconds=hub.settings.limits.lease_seconds)
        end = time.monotonic() + wait
        while True:
            # Registered before looking, so that what commits in between is not missed.
            wake = hub.wake.ticket(recipient)
            async with hub.database.read() as connection:
                found = await deliveries.has_due(
                    connection, recipient=recipient, lane=lane.value, now=hub.clock.now()
                )
            if found:
                items = await take(hub, recipient=recipient, lane=lane, limit=limit, lease=lease)
                if items:
                    return items
            left = end - time.monotonic()
            if left <= 0 or hub.wake.ending or await request.is_disconnected():
                return []
            await wake.wait(min(left, LOOK_EVERY))

    @routes.post("/mailbox/acknowledgements")
    async def acknowledge(request: Request) -> Response:
        caller, body = await callers.body(request)
        strict_json.parse(body, limit=len(body))
        asked = Acknowledgements.from_json(body)
        async with hub.database.begin() as connection:
            await deliveries.acknowledge(connection, caller.id, asked.deliveries)
        return Response(status_code=204)

    @routes.post("/incarnation")
    async def incarnation(request: Request) -> dict[str, object]:
        caller, body = await callers.body(request)
        strict_json.parse(body, limit=len(body))
        asked = Incarnation.from_json(body)
        now = hub.clock.now()
        seconds = hub.settings.limits.incarnation_seconds
        async with hub.database.begin() as connection:
            mine = await participants.lease_incarnation(
                connection,
                caller.id,
                asked.incarnation,
                now=now,
                until=now + timedelta(seconds=seconds),
            )
        if not mine:
            raise SecondIncarnation
        return {"lease_seconds": seconds}

    @routes.get("/channels")
    async def which(request: Request, use: str | None = None) -> dict[str, object]:
        """Asking with RabbitMQ configured turns the relay to it; `use=mailbox` turns it back."""
        caller = callers.of(request)
        return await channels.offer(caller.id, use)

    return routes
