"""The villain of the story: somebody with the hub's database in hand alters one waiting message.

The hub's operator, or a thief of its disk, can do this; no key is needed. What they cannot do is
sign it again, and that is what the recipient notices.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update

from broker.cli.demo.processes import StoryFailed
from broker.database import Database
from broker.hub.settings import load_settings
from broker.hub.store.tables import PAYLOAD
from schemas.base import b64u, unb64u


def alter_at_rest(settings_file: Path, message: str) -> None:
    """Change one character of a sealed part of an envelope that waits in the hub's database.

    The hub must not be running: it has the file for itself.

    Raises:
        StoryFailed: The envelope is not there.
    """
    asyncio.run(_alter(load_settings(settings_file).database_url(), UUID(message)))


async def _alter(url: str, message: UUID) -> None:
    database = Database(url)
    try:
        async with database.begin() as connection:
            raw = await connection.scalar(
                select(PAYLOAD.c.raw).where(PAYLOAD.c.envelope_id == message)
            )
            if raw is None:
                raise StoryFailed("the message to be altered is not in the hub's database")
            await connection.execute(
                update(PAYLOAD).where(PAYLOAD.c.envelope_id == message).values(raw=altered(raw))
            )
    finally:
        await database.close()


def altered(raw: bytes) -> bytes:
    """The same envelope with one character of its first ciphertext changed; still well-formed."""
    jws = json.loads(raw)
    envelope = json.loads(unb64u(jws["payload"]))
    jwe = envelope["parts"][0]["jwe"]
    first = jwe["ciphertext"][0]
    jwe["ciphertext"] = ("B" if first == "A" else "A") + jwe["ciphertext"][1:]
    payload = json.dumps(envelope, separators=(",", ":")).encode()
    return json.dumps({**jws, "payload": b64u(payload)}, separators=(",", ":")).encode()
