"""Step 9: into the case system, once. Looked for by business id first, filed only if not there.

The order that makes "once" true: the vault holds the content, the adapter is asked whether it has
the business id, only then files, and only what the adapter has answered is written down. A crash
between any two of these repeats the question, not the filing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from adapters.base import CannotMap, CaseRecord, Declined, Filed
from broker.gateway.core import Core, wait_for
from broker.gateway.own_log import Decision
from broker.gateway.receipts import Owed, owe
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import inbox, inbox_section
from broker.telemetry import logger
from schemas.audit import Event
from schemas.base import unb64u
from schemas.errors import BrokerError, OutcomeUnknown, Refused, Unavailable
from schemas.evidence import Fact

POLL = timedelta(seconds=2)
GROUP = 64
"""Cases in one batch: they share the case system's and our own cost of durability."""
DUE = ("delivered", "filing")


class Filing:
    """Files what was delivered. One task."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        while True:
            try:
                done = await self.run_once()
            except Unavailable as error:
                logger().warning("filing:waits", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not done:
                await wait_for(self._core.wakes.filing, POLL)

    async def run_once(self) -> int:
        """File what is due; returns how many messages reached the end of their way."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(inbox)
                    .where(inbox.c.state.in_(DUE), inbox.c.next_attempt_at <= core.now())
                    .order_by(inbox.c.position)
                    .limit(GROUP)
                )
            ).all()
        unique = list({row.business_id: row for row in reversed(rows)}.values())
        if not unique:
            return 0
        locks = [core.case_locks[row.business_id] for row in sorted(unique, key=_business_id)]
        for lock in locks:
            await lock.acquire()
        try:
            return await self._file_group(unique)
        finally:
            for lock in locks:
                lock.release()
            for row in unique:
                core.case_locks.pop(row.business_id, None)

    async def _file_group(self, rows: Sequence[AnyRow]) -> int:
        core = self._core
        cases: list[tuple[AnyRow, CaseRecord]] = []
        async with core.database.read() as connection:
            # Read again under the locks: a withdrawal may have stopped some in the meantime.
            live = set(
                (
                    await connection.execute(
                        select(inbox.c.id).where(
                            inbox.c.id.in_([row.id for row in rows]), inbox.c.state.in_(DUE)
                        )
                    )
                ).scalars()
            )
            sections = await self._sections(connection, live)
        for row in rows:
            if row.id in live:
                case = CaseRecord(
                    case_ref=row.case_ref,
                    sections=sections.get(row.id, {}),
                    business_id=row.business_id,
                    sender=row.sender,
                )
                cases.append((row, case))
        outcomes = await asyncio.to_thread(self._file, cases)
        return await self._record(cases, outcomes)

    async def _sections(self, connection: Any, live: set[Any]) -> dict[Any, dict[str, Any]]:
        rows = (
            await connection.execute(
                select(inbox_section).where(
                    inbox_section.c.message.in_(live), inbox_section.c.content.is_not(None)
                )
            )
        ).all()
        plain = await self._core.vault.read_many(connection, [row.content for row in rows])
        found: dict[Any, dict[str, Any]] = {}
        for row in rows:
            found.setdefault(row.message, {})[row.section] = json.loads(plain[row.content])
        return found

    def _file(self, cases: Sequence[tuple[AnyRow, CaseRecord]]) -> list[object]:
        """Find, then file, in a worker thread; an answer or an error for each."""
        adapter = self._core.adapter
        answers: list[object] = [None] * len(cases)
        missing: list[int] = []
        for index, (row, _) in enumerate(cases):
            try:
                answers[index] = adapter.find(row.business_id)
                if answers[index] is None:
                    missing.append(index)
            except BrokerError as error:
                answers[index] = error
        batch = [(cases[index][0].business_id, cases[index][1]) for index in missing]
        if not batch:
            return answers
        try:
            for index, outcome in zip(missing, adapter.file_many(batch), strict=True):
                answers[index] = outcome
        except BrokerError:
            # One by one, so that what one case provokes costs no other.
            for index in missing:
                row, case = cases[index]
                try:
                    answers[index] = adapter.find(row.business_id) or adapter.file(
                        row.business_id, case
                    )
                except BrokerError as error:
                    answers[index] = error
        return answers

    async def _record(
        self, cases: Sequence[tuple[AnyRow, CaseRecord]], answers: Sequence[object]
    ) -> int:
        core, now = self._core, self._core.now()
        done, owed, decisions, filed = 0, [], [], []
        values: dict[str, object]
        async with core.database.begin() as connection:
            for (row, _), answer in zip(cases, answers, strict=True):
                if isinstance(answer, Filed):
                    filed.append({"message": row.id, "where": answer.reference})
                    owed.append(Owed(row.sender, row.id, row.digest, Fact.FILED, now))
                    decisions.append(Decision(Event.MESSAGE_FILED, unb64u(row.digest), row.id))
                    done += 1
                    continue
                if isinstance(answer, Declined | CannotMap | Refused):
                    code = "unknown-code" if isinstance(answer, CannotMap) else _short(answer.code)
                    values = {"state": "failed", "code": code}
                    owed.append(Owed(row.sender, row.id, row.digest, Fact.FAILED, now, code))
                    await raise_alarm(connection, "filing-failed", row.id, now=now)
                    done += 1
                elif isinstance(answer, OutcomeUnknown):
                    # It may be there or not, and nobody but a person can tell.
                    values = {"state": "held", "code": answer.code}
                    await raise_alarm(connection, "outcome-unknown", row.id, now=now)
                    done += 1
                else:
                    code = answer.code if isinstance(answer, BrokerError) else "unavailable"
                    values = {
                        "state": "filing",
                        "code": code,
                        "attempts": row.attempts + 1,
                        "next_attempt_at": now + self._delay(row.attempts),
                    }
                    if row.attempts >= 5:
                        await raise_alarm(connection, "filing-late", row.id, now=now)
                await connection.execute(
                    update(inbox)
                    .where(inbox.c.id == row.id, inbox.c.state.in_(DUE))
                    .values(**values)
                )
            if filed:
                await connection.execute(
                    update(inbox)
                    # Spelt out: a list of many rows cannot be combined with `IN`.
                    .where(
                        inbox.c.id == bindparam("message"),
                        or_(*(inbox.c.state == state for state in DUE)),
                    )
                    .values(state="filed", reference=bindparam("where"), filed_at=now, code=None),
                    filed,
                )
            await owe(connection, owed)
            await core.log.add(connection, decisions, now=now)
        core.wakes.receipts.set()
        core.log.wake()
        return done

    def _delay(self, attempts: int) -> timedelta:
        settings = self._core.settings.receive
        seconds = settings.filing_retry.total_seconds() * 2 ** min(attempts, 16)
        return timedelta(seconds=min(seconds, settings.longest_filing_retry.total_seconds()))


def _business_id(row: AnyRow) -> str:
    return str(row.business_id)


def _short(code: str) -> str:
    return code.replace("_", "-")[:40]
