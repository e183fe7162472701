"""What must not be believed: kept as it came, for a person to look at."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import insert_new
from broker.gateway.store.tables import quarantine
from keys.signing import parse_envelope
from schemas.base import b64u
from schemas.errors import BrokerError


class Claims(NamedTuple):
    """What bytes say of themselves, if they can be read at all. Nothing is believed."""

    message: UUID | None = None
    sender: str | None = None
    to: str | None = None


def claims_of(raw: bytes) -> Claims:
    try:
        content = parse_envelope(raw).content
    except BrokerError:
        return Claims()
    return Claims(content.id, content.from_, content.to)


async def keep_aside(
    connection: AsyncConnection, raw: bytes, error: BrokerError, channel: str, *, now: datetime
) -> None:
    """Keep the bytes as they came, still sealed, and wake a person."""
    digest = b64u(hashlib.sha256(raw).digest())
    claimed = claims_of(raw)
    new = await insert_new(
        connection,
        quarantine,
        {
            "raw": raw,
            "raw_digest": digest,
            "message": claimed.message,
            "claimed_sender": claimed.sender,
            "code": error.code,
            "channel": channel,
            "at": now,
        },
    )
    if new:
        await raise_alarm(connection, "quarantined", claimed.message or digest, now=now)
