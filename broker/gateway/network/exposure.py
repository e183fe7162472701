"""What a compromised key exposed here: which messages, in which time, by compartment.

Three questions, since a key in other hands does three kinds of harm: what was sealed to it may have
been read; what came signed by it may be forged; what was sent in our name may not be ours. Ids and
times only, no word of what is inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.tables import inbox, inbox_section, outbox
from schemas.directory import Compartment, KeyUse, PublishedKey
from schemas.sections.index import SECTION_INDEX, compartment_of


@dataclass(frozen=True, slots=True)
class Exposed:
    """One message and why it is on the list."""

    message: UUID
    partner: str
    at: datetime
    how: str
    """`may-be-read`, `may-be-forged` (in a partner's name), or `sent-as-us`."""
    compartment: Compartment | None
    kid: str

    def row(self) -> dict[str, str | None]:
        """For a table or JSON."""
        return {
            "message": str(self.message),
            "partner": self.partner,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "how": self.how,
            "compartment": self.compartment,
            "key": self.kid,
        }


async def exposed(
    connection: AsyncConnection,
    keys: Sequence[PublishedKey],
    *,
    ours: bool,
    since: datetime,
) -> list[Exposed]:
    """Every message that these keys of one participant expose at this gateway, oldest first.

    Args:
        ours: True for our own keys, False for a partner's.
        since: When they may have come into other hands. What was sealed to a key counts from the
            key's own beginning: ciphertexts are kept by whoever means to steal a key later.
    """
    found: list[Exposed] = []
    for key in keys:
        if ours and key.use is KeyUse.SEAL:
            found += await _read(connection, key)
        elif ours and key.use is KeyUse.SIGN:
            found += await _sent(connection, key, since)
        elif key.use is KeyUse.SIGN:
            found += await _forged(connection, key, since)
    return sorted(found, key=lambda one: (one.at, str(one.message)))


async def _read(connection: AsyncConnection, key: PublishedKey) -> list[Exposed]:
    """What was sealed to a compartment's key: bodies lie in casework, sections each in their own."""
    rows = await connection.execute(
        select(inbox.c.id, inbox.c.sender, inbox.c.received_at, inbox_section.c.section)
        .outerjoin(inbox_section, inbox_section.c.message == inbox.c.id)
        .where(inbox.c.received_at >= key.not_before)
    )
    found = {
        row.id: Exposed(
            row.id, row.sender, row.received_at, "may-be-read", key.compartment, key.kid
        )
        for row in rows
        if key.compartment is Compartment.CASEWORK
        or (row.section in SECTION_INDEX and compartment_of(row.section) is key.compartment)
    }
    return list(found.values())


async def _forged(connection: AsyncConnection, key: PublishedKey, since: datetime) -> list[Exposed]:
    rows = await connection.execute(
        select(inbox.c.id, inbox.c.sender, inbox.c.received_at).where(
            inbox.c.signed_by == key.kid, inbox.c.received_at >= since
        )
    )
    return [Exposed(row[0], row[1], row[2], "may-be-forged", None, key.kid) for row in rows]


async def _sent(connection: AsyncConnection, key: PublishedKey, since: datetime) -> list[Exposed]:
    """All that we did send since then. What a partner has beyond this list is not from us."""
    rows = await connection.execute(
        select(outbox.c.id, outbox.c.recipient, outbox.c.created_at).where(
            outbox.c.created_at >= since
        )
    )
    return [Exposed(row[0], row[1], row[2], "sent-as-us", None, key.kid) for row in rows]
