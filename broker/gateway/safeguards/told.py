"""Whom a person wants nothing to reach, as the partner says from whom we have her case.

The list comes inside the seal with her data, and anew when it changes. It lies in the vault; the
newest of each partner's case stands, in whatever order they came.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.bulk import batches, padded
from broker.gateway.store.dialect import upsert
from broker.gateway.store.known import Case
from broker.gateway.store.tables import inbox, told_exclusion
from broker.gateway.store.together import insert_missing
from schemas.envelope import BARE

ITEM = "not-to"
"""The vault's name for it."""


async def hear(
    core: Core,
    connection: AsyncConnection,
    case: Case,
    not_to: Collection[str],
    *,
    message: UUID,
) -> bool:
    """Keep what a message says, unless a later one has spoken; True if that changes anything."""
    partner, case_ref = case
    row = {"partner": partner, "case_ref": case_ref, "item": None, "message": message}
    if not not_to and await insert_missing(connection, told_exclusion, [row]):
        return False  # the first that we hear of this case, and it names nobody
    known = (
        await connection.execute(
            select(told_exclusion).where(
                told_exclusion.c.partner == partner, told_exclusion.c.case_ref == case_ref
            )
        )
    ).first()
    if known is not None and known.message.int >= message.int:
        return False
    before = frozenset[str]()
    if known is not None and known.item is not None:
        before = entries_of(await core.vault.read(connection, known.item))
    changed = before != frozenset(not_to)
    item = None if known is None else known.item
    if changed and item is not None:
        await core.vault.erase_items(connection, [item])
        item = None
    if changed and not_to:
        text = json.dumps(sorted(not_to)).encode()
        item = await core.vault.store(connection, f"{partner}:{case_ref}", ITEM, None, text)
    await upsert(connection, told_exclusion, row | {"item": item}, key=("partner", "case_ref"))
    return changed


def entries_of(plain: bytes) -> frozenset[str]:
    """A list, as it lies in the vault."""
    return frozenset(json.loads(plain))


async def forget(core: Core, connection: AsyncConnection, cases: Iterable[Case]) -> None:
    """Of cases of which nothing is left here, nobody need be kept away any more."""
    for partner, case_ref in sorted(set(cases)):
        left = await connection.scalar(
            select(inbox.c.id)
            .where(
                inbox.c.case_ref == case_ref,
                inbox.c.sender == partner,
                inbox.c.content.is_not(None),
                inbox.c.kind.not_in([str(kind) for kind in BARE]),
            )
            .limit(1)
        )
        if left is not None:
            continue
        of_case = (told_exclusion.c.partner == partner, told_exclusion.c.case_ref == case_ref)
        items = await connection.scalars(select(told_exclusion.c.item).where(*of_case))
        await core.vault.erase_items(connection, [item for item in items if item is not None])
        await connection.execute(delete(told_exclusion).where(*of_case))


async def business_ids_of(connection: AsyncConnection, cases: Collection[Case]) -> set[UUID]:
    """Under which business ids these cases came."""
    found: set[UUID] = set()
    for some in batches(sorted({case_ref for _, case_ref in cases})):
        rows = await connection.execute(
            select(inbox.c.sender, inbox.c.case_ref, inbox.c.business_id)
            .where(inbox.c.case_ref.in_(padded(some)))
            .distinct()
        )
        found |= {row.business_id for row in rows if (row.sender, row.case_ref) in cases}
    return found
