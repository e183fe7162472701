"""What workers decided in their own case system goes to the partner, once, about that referral.

A page of news is stored before the next is asked for, and each piece has an id, so that nothing
is lost or said twice, whoever dies when. A decision that names no referral here, or that cannot
be said as it is, is held and raises an alarm: a person looks, and answers in the gateway.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import Ambiguous, News, Polled, Skill
from adapters.wire import code as code_of
from broker.gateway.cases.answers import Answer, ForAPerson, answer_of, business_id_of
from broker.gateway.core import Core, wait_for
from broker.gateway.receive.filing import HAS_CASE
from broker.gateway.send.composer import Composer
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Sender
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow, insert_new, upsert
from broker.gateway.store.tables import case_cursor, case_news, inbox
from broker.telemetry import logger
from schemas.catalogue import message_type
from schemas.errors import BrokerError, NotPermitted, Refused, Unavailable

ALARM = "case-system-decision"


class Polling:
    """Asks the case system again and again. One task."""

    def __init__(self, core: Core, composer: Composer, sender: Sender) -> None:
        self._core = core
        self._composer = composer
        self._sender = sender

    async def run(self) -> None:
        while True:
            try:
                more = await self.run_once()
            except BrokerError as error:
                logger().warning("polling:waits", code=error.code)
                more = False
            if not more:
                core = self._core
                await wait_for(core.wakes.case_system, core.settings.adapter.poll_every)

    async def run_once(self) -> bool:
        """One page; True if there is another now.

        Raises:
            Unavailable: The case system, or our own database, cannot be asked now.
        """
        core = self._core
        if Skill.POLL not in core.adapter.skills:
            return False
        page = await asyncio.to_thread(core.adapter.poll, await self._cursor())
        for item in page.items:
            await self.take(item)
        await self._keep_cursor(page)
        return page.more

    async def _cursor(self) -> str | None:
        async with self._core.database.read() as connection:
            found: str | None = await connection.scalar(
                select(case_cursor.c.cursor).where(case_cursor.c.system == self._core.adapter.name)
            )
        return found

    async def _keep_cursor(self, page: Polled) -> None:
        async with self._core.database.begin() as connection:
            values = {"system": self._core.adapter.name, "cursor": page.cursor}
            await upsert(connection, case_cursor, values, key=("system",))

    async def take(self, item: News | Ambiguous) -> None:
        """Store one piece of news, and answer the partner, durably before this returns.

        Idempotent on its id, however it came: asked for, or brought by the system.

        Raises:
            Unavailable: Not now; the same item may be given again.
        """
        async with self._core.database.read() as connection:
            known = select(case_news.c.id).where(case_news.c.id == item.id)
            if await connection.scalar(known) is not None:
                return
            rows = [] if isinstance(item, Ambiguous) else await _filed_under(connection, item)
        if isinstance(item, Ambiguous):
            await self._note(item, "held", code=item.code)
        elif len(rows) != 1:
            await self._note(item, "held", code="several-referrals" if rows else "no-referral")
        else:
            await self._answer(item, rows[0])

    async def _answer(self, news: News, referral: AnyRow) -> None:
        """Say it to the partner. The answer's own id makes a repetition harmless."""
        answer = answer_of(news)
        if isinstance(answer, Answer) and answer.type not in message_type(referral.type).replies:
            # A hand-over is complete when both sides sign, and that is a worker's to do.
            answer = ForAPerson("no-such-answer")
        if isinstance(answer, ForAPerson):
            await self._note(news, "held", referral.id, code=answer.code)
            return
        if self._core.settings.adapter.answers == "ask":
            await self._note(news, "held", referral.id, code="to-confirm")
            return
        try:
            sent = await self._sender.send(await self._composer(_draft(news, answer, referral)))
        except Unavailable:
            raise
        except NotPermitted as error:
            # Said before, by hand or by an earlier decision: the exchange has moved on.
            await self._note(news, "noted", referral.id, code=error.code)
        except Refused as error:
            await self._note(news, "held", referral.id, code=error.code)
        else:
            await self._note(news, "sent", referral.id, answer=sent.id)

    async def _note(
        self,
        item: News | Ambiguous,
        state: str,
        message: UUID | None = None,
        *,
        code: str | None = None,
        answer: UUID | None = None,
    ) -> None:
        now = self._core.now()
        row = {
            "id": item.id[:200],
            "message": message,
            "seen_at": now,
            "state": state,
            "code": None if code is None else code[:40],
            "answer": answer,
        }
        if isinstance(item, News):
            row |= {"business_id": item.business_id, "step": item.step.value}
            # A code, or the word that says that it was none: a reason that somebody wrote in words
            # may be about a person, and this table is outside the vault.
            row |= {"reason": None if item.reason is None else code_of(item.reason), "at": item.at}
        else:
            row["reference"] = item.reference[:200]
        async with self._core.database.begin() as connection:
            new = await insert_new(connection, case_news, row)
            if new and state == "held":
                await raise_alarm(connection, ALARM, message or item.id, now=now)


async def _filed_under(connection: AsyncConnection, news: News) -> list[AnyRow]:
    """What a business id names here: never the first of several."""
    rows = await connection.execute(
        select(inbox).where(inbox.c.business_id == news.business_id, inbox.c.state.in_(HAS_CASE))
    )
    return [row for row in rows if message_type(row.type).filed]


def _draft(news: News, answer: Answer, referral: AnyRow) -> MessageDraft:
    return MessageDraft.model_validate(
        {
            "type": answer.type,
            "to": referral.sender,
            "case_ref": referral.case_ref,
            "thread": referral.thread,
            "in_reply_to": referral.id,
            "body": dict(answer.body),
            "business_id": business_id_of(news.id, answer.type),
        }
    )
