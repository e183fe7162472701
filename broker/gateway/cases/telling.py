"""What a partner decided is written to the case that was referred, and to that referral of it.

A case may have been referred to several. The thread says which case of ours and which referral a
message answers; nothing else is asked, least of all which case came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import and_, select, update

from adapters.base import CannotMap, Declined, News, Outcome, Skill
from broker.gateway.cases.answers import TOLD, reason_of, services_of, step_of
from broker.gateway.core import Core
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow, insert_for
from broker.gateway.store.tables import case_told, inbox, thread
from broker.telemetry import logger
from schemas.errors import BrokerError, NotFound, OutcomeUnknown, Unavailable
from schemas.message import Message

GROUP = 64
LONGEST = timedelta(minutes=10)
LOOK_BACK = timedelta(days=7)
"""How old an answer may be that is only now seen to be untold; what is once due stays due."""


class Telling:
    """Writes partners' answers into the case system. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                done = await self.run_once()
            except Unavailable as error:
                logger().warning("telling:waits", code=error.code)
                done = 0
            if not done:
                await asyncio.sleep(self._core.settings.adapter.poll_every.total_seconds())

    async def run_once(self) -> int:
        """Tell what is due; returns how many were tried."""
        if Skill.TELL not in self._core.adapter.skills:
            return 0
        await self._find_new()
        due = await self._due()
        for row in due:
            await self._tell(row)
        return len(due)

    async def _find_new(self) -> None:
        """Answers to exchanges that we opened, and that the case system has not heard of."""
        now = self._core.now()
        async with self._core.database.begin() as connection:
            rows = await connection.execute(
                select(inbox.c.id)
                .join(thread, and_(thread.c.id == inbox.c.thread, thread.c.role == "sender"))
                .outerjoin(case_told, case_told.c.message == inbox.c.id)
                .where(
                    inbox.c.type.in_(TOLD),
                    case_told.c.message.is_(None),
                    inbox.c.state == "kept",
                    inbox.c.received_at > now - LOOK_BACK,
                )
                .order_by(inbox.c.position)
                .limit(GROUP)
            )
            new = [
                {
                    "message": row.id,
                    "state": "due",
                    "code": None,
                    "attempts": 0,
                    "next_attempt_at": now,
                }
                for row in rows
            ]
            if new:
                statement = insert_for(connection, case_told).on_conflict_do_nothing()
                await connection.execute(statement, new)

    async def _due(self) -> Sequence[AnyRow]:
        async with self._core.database.read() as connection:
            rows = await connection.execute(
                select(
                    inbox.c.id,
                    inbox.c.type,
                    inbox.c.content,
                    inbox.c.received_at,
                    thread.c.case_ref,
                    thread.c.business_id,
                    case_told.c.attempts,
                )
                .join(case_told, case_told.c.message == inbox.c.id)
                .join(thread, thread.c.id == inbox.c.thread)
                .where(case_told.c.state == "due", case_told.c.next_attempt_at <= self._core.now())
                .order_by(inbox.c.position)
                .limit(GROUP)
            )
            return rows.all()

    async def _tell(self, row: AnyRow) -> None:
        core = self._core
        try:
            news = await self._news(row)
            answer = await asyncio.to_thread(core.adapter.tell, row.case_ref, news)
        except Unavailable as error:
            await self._set(row, "due", code=error.code)
        except OutcomeUnknown as error:
            await self._set(row, "unknown", code=error.code)
        except NotFound:
            await self._set(row, "gone")  # erased before it was told
        except BrokerError as error:
            await self._set(row, "declined", code=error.code)
        else:
            await self._set(row, *_state_of(answer))

    async def _news(self, row: AnyRow) -> News:
        """What the message says, in the words of the port.

        Raises:
            NotFound: Its content was erased.
        """
        if row.content is None:
            raise NotFound("erased")
        async with self._core.database.read() as connection:
            content = Message.from_json(await self._core.vault.read(connection, row.content))
        body = content.body
        return News(
            id=str(row.id),
            business_id=row.business_id,
            step=step_of(row.type, body),
            at=row.received_at,
            reason=reason_of(body),
            services=services_of(body),
        )

    async def _set(self, row: AnyRow, state: str, code: str | None = None) -> None:
        now, message = self._core.now(), UUID(str(row.id))
        delay = min(timedelta(seconds=2) * 2 ** min(row.attempts, 12), LONGEST)
        async with self._core.database.begin() as connection:
            await connection.execute(
                update(case_told)
                .where(case_told.c.message == message)
                .values(
                    state=state,
                    code=None if code is None else code[:40],
                    attempts=row.attempts + 1,
                    next_attempt_at=now + delay,
                )
            )
            if state in ("declined", "unknown"):
                await raise_alarm(connection, "case-system-not-told", message, now=now)


def _state_of(answer: Outcome) -> tuple[str, str | None]:
    match answer:
        case Declined(code="not-supported"):
            return "not-supported", None  # the worker reads it in the gateway
        case Declined(code=code):
            return "declined", code
        case CannotMap():
            return "declined", "cannot-map"
    return "told", None
