"""What must be kept for now although somebody asks for its erasure, and on which ground.

A worker says so of a case or of one referral, with a code of GDPR Art 17(3). An erasure then attests
`kept` with that ground for what is held, and destroys it when the hold is taken off. A hold never
opens anything: what was stopped stays stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.own_log import Decision
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow, upsert
from broker.gateway.store.tables import erasure_order, hold
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import instant_text
from schemas.errors import SchemaRefused
from schemas.evidence import is_basis


async def place(core: Core, about: str, basis: str, *, worker: str) -> None:
    """Keep a case, or one referral, on a ground.

    Args:
        about: Our case number, `partner:number` of one that has none here, or a business id.

    Raises:
        SchemaRefused: Not a ground on which anything may be kept.
    """
    if not is_basis(basis):
        raise SchemaRefused(where=("basis",))
    now = core.now()
    async with core.database.begin() as connection:
        row = {"about": about, "basis": basis, "worker": worker, "since": now}
        await upsert(connection, hold, row, key=("about",))
        await core.log.add(connection, [_decision(core, "placed", about, worker)], now=now)
    core.log.wake()


async def take_off(core: Core, about: str, *, worker: str) -> bool:
    """It need not be kept any more: what was asked for meanwhile is erased. False if none was on."""
    now = core.now()
    async with core.database.begin() as connection:
        gone = await connection.execute(delete(hold).where(hold.c.about == about))
        if gone.rowcount == 0:
            return False
        # Each looks again at what is still held of it.
        await connection.execute(
            update(erasure_order)
            .where(erasure_order.c.state == "kept")
            .values(state="stopped", next_attempt_at=now)
        )
        await core.log.add(connection, [_decision(core, "taken-off", about, worker)], now=now)
    core.wakes.withdrawals.set()
    core.log.wake()
    return True


async def all_holds(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Every hold, oldest first."""
    return (await connection.execute(select(hold).order_by(hold.c.since, hold.c.about))).all()


async def held(connection: AsyncConnection, rows: Sequence[AnyRow]) -> dict[UUID, str]:
    """Which of these received messages must be kept, each with its ground."""
    names = {row.id: _names(row) for row in rows if row.state != "erased"}
    wanted = sorted(set().union(*names.values())) if names else []
    grounds: dict[str, str] = {}
    for start in range(0, len(wanted), 256):
        some = padded(wanted[start : start + 256])
        found = await connection.execute(select(hold).where(hold.c.about.in_(some)))
        grounds |= {row.about: row.basis for row in found}
    return {
        message: grounds[min(under)]
        for message, known in names.items()
        if (under := known & grounds.keys())
    }


def _names(row: AnyRow) -> set[str]:
    named = (row.reference, row.recipient_case_ref)
    return {
        str(row.business_id),
        f"{row.sender}:{row.case_ref}",
        *(name for name in named if name is not None),
    }


def _decision(
    core: Core, action: Literal["placed", "taken-off"], about: str, worker: str
) -> Decision:
    record = {"about": about, "action": action, "at": instant_text(core.now()), "worker": worker}
    event = Event.HOLD_PLACED if action == "placed" else Event.HOLD_TAKEN_OFF
    return Decision(event, subject_of(json.dumps(record, sort_keys=True).encode()))
