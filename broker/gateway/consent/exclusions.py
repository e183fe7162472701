"""Whom a person wants nothing about her case to reach. Said, taken back, and recorded each time."""

from __future__ import annotations

import json
from typing import Literal

from sqlalchemy import delete

from broker.gateway.core import Core
from broker.gateway.own_log import Decision
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import exclusion
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId, instant_text


async def exclude(core: Core, about: str, participant: ParticipantId, *, worker: str) -> None:
    """Nothing about this case reaches this participant from here any more."""
    now = core.now()
    async with core.database.begin() as connection:
        await upsert(
            connection,
            exclusion,
            {"about": about, "participant": participant, "at": now},
            key=("about", "participant"),
        )
        made = _decision(core, "set", about, participant, worker)
        await core.log.add(connection, [made], now=now)
    core.log.wake()


async def lift(core: Core, about: str, participant: ParticipantId, *, worker: str) -> bool:
    """The person no longer excludes this participant; False if she did not."""
    async with core.database.begin() as connection:
        gone = await connection.execute(
            delete(exclusion).where(
                exclusion.c.about == about, exclusion.c.participant == participant
            )
        )
        if gone.rowcount == 0:
            return False
        made = _decision(core, "lifted", about, participant, worker)
        await core.log.add(connection, [made], now=core.now())
    core.log.wake()
    return True


def _decision(
    core: Core,
    action: Literal["set", "lifted"],
    about: str,
    participant: ParticipantId,
    worker: str,
) -> Decision:
    """Who said it belongs to the record: lifting an exclusion opens a way to this person."""
    record = {
        "about": about,
        "action": action,
        "at": instant_text(core.now()),
        "participant": participant,
        "worker": worker,
    }
    event = Event.EXCLUSION_SET if action == "set" else Event.EXCLUSION_LIFTED
    return Decision(event, subject_of(json.dumps(record, sort_keys=True).encode()))
