"""Who can be reached, how, and what they can take: the directory, and what each announced of itself.

What changes rarely is the directory's, signed by countries. What changes daily (room, hours, staff
by role, telephones) each says itself (`directory.announce`), with the day on which it will say it
again. After that day it is stale: who is there may still be right, so telephones stay and are marked;
what can be taken is not shown any more, and nobody refers on the strength of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.store.tables import inbox
from schemas.base import instant_text
from schemas.bodies.network import Announce
from schemas.directory import Function, Participant
from schemas.errors import NotFound
from schemas.message import Message

ANNOUNCED = "directory.announce"


@dataclass(frozen=True, slots=True)
class Announced:
    """What a participant said of itself, and when it came."""

    said: Announce
    at: datetime

    def stale(self, today: date) -> bool:
        """True if it should have been said again by now."""
        return self.said.confirm_again_by < today


async def all_participants(core: Core, agreements: Agreements) -> list[dict[str, Any]]:
    """Everybody in the directory but ourselves, for a worker's eyes."""
    async with core.database.read() as connection:
        announced = await _announced(core, connection)
    agreed, today = set(agreements.partners()), core.now().date()
    entries = core.trusted().participants.values()
    return [
        _view(one, announced.get(one.id), agreed=one.id in agreed, today=today)
        for one in sorted(entries, key=lambda entry: (entry.country, entry.id))
        if one.id != core.participant and one.function is not Function.HUB
    ]


async def emergency_telephone(core: Core, participant: str) -> str | None:
    """Whom to call there when a message may not be enough: as announced, else as published."""
    async with core.database.read() as connection:
        announced = await _announced(core, connection, participant)
    found = announced.get(participant)
    if found is not None:
        return found.said.emergency_telephone
    entry = core.partner(participant).entry_point
    return None if entry is None else entry.telephone


async def _announced(
    core: Core, connection: AsyncConnection, participant: str | None = None
) -> dict[str, Announced]:
    """The newest of each that is here."""
    query = select(inbox.c.sender, inbox.c.content, inbox.c.received_at).where(
        inbox.c.type == ANNOUNCED,
        inbox.c.content.is_not(None),
        inbox.c.state.not_in(("stopped", "erased")),
    )
    if participant is not None:
        query = query.where(inbox.c.sender == participant)
    rows = await connection.execute(query.order_by(inbox.c.position))
    newest = {row.sender: row for row in rows}
    try:
        plain = await core.vault.read_many(connection, [row.content for row in newest.values()])
    except NotFound:  # erased between our looking and our reading
        return {}
    return {
        sender: Announced(
            Announce.model_validate_json(json.dumps(Message.from_json(plain[row.content]).body)),
            row.received_at,
        )
        for sender, row in newest.items()
    }


def _view(
    one: Participant, announced: Announced | None, *, agreed: bool, today: date
) -> dict[str, Any]:
    point = one.entry_point
    return {
        "id": one.id,
        "name": one.name,
        "country": one.country,
        "kind": one.kind.value,
        "function": one.function.value,
        "hosted_by": one.hosted_by,
        "suspended": one.suspended,
        "agreement": agreed,
        "telephone": None if point is None else point.telephone,
        "announced": None if announced is None else _said(announced, today),
    }


def _said(announced: Announced, today: date) -> dict[str, Any]:
    stale = announced.stale(today)
    told = announced.said.to_dict()
    if stale:
        told["services"] = []
    return {**told, "at": instant_text(announced.at), "stale": stale}
