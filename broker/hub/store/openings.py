"""What opens the leaves that are not evidence: of grants, agreements, directories, revocations.

Evidence carries its own opening. Here are the others, each with the signed statement it is about
where nothing in that is sealed, so that an auditor's bundle can prove them too. What opens the
leaf of a grant is destroyed when the whole grant is withdrawn: the leaf then says nothing to
anybody, and the log verifies as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.store import add_leaves
from broker.hub.store.sql import one_of
from broker.hub.store.tables import GRANT, LOG, OPENING
from broker.hub.store.writing import Writing
from schemas.audit import Opening


def row(
    leaf: bytes,
    opening: Opening,
    *,
    now: datetime,
    statement: bytes | None = None,
    parties: Sequence[str] = (),
    grant: UUID | None = None,
) -> dict[str, Any]:
    """One leaf with what opens it.

    Args:
        statement: The signed object that the leaf is about; None if it is sealed, or elsewhere.
        parties: Whom it concerns; nobody in particular if empty.
        grant: With whose withdrawal the opening is destroyed.
    """
    return {
        "leaf": leaf,
        "salt": opening.salt,
        "subject": opening.subject,
        "statement": statement,
        "parties": " ".join(parties),
        "grant_id": grant,
        "recorded_at": now,
    }


async def record(connection: AsyncConnection, opening: Mapping[str, Any]) -> None:
    """Store one and leave its leaf for the sequencer, in the caller's transaction."""
    await connection.execute(insert(OPENING).values(**opening))
    await add_leaves(connection, LOG, [opening["leaf"]])


def add(writing: Writing, openings: Sequence[Mapping[str, Any]]) -> None:
    """The same, with whatever else the transaction writes."""
    writing.insert(OPENING, openings)
    writing.insert(LOG.leaf_pending, [{"body": one["leaf"]} for one in openings])


async def destroy(connection: AsyncConnection, grants: Iterable[UUID]) -> int:
    """Delete those of the grants, of these, that were withdrawn as a whole; how many that were."""
    ended = select(GRANT.c.id).where(one_of(connection, GRANT.c.id, grants), GRANT.c.withdrawn)
    done = await connection.execute(delete(OPENING).where(OPENING.c.grant_id.in_(ended)))
    return done.rowcount


async def forget(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete those recorded before a moment, as their evidence is."""
    old = (
        select(OPENING.c.id)
        .where(OPENING.c.recorded_at < before)
        .order_by(OPENING.c.recorded_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    done = await connection.execute(delete(OPENING).where(OPENING.c.id.in_(old)))
    return done.rowcount
