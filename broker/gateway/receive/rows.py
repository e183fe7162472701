"""What a message that was unpacked looks like in our tables, in the vault and on its way to filing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from adapters.base import CaseRecord
from broker.gateway.core import CASE_FILE, ToFile
from broker.gateway.receive.unpack import Unpacked
from broker.gateway.rights import ledger
from broker.gateway.vault import NewItem
from broker.gateway.vault.cases import partner_case
from schemas.base import b64u
from schemas.clock import first_look

CONTENT = "message"
"""The vault's name for what is not a section: type, body, scopes."""
Places = dict[tuple[UUID, str], str]
"""Message and name of a thing: its reference into the vault."""


def inbox_row(opened: Unpacked, placed: Places, now: datetime) -> dict[str, Any]:
    """The row of the inbox; `placed` says where in the vault each thing lies."""
    content, message = opened.envelope.content, opened.message
    return {
        "id": content.id,
        "business_id": message.business_id,
        "thread": content.thread,
        "in_reply_to": content.in_reply_to,
        "type": opened.row.name,
        "kind": content.kind.value,
        "sender": content.from_,
        "lane": content.lane.value,
        "grant": None if content.consent is None else content.consent.grant,
        "case_ref": message.case_ref,
        "recipient_case_ref": message.recipient_case_ref,
        "digest": b64u(opened.envelope.digest),
        "content": placed[content.id, CONTENT],
        "state": "delivered" if opened.row.filed else "kept",
        "code": None,
        "reference": None,
        "attempts": 0,
        "next_attempt_at": now,
        "received_at": now,
        "filed_at": None,
        "opened_at": None,
        "answer_by": content.answer_by,
        "look_at": first_look(opened.row, now, content.answer_by),
        "expires_at": content.expires_at,
        "derived_from": message.derived_from,
        "erased_at": None,
        "signed_by": opened.envelope.signed_by,
        "supersedes": opened.body.supersedes(),
        "in_part": opened.body.in_part,
    }


def file_rows(opened: Unpacked, placed: Places, now: datetime) -> list[dict[str, Any]]:
    """A row for each file, which is still to be fetched."""
    content = opened.envelope.content
    scopes = {ref.digest: ref.scope for ref in content.attachments}
    return [
        {
            "message": content.id,
            "digest": file.digest,
            "section": file.section,
            "scope": scopes[file.digest],
            "key": placed[content.id, "file:" + file.digest],
            "state": "waiting",
            "content": None,
            "attempts": 0,
            "next_attempt_at": now,
        }
        for file in opened.message.attachments
    ]


def to_file(opened: Unpacked) -> ToFile:
    """What filing needs, at hand."""
    content, message = opened.envelope.content, opened.message
    return ToFile(
        id=content.id,
        business_id=message.business_id,
        sender=content.from_,
        digest=b64u(opened.envelope.digest),
        attempts=0,
        case=CaseRecord(
            case_ref=message.case_ref,
            sections=message.sections,
            business_id=message.business_id,
            sender=content.from_,
            handed_over=message.type == CASE_FILE,
        ),
        supersedes=opened.body.supersedes(),
        in_part=opened.body.in_part,
    )


def vault_items(
    accepted: Sequence[Unpacked],
) -> tuple[list[NewItem], list[tuple[UUID, str]]]:
    """Everything of a batch that goes into the vault, and the name of each thing."""
    items: list[NewItem] = []
    places: list[tuple[UUID, str]] = []
    for opened in accepted:
        content, message = opened.envelope.content, opened.message
        case = partner_case(content.from_, message.case_ref)
        grant = None if content.consent is None else content.consent.grant
        bare = message.model_copy(
            update={"sections": {}, "attachments": (), "grant_key": None, "not_to": None}
        )
        items.append(NewItem(case, CONTENT, grant, bare.to_json()))
        places.append((content.id, CONTENT))
        for name, value in message.sections.items():
            items.append(NewItem(case, name, grant, json.dumps(value, ensure_ascii=False).encode()))
            places.append((content.id, name))
        for file in message.attachments:
            items.append(NewItem(case, file.section, grant, file.to_json()))
            places.append((content.id, "file:" + file.digest))
    return items, places


def section_rows(opened: Unpacked, placed: Places) -> list[dict[str, Any]]:
    """A row for each section: what for, under which scope, where in the vault."""
    message = opened.envelope.content.id
    entries = {entry.section: entry for entry in opened.message.scopes}
    return [
        {
            "message": message,
            "section": name,
            "purpose": entries[name].purpose.value,
            "scope": entries[name].scope,
            "content": placed[message, name],
        }
        for name in opened.message.sections
    ]


def disclosure_rows(opened: Unpacked, now: datetime) -> list[dict[str, Any]]:
    """A row of the ledger, if the message brought something about a person."""
    content = opened.envelope.content
    return ledger.rows_of(
        opened.message,
        id=content.id,
        way="received",
        partner=content.from_,
        thread=content.thread,
        grant=None if content.consent is None else content.consent.grant,
        at=now,
    )
