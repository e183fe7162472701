"""What only a worker can answer before a case is filed, and what she answered.

Two kinds. *Who is it?* The case system knows people who may be the same. *Was it filed?* A system
that cannot be asked gave no answer. The message waits as `held`, with its content; nothing is
changed in the case system meanwhile. An answer says who gave it, and is a leaf of our log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters import wire
from adapters.base import Candidate
from broker.gateway.cases.identity import Known
from broker.gateway.core import Core, ToFile
from broker.gateway.own_log import Decision
from broker.gateway.store.alarms import clear_alarms
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow, insert_new
from broker.gateway.store.tables import case_question, inbox
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import instant_text
from schemas.errors import NotFound, NotPermitted, OutcomeUnknown, SchemaRefused

UNCLEAR: Final = "person-unclear"
"""`inbox.code` of what waits for a worker to say who it is about; also the alarm."""


class Kind(StrEnum):
    PERSON = "person"
    OUTCOME = "outcome"


class Answer(StrEnum):
    """What a worker may say."""

    SAME = "same"
    """She is the person of this record: file the case beside it, linked."""
    ANOTHER = "another"
    """She is none of those: file the case by itself."""
    UNSURE = "unsure"
    """Nobody knows yet: the message goes on waiting."""
    FILED = "filed"
    """The case is there, under this reference."""
    NOT_FILED = "not_filed"
    """It is not there: file it."""


_OF_KIND: Final = {
    Kind.PERSON: (Answer.SAME, Answer.ANOTHER, Answer.UNSURE),
    Kind.OUTCOME: (Answer.FILED, Answer.NOT_FILED, Answer.UNSURE),
}
_NAMES_ONE: Final = (Answer.SAME, Answer.FILED)


async def known_of(
    connection: AsyncConnection, items: Sequence[ToFile], *, answered: bool, earlier: bool
) -> dict[UUID, Known]:
    """What is known of each message.

    Args:
        answered: Some may have been asked about; what was just received was not.
        earlier: The case system can link, so that a sender's earlier case of the number counts.
    """
    said: dict[UUID, dict[str, Any]] = {item.id: {} for item in items}
    if answered:
        await _answers(connection, said)
    if earlier:
        await _earlier(connection, items, said)
    return {message: Known(**fields) for message, fields in said.items()}


async def _answers(connection: AsyncConnection, said: dict[UUID, dict[str, Any]]) -> None:
    rows = await connection.execute(
        select(case_question).where(case_question.c.message.in_(padded(list(said))))
    )
    for row in rows:
        if row.kind == Kind.PERSON.value:
            said[row.message]["others"] = frozenset(json.loads(row.others))
        if row.answer == Answer.SAME.value:
            said[row.message]["same_as"] = row.reference
        elif row.answer == Answer.FILED.value:
            said[row.message]["filed_as"] = row.reference


async def _earlier(
    connection: AsyncConnection, items: Iterable[ToFile], said: dict[UUID, dict[str, Any]]
) -> None:
    of_number = {(item.sender, item.case.case_ref): item for item in items}
    rows = await connection.execute(
        select(inbox.c.sender, inbox.c.case_ref, inbox.c.business_id, inbox.c.reference)
        .where(
            or_(
                *(
                    and_(inbox.c.sender == sender, inbox.c.case_ref == case_ref)
                    for sender, case_ref in of_number
                )
            ),
            inbox.c.state == "filed",
            inbox.c.reference.is_not(None),
        )
        .order_by(inbox.c.position.desc())
    )
    first = {(row.sender, row.case_ref, row.business_id): row.reference for row in rows}
    for item in items:
        for (sender, case_ref, business_id), reference in first.items():
            mine = (sender, case_ref) == (item.sender, item.case.case_ref)
            if mine and business_id != item.business_id:
                said[item.id]["earlier"] = reference  # the oldest comes last


class Questions:
    """Shows what is asked, and takes answers."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def open(self) -> list[dict[str, Any]]:
        """What waits for an answer, oldest first. References of the case system, and paths."""
        async with self._core.database.read() as connection:
            rows = await connection.execute(
                select(inbox, case_question.c.found, case_question.c.answer)
                .add_columns(case_question.c.answered_by, case_question.c.asked_at)
                .outerjoin(
                    case_question,
                    and_(
                        case_question.c.message == inbox.c.id,
                        case_question.c.kind == Kind.PERSON.value,
                        inbox.c.code == UNCLEAR,
                    ),
                )
                .where(inbox.c.state == "held")
                .order_by(inbox.c.position)
            )
            return [_shown(row) for row in rows]

    async def answer(
        self, message: UUID, answer: Answer, *, reference: str | None, worker: str
    ) -> None:
        """Take a worker's answer; unless she is unsure, the case is filed next.

        Raises:
            NotFound: Nothing is asked about this message.
            NotPermitted: Not an answer to this question.
            SchemaRefused: The answer names a record and none is given, or the other way round.
        """
        core, now = self._core, self._core.now()
        try:
            named = None if reference is None else wire.reference(reference)
        except wire.Unreadable:
            raise SchemaRefused(where=("reference",)) from None
        if (named is not None) != (answer in _NAMES_ONE):
            raise SchemaRefused(where=("reference",))
        async with core.database.begin() as connection:
            row = (
                await connection.execute(
                    select(inbox.c.code, inbox.c.digest)
                    .where(inbox.c.id == message, inbox.c.state == "held")
                    .with_for_update()
                )
            ).first()
            if row is None:
                raise NotFound("nothing is asked about this message")
            kind = _kind(row.code)
            if answer not in _OF_KIND[kind]:
                raise NotPermitted(where=("answer",))
            given = {
                "answer": answer.value,
                "reference": named,
                "answered_by": worker,
                "answered_at": now,
            }
            if answer is Answer.ANOTHER:
                given["others"] = await _others(connection, message)
            await _keep(connection, message, kind, given, now=now)
            if answer is not Answer.UNSURE:
                await connection.execute(
                    update(inbox)
                    .where(inbox.c.id == message, inbox.c.state == "held")
                    .values(state="filing", code=None, attempts=0, next_attempt_at=now)
                )
                await clear_alarms(connection, message, UNCLEAR, OutcomeUnknown.code, now=now)
            record = {
                "about": row.digest,
                "answer": answer.value,
                "at": instant_text(now),
                "question": kind.value,
                "reference": named,
                "worker": worker,
            }
            subject = subject_of(json.dumps(record, sort_keys=True).encode())
            decision = Decision(Event.QUESTION_ANSWERED, subject, message)
            await core.log.add(connection, [decision], now=now)
        core.log.wake()
        core.to_file.overflowed = True  # it is found in the database, and at once
        core.wakes.filing.set()


