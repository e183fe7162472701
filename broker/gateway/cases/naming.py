"""Which case a worker means. What she writes down under a number that names nothing protects nobody.

Her inbox shows the sender's numbers, and a number of hers may look like them; so what is a partner's
is never taken for ours.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.store.tables import disclosure, grant, inbox, outbox
from schemas.errors import NotFound

BY_PARTNER: Final = "write PARTNER:NUMBER, or say that it is ours"
BY_BUSINESS_ID: Final = "name it by the business id of its referral, or say that it is ours"
BY_NOTHING: Final = "she asks them, and they tell everyone who has it; or say that it is ours"


async def require_named(core: Core, about: str, *, ours: bool, otherwise: str) -> None:
    """As `require_ours`, where a worker did not say that it is ours."""
    if not ours:
        async with core.database.read() as connection:
            await require_ours(core, connection, about, otherwise=otherwise)


async def require_ours(
    core: Core, connection: AsyncConnection, about: str, *, otherwise: str
) -> None:
    """Refuse a partner's case number where ours is meant. One that nobody has used yet may be ours: of
    a case from which nothing has been sent.

    Args:
        otherwise: How a partner's case is named there.

    Raises:
        NotFound: It is a partner's, and not ours.
    """
    senders = await connection.scalars(
        select(inbox.c.sender).where(inbox.c.case_ref == about).distinct().limit(3)
    )
    named = ", ".join(sorted(senders))
    if named and not await _is_ours(core, connection, about):
        raise NotFound(f"this is a case number of {named}; {otherwise}")


async def require_known(core: Core, connection: AsyncConnection, case: str) -> None:
    """Refuse a number of which nothing is here, so that nobody is told that nothing is held of her
    because it was written wrongly.

    Args:
        case: Our case number, or `partner:number`.

    Raises:
        NotFound: Nothing here is of it.
    """
    partner, colon, number = case.rpartition(":")
    if colon:
        theirs = (inbox.c.sender == partner) & (inbox.c.case_ref == number)
        known = await _any(connection, theirs)
    else:
        await require_ours(core, connection, case, otherwise=BY_PARTNER)
        known = await _is_ours(core, connection, case)
    if not known:
        raise NotFound("nothing is here of a case of this number")


async def _is_ours(core: Core, connection: AsyncConnection, case: str) -> bool:
    # The first is indexed and nearly always says it; boxes are read through only for the rest.
    ours = (
        disclosure.c.own_case == case,
        inbox.c.recipient_case_ref == case,
        (grant.c.case_ref == case) & (grant.c.sender == core.participant),
        outbox.c.case_ref == case,
    )
    for condition in ours:
        if await _any(connection, condition):
            return True
    return False


async def _any(connection: AsyncConnection, condition: ColumnElement[bool]) -> bool:
    return await connection.scalar(select(literal(1)).where(condition).limit(1)) is not None
