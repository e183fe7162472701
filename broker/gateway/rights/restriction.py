"""Frozen: what a person contests is kept and not used (GDPR Art 18).

Neither opened, nor passed on, nor sent, until it is lifted. Danger, withdrawals and her rights
themselves go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.dialect import AnyRow, upsert
from broker.gateway.store.known import Frozen, Stored, frozen
from broker.gateway.store.tables import restriction
from schemas.bodies.rights import Restrict, RestrictLift
from schemas.errors import UseRestricted
from schemas.families.base import Chapter, MessageType

GOES_ON = frozenset({Chapter.SAFETY, Chapter.CONSENT, Chapter.RIGHTS})


async def freeze(
    connection: AsyncConnection,
    *,
    message: UUID,
    by: str,
    case_ref: str,
    about: UUID | None,
    now: datetime,
) -> None:
    """From now on it is not used here.

    Args:
        by: Whose word it is, and whose data: the sender's of a notice, or ourselves.
        case_ref: By that participant's numbering.
        about: One referral only, by its business id; the whole case if none.
    """
    row = {
        "message": message,
        "by": by,
        "case_ref": case_ref,
        "about": about,
        "since": now,
        "lifted_at": None,
    }
    await upsert(connection, restriction, row, key=("message",))


async def thaw(
    connection: AsyncConnection, *, by: str, case_ref: str, about: UUID | None, now: datetime
) -> int:
    """It may be used again: one referral of the case, or all of it. How many that lifted."""
    which = [
        restriction.c.by == by,
        restriction.c.case_ref == case_ref,
        restriction.c.lifted_at.is_(None),
    ]
    if about is not None:
        which.append(restriction.c.about == about)
    done = await connection.execute(update(restriction).where(*which).values(lifted_at=now))
    return done.rowcount


async def obey(
    connection: AsyncConnection,
    body: Restrict | RestrictLift,
    *,
    message: UUID,
    by: str,
    case_ref: str,
    now: datetime,
) -> None:
    """A partner says so of what it sent; in the transaction that receives it."""
    if isinstance(body, Restrict):
        await freeze(
            connection, message=message, by=by, case_ref=case_ref, about=body.about, now=now
        )
    else:
        await thaw(connection, by=by, case_ref=case_ref, about=body.about, now=now)


async def require_usable(
    connection: AsyncConnection, row: MessageType, *, by: str, case_ref: str, business_id: UUID
) -> None:
    """Refuse to show what is frozen.

    Raises:
        UseRestricted: It is kept and not used, until the restriction is lifted.
    """
    if row.chapter in GOES_ON:
        return
    if _is_frozen(await frozen(connection, [case_ref]), (by, case_ref, business_id)):
        raise UseRestricted


async def usable(connection: AsyncConnection, rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Of received messages, those that are not frozen."""
    found = await frozen(connection, [row.case_ref for row in rows]) if rows else []
    return [
        row for row in rows if not _is_frozen(found, (row.sender, row.case_ref, row.business_id))
    ]


def require_sendable(
    core: Core, stored: Stored, row: MessageType, *, case_ref: str, derived_from: UUID | None
) -> None:
    """Refuse to send about a case that is frozen here, or to pass on what is.

    Args:
        stored: What is known under the names of this case and this referral.

    Raises:
        UseRestricted: As above.
    """
    if row.chapter in GOES_ON:
        return
    which: list[_About] = [(core.participant, case_ref, None)]
    if derived_from is not None:
        sources = (met for met in stored.met if met.business_id == derived_from)
        which += [(source.sender, source.case_ref, derived_from) for source in sources]
    if any(_is_frozen(stored.frozen, one) for one in which):
        raise UseRestricted


_About = tuple[str, str, UUID | None]
"""(whose case, its number there, the one referral of it)"""


def _is_frozen(found: Iterable[Frozen], one: _About) -> bool:
    """True if it is frozen by itself or with its whole case."""
    by, case_ref, about = one
    return any((it.by, it.case_ref) == (by, case_ref) and it.about in (None, about) for it in found)