async def ask(
    connection: AsyncConnection,
    asked: Sequence[tuple[UUID, Sequence[Candidate]]],
    *,
    now: datetime,
) -> None:
    """Put questions on the list; one that was asked before is asked anew, with what was found."""
    for message, candidates in asked:
        row = {
            "found": json.dumps(wire.candidates_to_json(candidates)),
            "answer": None,
            "reference": None,
            "answered_by": None,
            "answered_at": None,
        }
        await _keep(connection, message, Kind.PERSON, {**row, "asked_at": now}, now=now)


async def _keep(
    connection: AsyncConnection, message: UUID, kind: Kind, given: dict[str, Any], *, now: datetime
) -> None:
    """Set these columns of the question's row, which is made if it is not there."""
    blank = {"asked_at": now, "found": "[]", "others": "[]"}
    key = {"message": message, "kind": kind.value}
    await insert_new(connection, case_question, {**key, **blank})
    await connection.execute(
        update(case_question)
        .where(case_question.c.message == message, case_question.c.kind == kind.value)
        .values(**given)
    )


async def _others(connection: AsyncConnection, message: UUID) -> str:
    """Whom she is not: all that were ever found, as JSON."""
    row = (
        await connection.execute(
            select(case_question.c.found, case_question.c.others).where(
                case_question.c.message == message, case_question.c.kind == Kind.PERSON.value
            )
        )
    ).one()
    found = wire.candidates_from_json(json.loads(row.found))
    return json.dumps(sorted({*json.loads(row.others), *(one.reference for one in found)}))


def _kind(code: str | None) -> Kind:
    return Kind.PERSON if code == UNCLEAR else Kind.OUTCOME


def _shown(row: AnyRow) -> dict[str, Any]:
    kind = _kind(row.code)
    return {
        "id": str(row.id),
        "question": kind.value,
        "answers": [answer.value for answer in _OF_KIND[kind]],
        "partner": row.sender,
        "type": row.type,
        "case_ref": row.case_ref,
        "business_id": str(row.business_id),
        "at": instant_text(row.asked_at or row.received_at),
        "said": row.answer,
        "said_by": row.answered_by,
        "candidates": [] if row.found is None else json.loads(row.found),
    }
