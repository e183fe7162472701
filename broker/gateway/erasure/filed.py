"""The case system's copy: removed, or the sections of it that are to go; and what can be said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import and_, or_, select

from adapters.base import CannotErase, CaseRecord, Declined, Filed, Kept, Memory, Skill
from broker.gateway.cases.once import BEGUN
from broker.gateway.core import Core
from broker.gateway.receive.filing import HAS_CASE
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_section
from schemas.errors import OutcomeUnknown, Refused
from schemas.evidence import Erasure, Store, StoreErasure, is_basis

ERASED = StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.ERASED)
UNKNOWN = StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.UNKNOWN)
_WORST = (Erasure.UNKNOWN, Erasure.KEPT, Erasure.ERASED)


async def erase_filed(
    core: Core, message: AnyRow, gone: Sequence[str], *, whole: bool
) -> StoreErasure:
    """Remove a case from the case system, or the sections that are to go.

    The business id finds it even if we died between filing it and writing that down. The caller holds
    the case's lock.

    Raises:
        Refused: The system keeps a section of a case that it keeps.
        Unavailable: It cannot be asked now.
    """
    if not await _has_case(core, message):
        return ERASED
    filed = None
    if core.adapter.memory is Memory.LOOKUP:
        filed = await asyncio.to_thread(core.adapter.find, message.business_id)
    reference = message.reference if filed is None else filed.reference
    if reference is None:
        # A system that cannot be asked may have it if it was ever told.
        told = core.adapter.memory is not Memory.LOOKUP and message.state == "filing"
        return UNKNOWN if told or message.code in (OutcomeUnknown.code, BEGUN) else ERASED
    if whole:
        outcome = await asyncio.to_thread(core.adapter.erase, reference)
        if isinstance(outcome, Kept) and is_basis(outcome.basis):
            return StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.KEPT, basis=outcome.basis)
        return UNKNOWN if isinstance(outcome, Kept | CannotErase) else ERASED
    if Skill.UPDATE not in core.adapter.skills:
        return UNKNOWN
    case = await _case_of(core, message, reference)
    if case is None or not set(case.sections) & set(gone):
        return ERASED
    kept = {name: value for name, value in case.sections.items() if name not in gone}
    updated = await asyncio.to_thread(core.adapter.update, reference, replace(case, sections=kept))
    gone_since = isinstance(updated, Declined) and updated.code == "not-found"
    if not isinstance(updated, Filed) and not gone_since:
        raise Refused("the case system keeps a section that is to go")
    return ERASED


def together(found: Sequence[StoreErasure]) -> StoreErasure:
    """One word for all cases of an order in the case system: the worst of them."""
    return min((*found, ERASED), key=lambda one: _WORST.index(one.outcome))


async def _case_of(core: Core, message: AnyRow, reference: str) -> CaseRecord | None:
    """What the case system holds; of one that cannot be read, what it was given."""
    if Skill.READ in core.adapter.skills:
        return await asyncio.to_thread(core.adapter.read, reference)
    async with core.database.read() as connection:
        rows = await connection.execute(
            select(inbox_section.c.section, inbox_section.c.content).where(
                inbox_section.c.message == message.id
            )
        )
        where = {row.section: row.content for row in rows}
        held = [ref for ref in where.values() if ref is not None]
        plain = await core.vault.read_many(connection, held)
    # A section that is gone from the vault is named with nothing in it: it is to go there too.
    sections = {name: json.loads(plain[ref]) if ref in plain else {} for name, ref in where.items()}
    return CaseRecord(
        case_ref=message.case_ref,
        sections=sections,
        business_id=message.business_id,
        sender=message.sender,
    )


async def _has_case(core: Core, message: AnyRow) -> bool:
    """False if the case under this business id is another message's, as `filing` decides it.

    Who was told where it lies has it. Who died before writing that down has it too, unless it came
    after another who has it or may have it.
    """
    if message.reference is not None:
        return True
    async with core.database.read() as connection:
        rows = await connection.execute(
            select(inbox.c.sender, inbox.c.type, inbox.c.grant).where(
                inbox.c.business_id == message.business_id,
                inbox.c.state != "erased",
                or_(
                    inbox.c.reference.is_not(None),
                    and_(inbox.c.state.in_(HAS_CASE), inbox.c.position < message.position),
                ),
            )
        )
        key = (message.sender, message.type, message.grant)
        return all((row.sender, row.type, row.grant) == key for row in rows)
