"""A later version of a case changes the one that was filed; the case system gets no second one.

`referral.amend` brings the whole anew, `rectify.notice` the sections that were wrong. Which case is
meant is what the sender says by business id, and only a case that this sender sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import select

from adapters.base import Declined, Skill
from broker.gateway.core import Core, ToFile
from broker.gateway.store.tables import inbox
from schemas.catalogue import message_type
from schemas.errors import BrokerError, CaseSystemUnavailable

NOT_YET = ("delivered", "filing", "held")
"""Of the version before: whether it is in the case system is not settled."""


async def file_version(core: Core, item: ToFile) -> object:
    """An outcome or an error, as for any filing. Repeating it changes nothing.

    The caller holds the locks of both business ids, so that neither is erased meanwhile.
    """
    async with core.database.read() as connection:
        rows = await connection.execute(
            select(inbox.c.type, inbox.c.state, inbox.c.reference)
            .where(
                inbox.c.business_id == item.supersedes,
                inbox.c.sender == item.sender,
                inbox.c.id != item.id,
            )
            .order_by(inbox.c.position.desc())
        )
        before = [row for row in rows if message_type(row.type).filed]
    if any(row.state in NOT_YET for row in before):
        return CaseSystemUnavailable("the version before is not filed yet")
    filed = next((row for row in before if row.state == "filed" and row.reference), None)
    if filed is None:
        return Declined("not-found")
    skills = core.adapter.skills
    if Skill.UPDATE not in skills or (item.in_part and Skill.READ not in skills):
        return Declined("not-supported")
    try:
        return await asyncio.to_thread(_update, core, item, str(filed.reference))
    except BrokerError as error:
        return error


def _update(core: Core, item: ToFile, reference: str) -> object:
    case = item.case
    if item.in_part:
        there = core.adapter.read(reference)
        if there is None:
            return Declined("not-found")
        case = replace(there, sections={**there.sections, **case.sections})
    return core.adapter.update(reference, case)
