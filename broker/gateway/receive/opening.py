"""Opening: a worker reads a message. Consent is asked once more, and the sender learns *read*."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.content_check import ask, consent_of, read_record
from broker.gateway.own_log import Decision
from broker.gateway.parts import Parts
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.rights.restriction import require_usable
from broker.gateway.safeguards.known import About, persons
from broker.gateway.store import grants as grant_store
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_attachment, inbox_section
from broker.rules.content import Decision as Verdict
from broker.rules.content import Moment
from schemas.audit import Event
from schemas.base import unb64u
from schemas.catalogue import message_type
from schemas.directory import KeyStatus, TrustedDirectory
from schemas.errors import ConsentWithdrawn, KeyRevoked, NotFound, Refused
from schemas.evidence import Fact
from schemas.message import Message


@dataclass(frozen=True, slots=True, repr=False)
class _Opened:
    """A message that may be shown now. Holds plaintext."""

    row: AnyRow
    message: Message
    """With the sections and files that are still here, and no others."""
    files: Sequence[AnyRow]


async def open_message(parts: Parts, message: UUID) -> dict[str, Any]:
    """The content of a received message.

    1. It was not withdrawn or erased, and the key that signed it was not in other hands by then.
    2. The content rules still allow it: consent may have run out since it was delivered.
    3. That it was read is recorded and owed to the sender, before anything is shown.

    Raises:
        NotFound: No such message here.
        ConsentWithdrawn: It was withdrawn; what was here is gone or going.
        UseRestricted: The person contests it: it is kept and not used.
        KeyRevoked: A thief of the sender's key may have written it.
        Refused: As the content rules say.
    """
    async with parts.core.database.read() as connection:
        opened = await _open(parts, connection, message)  # 1, 2
    row, whole = opened.row, opened.message
    await _note_read(parts, row)  # 3
    return {
        "id": str(row.id),
        "type": row.type,
        "partner": row.sender,
        "thread": str(row.thread),
        "business_id": str(row.business_id),
        "case_ref": row.case_ref,
        "recipient_case_ref": row.recipient_case_ref,
        "language": whole.language,
        "body": whole.body,
        "sections": whole.sections,
        "purposes": sorted({str(entry.purpose) for entry in whole.scopes}),
        "exception": None if whole.exception is None else whole.exception.to_dict(),
        "derived_from": None if row.derived_from is None else str(row.derived_from),
        "attachments": [
            {"digest": file.digest, "section": file.section, "state": file.state}
            for file in opened.files
        ],
    }


async def open_attachment(parts: Parts, message: UUID, digest: str) -> bytes:
    """The bytes of a received file, by the same steps as the message that brought it.

    Raises:
        NotFound: No such file, or it has not been fetched yet.
        ConsentWithdrawn: The message was withdrawn.
        Refused: As the content rules say.
    """
    core = parts.core
    async with core.database.read() as connection:
        opened = await _open(parts, connection, message)  # 1, 2
        file = next((file for file in opened.files if file.digest == digest), None)
        if file is None:
            raise NotFound("no such file")
        if file.content is None:
            raise NotFound("not fetched yet")
        data = await core.vault.read(connection, file.content)
    await _note_read(parts, opened.row)  # 3
    return data


async def looked_at(parts: Parts, connection: AsyncConnection, message: UUID) -> Message | None:
    """What a worker who opened this message now would see; None if she may not. For deciding what to
    show her: nobody is told that it was looked at, and nothing of it is answered."""
    try:
        return (await _open(parts, connection, message)).message
    except Refused:
        return None


async def why_not(parts: Parts, message: UUID) -> Verdict:
    """What the content rules say to opening this message, with their names. Shows nothing of it.

    Raises:
        NotFound, ConsentWithdrawn, KeyRevoked: As in `open_message`.
    """
    heard: list[Verdict] = []
    async with parts.core.database.read() as connection:
        try:
            await _open(parts, connection, message, heard=heard)
        except Refused:
            if not heard:
                raise
    return heard[0]


async def _open(
    parts: Parts,
    connection: AsyncConnection,
    message: UUID,
    *,
    heard: list[Verdict] | None = None,
) -> _Opened:
    """Steps 1 and 2: what is left of a message, if it may be shown."""
    core = parts.core
    row = (await connection.execute(select(inbox).where(inbox.c.id == message))).first()
    if row is None:
        raise NotFound("no such message")
    if row.state in ("stopped", "erased") or row.content is None:
        raise ConsentWithdrawn
    _check_key(row, core.trusted())
    await require_usable(
        connection,
        message_type(row.type),
        by=row.sender,
        case_ref=row.case_ref,
        business_id=row.business_id,
    )
    sections = (
        await connection.execute(
            select(inbox_section).where(
                inbox_section.c.message == message, inbox_section.c.content.is_not(None)
            )
        )
    ).all()
    files = (
        await connection.execute(
            select(inbox_attachment).where(inbox_attachment.c.message == message)
        )
    ).all()
    refs = [row.content, *(section.content for section in sections)]
    plain = await core.vault.read_many(connection, refs)
    content = Message.from_json(plain[row.content])
    opened = {section.section: json.loads(plain[section.content]) for section in sections}
    grant = None
    if row.grant is not None:
        state = (await grant_store.load_grants(connection, [row.grant])).get(row.grant)
        if state is not None:
            grant = consent_of(state, await read_record(core, connection, state))
    here = opened.keys() | {file.section for file in files}
    digests = {file.digest for file in files}
    whole = content.model_copy(
        update={
            "sections": opened,
            "scopes": tuple(entry for entry in content.scopes if entry.section in here),
            "attachments": tuple(file for file in content.attachments if file.digest in digests),
        }
    )
    ask(
        core,
        whole,
        message_type(row.type),
        sender=core.partner(row.sender),
        recipient=core.self_entry(),
        grant=grant,
        agreement=None,
        moment=Moment.OPEN,
        now=core.now(),
        person=(await persons(core, connection, [_about(row)]))[0],
        heard=heard,
    )
    return _Opened(row, whole, files)


def _about(row: AnyRow) -> About:
    own = row.recipient_case_ref
    named = (row.business_id, row.derived_from)
    return About(
        case_refs=frozenset(() if own is None else (own,)),
        business_ids=frozenset(name for name in named if name is not None),
        threads=frozenset({row.thread}),
        partner_cases=frozenset({(row.sender, row.case_ref)}),
    )


def _check_key(row: AnyRow, directory: TrustedDirectory) -> None:
    """Refuse to show as a partner's word what a thief of its key may have written.

    What came before the key was in other hands stays readable. Where nobody says since when it was,
    it was always.

    Raises:
        KeyRevoked: Ask the partner whether it sent this.
    """
    found = directory.key(row.signed_by) if row.signed_by else None
    if found is None or found[1].status is not KeyStatus.COMPROMISED:
        return
    since = directory.compromised_since.get(row.signed_by)
    if since is None or row.received_at >= since:
        raise KeyRevoked(f"key {row.signed_by}: compromised when this came")


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
