"""Finding a received case by what a worker knows of it. Shows no content: she opens what she wants.

Found is only what she could open now; what is withdrawn, frozen or out of consent is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.likeness import dates_agree
from broker.gateway.parts import Parts
from broker.gateway.receive.opening import looked_at
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import case_question, inbox
from schemas.base import ParticipantId, ProtectedModel, instant_text
from schemas.catalogue import catalogue
from schemas.message import Message
from schemas.sections.fields import PartialDate

MOST: Final = 50
GONE: Final = ("stopped", "erased")
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
    """The cases that fit, newest first; `more` if there are more than are shown.

    A case is found by what any version of it says or said, if she may open that version; what is
    shown is its newest version that she may open, and which ones came before.
    """
    async with parts.core.database.read() as connection:
        told, more = await _told(parts, connection, wanted)
        found: list[_Case] = []
        for versions in await _versions(connection, told.rows):
            if len(found) > MOST:
                break
            case = await _case(parts, connection, versions)
            if case is not None and told.fits(case) and _born(case, wanted.born):
                found.append(case)
        shown = found[:MOST]
        same = await _same_as(connection, [row.id for case in shown for row in case.rows])
    return {"cases": [_shown(case, same) for case in shown], "more": more or len(found) > MOST}


@dataclass(frozen=True, slots=True, repr=False)
class _Case:
    """What of a case she may open, newest first. Holds plaintext."""

    rows: Sequence[AnyRow]
    contents: Sequence[Message]


@dataclass(frozen=True, slots=True)
class _Told:
    """Which messages what she said of a case leads to."""

    rows: Sequence[AnyRow]
    people: Sequence[Set[UUID]]
    """For each thing that she said of a person: the messages that say the same."""

    def fits(self, case: _Case) -> bool:
        """True if what led here is something that she may open. A former name that was withdrawn
        finds nothing, also where the present one may be seen."""
        openable = {row.id for row in case.rows}
        return not openable.isdisjoint(row.id for row in self.rows) and not any(
            openable.isdisjoint(messages) for messages in self.people
        )


async def _told(
    parts: Parts, connection: AsyncConnection, wanted: CaseSearch
) -> tuple[_Told, bool]:
    """Every version of which something fits, newest first; and True if there are too many."""
    which: list[ColumnElement[bool]] = [
        inbox.c.type.in_(_WITH_A_CASE),
        inbox.c.state.not_in(GONE),
    ]
    if wanted.business_id is not None:
        # Later versions have its reference, and business ids of their own.
        named = inbox.c.business_id == wanted.business_id
        which.append(or_(named, _of_one_case(await _references(connection, named))))
    if wanted.case is not None:
        columns = (inbox.c.case_ref, inbox.c.recipient_case_ref, inbox.c.reference)
        which.append(or_(*(column == wanted.case for column in columns)))
    if wanted.partner is not None:
        which.append(inbox.c.sender == wanted.partner)
    if wanted.first is not None:
        which.append(inbox.c.received_at >= _midnight(wanted.first))
    if wanted.last is not None:
        which.append(inbox.c.received_at < _midnight(wanted.last + timedelta(days=1)))
    known = parts.core.people
    people: list[set[UUID]] = []
    if wanted.name is not None:
        people.append(await known.called(connection, wanted.name))
    if wanted.number is not None:
        people.append(await known.numbered(connection, wanted.number))
    for messages in people:
        # One version may say her name and another her number.
        said = inbox.c.id.in_(padded(sorted(messages)))
        which.append(or_(said, _of_one_case(await _references(connection, said))))
    query = select(inbox).where(*which).order_by(inbox.c.position.desc()).limit(_LOOKED_AT)
    rows = (await connection.execute(query)).all()
    return _Told(rows, people), len(rows) == _LOOKED_AT


def _of_one_case(references: Sequence[str]) -> ColumnElement[bool]:
    return inbox.c.reference.in_(padded(references))


async def _references(connection: AsyncConnection, which: ColumnElement[bool]) -> list[str]:
    """Where these are filed."""
    query = select(inbox.c.reference).where(which, inbox.c.reference.is_not(None)).distinct()
    return [str(reference) for reference in await connection.scalars(query)]


async def _versions(
    connection: AsyncConnection, rows: Sequence[AnyRow]
) -> Sequence[Sequence[AnyRow]]:
    """The cases of these messages, each with all of its versions, newest first."""
    references = sorted({row.reference for row in rows if row.reference is not None})
    others: Sequence[AnyRow] = []
    if references:
        filed = select(inbox).where(_of_one_case(references), inbox.c.type.in_(_WITH_A_CASE))
        others = (await connection.execute(filed.where(inbox.c.state.not_in(GONE)))).all()
    cases: dict[tuple[str, object], dict[UUID, AnyRow]] = {}
    for row in sorted((*rows, *others), key=lambda row: -row.position):
        # A version is its sender's own; two may have been filed under one number by hand.
        where = row.id if row.reference is None else row.reference
        cases.setdefault((row.sender, where), {})[row.id] = row
    return [[*versions.values()] for versions in cases.values()]


async def _case(
    parts: Parts, connection: AsyncConnection, versions: Sequence[AnyRow]
) -> _Case | None:
    """What of these she may open; None if it is nothing. Asked before anything is read of them."""
    looked = [(row, await looked_at(parts, connection, row.id)) for row in versions]
    opened = [(row, content) for row, content in looked if content is not None]
    if not opened:
        return None
    return _Case([row for row, _ in opened], [content for _, content in opened])


def _born(case: _Case, born: str | None) -> bool:
    """False if no birth date that the case had agrees."""
    people = [content.sections.get("identity_core", {}) for content in case.contents]
    return born is None or any(
        "birthdate" in person and dates_agree(person["birthdate"], born) for person in people
    )


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


def _shown(case: _Case, same_as: Mapping[UUID, str]) -> dict[str, Any]:
    row, *before = case.rows
    return {
        "id": str(row.id),
        "type": row.type,
        "partner": row.sender,
        "case_ref": row.case_ref,
        "business_id": str(row.business_id),
        "reference": row.reference,
        "same_as": next((same_as[one.id] for one in case.rows if one.id in same_as), None),
        "state": row.state,
        "at": instant_text(row.received_at),
        "before": [
            {"id": str(one.id), "type": one.type, "at": instant_text(one.received_at)}
            for one in before
        ],
    }
