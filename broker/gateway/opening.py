"""Opening: a worker reads a message. Consent is asked once more, and the sender learns *read*."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from broker.gateway.content_check import ask, consent_of, read_record
from broker.gateway.own_log import Decision
from broker.gateway.parts import Parts
from broker.gateway.receipts import Owed, owe
from broker.gateway.store import grants as grant_store
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_attachment, inbox_section
from broker.rules.content import Moment
from schemas.audit import Event
from schemas.base import unb64u
from schemas.catalogue import message_type
from schemas.errors import ConsentWithdrawn, NotFound
from schemas.evidence import Fact
from schemas.message import Message


async def open_message(parts: Parts, message: UUID) -> dict[str, Any]:
    """The content of a received message.

    1. It was not withdrawn or erased.
    2. The content rules still allow it: consent may have run out since it was delivered.
    3. That it was read is recorded and owed to the sender, before anything is shown.

    Raises:
        NotFound: No such message here.
        ConsentWithdrawn: It was withdrawn; what was here is gone or going.
        Refused: As the content rules say.
    """
    core = parts.core
    async with core.database.read() as connection:
        row = (await connection.execute(select(inbox).where(inbox.c.id == message))).first()
        if row is None:
            raise NotFound("no such message")
        if row.state in ("stopped", "erased") or row.content is None:
            raise ConsentWithdrawn  # 1
        sections = (
            await connection.execute(
                select(inbox_section).where(
                    inbox_section.c.message == message, inbox_section.c.content.is_not(None)
                )
            )
        ).all()
        refs = [row.content, *(section.content for section in sections)]
        plain = await core.vault.read_many(connection, refs)
        files = (
            await connection.execute(
                select(inbox_attachment).where(inbox_attachment.c.message == message)
            )
        ).all()
        content = Message.from_json(plain[row.content])
        opened = {section.section: json.loads(plain[section.content]) for section in sections}
        grant = None
        if row.grant is not None:
            state = (await grant_store.load_grants(connection, [row.grant])).get(row.grant)
            if state is not None:
                grant = consent_of(state, await read_record(core, connection, state))
    whole = content.model_copy(
        update={
            "sections": opened,
            "scopes": tuple(entry for entry in content.scopes if entry.section in opened),
        }
    )
    ask(  # 2
        whole,
        message_type(row.type),
        sender=core.partner(row.sender),
        recipient=core.self_entry(),
        grant=grant,
        agreement=None,
        moment=Moment.OPEN,
        now=core.now(),
    )
    await _note_read(parts, row)  # 3
    return {
        "id": str(row.id),
        "type": row.type,
        "partner": row.sender,
        "thread": str(row.thread),
        "business_id": str(row.business_id),
        "case_ref": row.case_ref,
        "recipient_case_ref": row.recipient_case_ref,
        "language": content.language,
        "body": content.body,
        "sections": opened,
        "purposes": sorted({str(entry.purpose) for entry in whole.scopes}),
        "exception": None if content.exception is None else content.exception.to_dict(),
        "derived_from": None if row.derived_from is None else str(row.derived_from),
        "attachments": [
            {"digest": file.digest, "section": file.section, "state": file.state} for file in files
        ],
    }


async def open_attachment(parts: Parts, message: UUID, digest: str) -> bytes:
    """The bytes of a received file.

    Raises:
        NotFound: No such file, or it has not been fetched yet.
        ConsentWithdrawn: The message was withdrawn.
    """
    core = parts.core
    async with core.database.read() as connection:
        row = (
            await connection.execute(
                select(inbox_attachment.c.content, inbox.c.state)
                .join(inbox, inbox.c.id == inbox_attachment.c.message)
                .where(inbox_attachment.c.message == message, inbox_attachment.c.digest == digest)
            )
        ).first()
        if row is None:
            raise NotFound("no such file")
        if row.state in ("stopped", "erased"):
            raise ConsentWithdrawn
        if row.content is None:
            raise NotFound("not fetched yet")
        return await core.vault.read(connection, row.content)


async def _note_read(parts: Parts, row: AnyRow) -> None:
    core, now = parts.core, parts.core.now()
    async with core.database.begin() as connection:
        first = await connection.execute(
            update(inbox)
            .where(
                inbox.c.id == row.id,
                inbox.c.opened_at.is_(None),
                inbox.c.state.not_in(("stopped", "erased")),
            )
            .values(opened_at=now)
        )
        if first.rowcount:
            await owe(connection, [Owed(row.sender, row.id, row.digest, Fact.READ, now)])
            opened = Decision(Event.MESSAGE_OPENED, unb64u(row.digest), row.id)
            await core.log.add(connection, [opened], now=now)
        elif row.opened_at is None:
            raise ConsentWithdrawn  # it came between our look and our word
    core.wakes.receipts.set()
    core.log.wake()
