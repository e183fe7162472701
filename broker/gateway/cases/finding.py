"""Finding a received case by what a worker knows of it. Shows no content: she opens what she wants.

Found is only what she could open now; what is withdrawn, frozen or out of consent is not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.likeness import dates_agree
from broker.gateway.parts import Parts
from broker.gateway.receive.opening import may_open
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import case_question, inbox, inbox_section
from schemas.base import ParticipantId, ProtectedModel, instant_text
from schemas.catalogue import catalogue
from schemas.errors import NotFound
from schemas.sections.fields import PartialDate

MOST: Final = 50
_LOOKED_AT: Final = 500
"""Rows of one search: a common name may fit many, and nobody reads them."""
_WITH_A_CASE: Final = tuple(sorted(name for name, row in catalogue.items() if row.filed))


class CaseSearch(ProtectedModel):
    """What is known of the case. Everything that is given must fit."""

    business_id: UUID | None = None
    case: Annotated[str, Field(max_length=64)] | None = None
    """The sender's case number, ours, or the reference in our case system."""
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Whole words of her name, in any of its scripts and in any order."""
    number: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Of a paper of hers."""
    born: PartialDate | None = None
    """As far as known. It narrows what the rest finds."""
    partner: ParticipantId | None = None
    first: date | None = None
    """The first day on which it may have arrived, and the last."""
    last: date | None = None

    @model_validator(mode="after")
    def _finds_something(self) -> CaseSearch:
        if not any((self.business_id, self.case, self.name, self.number, self.first, self.last)):
            raise ValueError("say more of it")
        return self


async def find_cases(parts: Parts, wanted: CaseSearch) -> dict[str, Any]:
    """The cases that fit, newest first; `more` if there are more than are shown."""
    async with parts.core.database.read() as connection:
        rows = await _rows(parts, connection, wanted)
        found: list[AnyRow] = []
        for row in rows:
            if len(found) > MOST:
                break
            if wanted.born is not None and not await _born(parts, connection, row, wanted.born):
                continue
            if await may_open(parts, connection, row.id):
                found.append(row)
        same = await _same_as(connection, [row.id for row in found])
    return {
        "cases": [_shown(row, same.get(row.id)) for row in found[:MOST]],
        "more": len(found) > MOST or len(rows) == _LOOKED_AT,
    }


async def _rows(parts: Parts, connection: AsyncConnection, wanted: CaseSearch) -> Sequence[AnyRow]:
    which: list[ColumnElement[bool]] = [
        inbox.c.type.in_(_WITH_A_CASE),
        inbox.c.state.not_in(("stopped", "erased")),
    ]
    if wanted.business_id is not None:
        # Later versions have its reference, and business ids of their own.
        named = inbox.c.business_id == wanted.business_id
        filed = await connection.scalars(select(inbox.c.reference).where(named))
        references = [reference for reference in filed if reference is not None]
        which.append(or_(named, inbox.c.reference.in_(padded(references))))
    if wanted.case is not None:
        columns = (inbox.c.case_ref, inbox.c.recipient_case_ref, inbox.c.reference)
        which.append(or_(*(column == wanted.case for column in columns)))
    if wanted.partner is not None:
        which.append(inbox.c.sender == wanted.partner)
    if wanted.first is not None:
        which.append(inbox.c.received_at >= _midnight(wanted.first))
    if wanted.last is not None:
        which.append(inbox.c.received_at < _midnight(wanted.last + timedelta(days=1)))
    people = parts.core.people
    known: list[set[UUID]] = []
    if wanted.name is not None:
        known.append(await people.called(connection, wanted.name))
    if wanted.number is not None:
        known.append(await people.numbered(connection, wanted.number))
    if known:
        ids = set.intersection(*known)
        if not ids:
            return []
        which.append(inbox.c.id.in_(padded(sorted(ids))))
    query = select(inbox).where(*which).order_by(inbox.c.position.desc()).limit(_LOOKED_AT)
    return (await connection.execute(query)).all()


async def _born(parts: Parts, connection: AsyncConnection, row: AnyRow, born: str) -> bool:
    """False if its own birth date speaks against it, or it has none."""
    where = await connection.scalar(
        select(inbox_section.c.content).where(
            inbox_section.c.message == row.id, inbox_section.c.section == "identity_core"
        )
    )
    if where is None:
        return False
    try:
        person = json.loads(await parts.core.vault.read(connection, where))
    except NotFound:
        return False
    return "birthdate" in person and dates_agree(person["birthdate"], born)


async def _same_as(connection: AsyncConnection, messages: Sequence[UUID]) -> dict[UUID, str]:
    """Which record a worker said to be the same person's."""
    if not messages:
        return {}
    rows = await connection.execute(
        select(case_question.c.message, case_question.c.reference).where(
            case_question.c.message.in_(padded(list(messages))), case_question.c.answer == "same"
        )
    )
    return {row.message: row.reference for row in rows}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _shown(row: AnyRow, same_as: str | None) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "type": row.type,
        "partner": row.sender,
        "case_ref": row.case_ref,
        "business_id": str(row.business_id),
        "reference": row.reference,
        "same_as": same_as,
        "state": row.state,
        "at": instant_text(row.received_at),
    }
