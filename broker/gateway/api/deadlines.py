"""`/v1/deadlines`: which answers are owed, by whom, until when."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from broker.gateway.api import views
from broker.gateway.deadlines.answers import ALARMS, Asked, load
from broker.gateway.parts import Parts
from broker.gateway.store.tables import alarm, inbox, outbox
from schemas.catalogue import message_type
from schemas.clock import Standing
from schemas.consent import Purpose
from schemas.errors import NotFound

MOST = 1000
BOXES = {"theirs": outbox, "ours": inbox}
"""Who owes the answer: what we sent is theirs to answer."""


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.get("/deadlines")
    async def deadlines(
        owed: Literal["ours", "theirs"] | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 200,
    ) -> dict[str, Any]:
        """Answers that are owed, those first that somebody must look at first.

        Args:
            owed: Only ours to give, or only theirs.
        """
        found: list[tuple[str, Asked]] = []
        async with core.database.read() as connection:
            roles = {
                row.about: row.role
                for row in await connection.execute(
                    select(alarm.c.about, alarm.c.role).where(
                        alarm.c.code.in_(ALARMS), alarm.c.cleared_at.is_(None)
                    )
                )
            }
            late = [UUID(about) for about in roles]
            for name, box in BOXES.items():
                if owed in (None, name):
                    waiting = await connection.scalars(
                        select(box.c.id)
                        .where(box.c.look_at.is_not(None))
                        .order_by(box.c.look_at)
                        .limit(limit)
                    )
                    asked = await load(connection, box, sorted({*waiting, *late}))
                    found += [(name, one) for one in asked if not one.is_settled()]
        now = core.now()
        rows: list[dict[str, Any]] = []
        for name, one in found:
            reading = one.read(now)
            rows.append(
                {
                    "id": str(one.id),
                    "type": one.type.name,
                    "owed": name,
                    "partner": one.partner,
                    "case_ref": one.case_ref,
                    "thread": str(one.thread),
                    "asked_at": views.moment(one.asked_at),
                    "due_at": views.moment(reading.due_at),
                    "state": reading.standing.value,
                    "role": roles.get(str(one.id)),
                }
            )
        order = [Standing.BREACHED, Standing.WARNED, Standing.RUNNING, Standing.PAUSED]
        rows.sort(key=lambda row: (order.index(Standing(row["state"])), row["due_at"]))
        return {"deadlines": rows[:limit]}

    @routes.get("/deadlines/{message}/draft")
    async def draft(message: UUID) -> dict[str, Any]:
        """The alert that a person is missing, begun from the travel that nobody confirmed. It names
        what two workers still have to say; nothing leaves by itself."""
        async with core.database.read() as connection:
            for box in BOXES.values():
                for one in await load(connection, box, [message]):
                    if one.type.alarm == "arrival-missing":
                        return _missing(one)
        raise NotFound("no travel of which we know")

    return routes


def _missing(one: Asked) -> dict[str, Any]:
    row = message_type("missing.alert")
    body = {"danger": "missing_person", "action": "locate", "known_until": None}
    return {
        "message": {
            "type": row.name,
            "to": one.partner,
            "case_ref": one.case_ref,
            "purpose": Purpose.PROTECTION.value,
            "body": {name: value for name, value in body.items() if value is not None},
            "sections": {},
        },
        "exceptions": sorted(row.exceptions),
        "to_say": ["body.facts", "body.emergency_contact", "body.is_child"],
        "sections": sorted(row.permitted_sections),
    }
