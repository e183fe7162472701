"""A worker writes down what protects a person. Each change is a leaf of the gateway's own log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.majority import learn
from broker.gateway.core import Core
from broker.gateway.own_log import Decision
from broker.gateway.safeguards.known import written_about
from broker.gateway.safeguards.sweep import ALARM
from broker.gateway.safeguards.words import Safeguards
from broker.gateway.store.alarms import clear_alarms
from broker.gateway.store.dialect import upsert
from broker.gateway.store.tables import safeguard
from broker.gateway.vault.cases import own_case
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import instant_text

ITEM = "safeguards"
"""The vault's name for it."""


async def change(core: Core, about: str, changes: Mapping[str, Any], *, worker: str) -> Safeguards:
    """Change what is named and leave the rest; null takes back what was said.

    Args:
        about: A case number of ours, or the business id of a referral that we received.

    Raises:
        SchemaRefused: No such safeguard, or not a value of it.
    """
    async with core.database.begin() as connection:
        before = await written_about(core, connection, about)
        after = _changed(before or Safeguards(), changes)
        await _keep(core, connection, about, after)
        await learn(core, connection, about)
        await clear_alarms(connection, about, ALARM, now=core.now())
        record = {"about": about, "at": instant_text(core.now()), "worker": worker}
        await core.log.add(
            connection,
            [
                Decision(
                    Event.SAFEGUARDS_CHANGED,
                    subject_of(json.dumps(record, sort_keys=True).encode()),
                )
            ],
            now=core.now(),
        )
    core.log.wake()
    return after


def _changed(before: Safeguards, changes: Mapping[str, Any]) -> Safeguards:
    whole = {**before.to_dict(), **changes}
    said = {name: value for name, value in whole.items() if value is not None}
    return Safeguards.from_json(json.dumps(said))


async def _keep(core: Core, connection: AsyncConnection, about: str, after: Safeguards) -> None:
    case = own_case(about)
    await core.vault.erase(connection, case, ITEM, None)  # what was known before is not kept
    ref = await core.vault.store(connection, case, ITEM, None, after.to_json())
    await upsert(
        connection,
        safeguard,
        {"about": about, "item": ref, "changed_at": core.now()},
        key=("about",),
    )
