"""Step 9: into the case system, once. Looked for by business id first, filed only if not there.

The order that makes "once" true: the vault holds the content, the adapter is asked whether it has
the business id, only then files, and only what the adapter has answered is written down. A crash
between any two of these repeats the question, not the filing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import Candidate, CannotMap, CaseRecord, Declined, Filed, Memory
from broker.gateway.cases.identity import WhoIsIt, can_ask
from broker.gateway.cases.once import BEGUN, file_in
from broker.gateway.cases.questions import UNCLEAR, ask, known_of
from broker.gateway.cases.reporting import GAPS, report_rows, retract_reports
from broker.gateway.cases.versions import file_version
from broker.gateway.core import CASE_FILE, Core, ToFile, wait_for
from broker.gateway.own_log import Decision
from broker.gateway.receive.receipts import Owed, Receipts
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.tables import (
    case_report,
    inbox,
    inbox_section,
    receipt,
    receipt_packet,
)
from broker.gateway.store.together import Changes, insert_together, update_rows
from broker.telemetry import logger
from schemas.audit import Event
from schemas.base import unb64u
from schemas.catalogue import message_type
from schemas.errors import (
    BrokerError,
    CaseSystemUnavailable,
    OutcomeUnknown,
    Refused,
    Unavailable,
    UnknownCode,
)
from schemas.evidence import Fact

POLL = timedelta(seconds=2)
GROUP = 64
"""Cases in one batch: they share the case system's and our own cost of durability."""
DUE = ("delivered", "filing")
HAS_CASE = (*DUE, "filed", "held")
"""States of a message that has its case in the case system, or may have."""


_STANDING = Lookup(
    select(
        inbox.c.id,
        inbox.c.business_id,
        inbox.c.sender,
        inbox.c.type,
        inbox.c.grant,
        inbox.c.state,
        inbox_section.c.section,
        inbox_section.c.content,
    )
    .outerjoin(
        inbox_section,
        and_(inbox_section.c.message == inbox.c.id, inbox_section.c.content.is_not(None)),
    )
    .where(inbox.c.state.in_((*HAS_CASE, "stopped")))
    .order_by(inbox.c.position),
    inbox.c.business_id,
)


class Filing:
    """Files what was delivered. One task."""

    def __init__(self, core: Core, receipts: Receipts) -> None:
        self._core = core
        self._receipts = receipts

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            try:
                done = await self._file_handed_over()
                if not done and (loop.time() >= look_at or self._core.to_file.overflowed):
                    look_at = loop.time() + POLL.total_seconds()
                    done = await self._file_stored()
                    if done:
                        look_at = loop.time()
            except Unavailable as error:
                logger().warning("filing:waits", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not done:
                await wait_for(self._core.wakes.filing, POLL)

    async def run_once(self) -> int:
        """File what is due; returns how many messages reached the end of their way."""
        return await self._file_handed_over() or await self._file_stored()

    async def _file_handed_over(self) -> int:
        """What the receiver has just stored, still at hand."""
        taken = self._core.to_file.take(GROUP)
        if not taken:
            return 0
        try:
            await self._file_locked(taken, read=False)
        except BaseException:
            self._core.to_file.overflowed = True  # they are found again in the database
            raise
        finally:
            self._core.to_file.settled()
        return len(taken)

    async def _file_stored(self) -> int:
        """What is due in the database: tried before, or received before we last started."""
        core = self._core
        core.to_file.overflowed = False
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(inbox)
                    .where(inbox.c.state.in_(DUE), inbox.c.next_attempt_at <= core.now())
                    .order_by(inbox.c.position)
                    .limit(GROUP)
                )
            ).all()
        return await self._file_locked([_to_file(row) for row in rows], read=True)

    async def _file_locked(self, items: Sequence[ToFile], *, read: bool) -> int:
        core = self._core
        unique = list({item.business_id: item for item in reversed(items)}.values())
        if not unique:
            return 0
        if len(unique) < len(items):
            core.to_file.overflowed = True  # the second of one business id follows the first
        held = {item.business_id for item in unique}
        held |= {item.supersedes for item in unique if item.supersedes is not None}
        async with core.case_locks.hold(held):
            return await self._file_group(unique, read=read)

    async def _file_group(self, items: Sequence[ToFile], *, read: bool) -> int:
        async with self._core.database.read() as connection:
            # Looked at under the locks: a withdrawal may have stopped some in the meantime, or
            # taken sections out of them.
            standing = await _STANDING(connection, [item.business_id for item in items])
            live = _live(items, standing)
            if read:
                items = await self._with_sections(connection, items, live)
            items_here = [item for item in items if item.id in live]
            known = await known_of(
                connection, items_here, answered=read, earlier=can_ask(self._core.adapter)
            )
        taken = _taken(items_here, standing)
        items = [_only(item, live[item.id]) for item in items if item.id in live]
        if not items:
            return 0
        answers = dict(taken)
        for item in items:
            if item.supersedes is not None and item.id not in taken:
                answers[item.id] = await file_version(self._core, item)
        free = [item for item in items if item.id not in answers]
        if free:
            begun = await self._begin(free)
            outcomes = await asyncio.to_thread(
                file_in, self._core.adapter, free, begun=begun, known=known
            )
            answers |= zip([item.id for item in free], outcomes, strict=True)
        return await self._record(items, [answers[item.id] for item in items])

    async def _with_sections(
        self,
        connection: AsyncConnection,
        items: Sequence[ToFile],
        live: dict[UUID, dict[str, str]],
    ) -> list[ToFile]:
        plain = await self._core.vault.read_many(
            connection, [ref for sections in live.values() for ref in sections.values()]
        )
        return [
            _with(
                item,
                {name: json.loads(plain[ref]) for name, ref in live.get(item.id, {}).items()},
            )
            for item in items
        ]

    async def _begin(self, items: Sequence[ToFile]) -> set[UUID]:
        """Write down what is begun in a system that cannot say afterwards whether it acted.

        Returns those that were begun before.
        """
        core = self._core
        if core.adapter.memory is not Memory.NONE:
            return set()
        ids = [item.id for item in items]
        async with core.database.begin() as connection:
            rows = await connection.execute(
                select(inbox.c.id).where(inbox.c.id.in_(padded(ids)), inbox.c.code == BEGUN)
            )
            begun = set(rows.scalars())
            await connection.execute(
                update(inbox).where(inbox.c.id.in_(padded(ids))).values(code=BEGUN)
            )
        return begun

    async def _record(self, items: Sequence[ToFile], answers: Sequence[object]) -> int:
        core, now = self._core, self._core.now()
        filed: list[dict[str, object]] = []
        failed: list[dict[str, object]] = []
        later: list[dict[str, object]] = []
        owed: list[Owed] = []
        decisions: list[Decision] = []
        alarms: list[tuple[str, UUID]] = []
        reports: list[tuple[UUID, str, Sequence[str]]] = []
        asked: list[tuple[UUID, Sequence[Candidate]]] = []
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, Filed):
                filed.append(
                    {
                        "id": item.id,
                        "state": "filed",
                        "reference": answer.reference,
                        "filed_at": now,
                        "code": None,
                    }
                )
                owed.append(Owed(item.sender, item.id, item.digest, Fact.FILED, now))
                if answer.not_held:
                    reports.append((item.id, "filed_with_gaps", answer.not_held))
                    alarms.append((GAPS, item.id))
                decisions.append(Decision(Event.MESSAGE_FILED, unb64u(item.digest), item.id))
            elif isinstance(answer, Declined | CannotMap | Refused):
                code = UnknownCode.code if isinstance(answer, CannotMap) else _short(answer.code)
                if isinstance(answer, CannotMap):
                    reports.append((item.id, "cannot_map", answer.where))
                failed.append({"id": item.id, "state": "failed", "code": code})
                owed.append(Owed(item.sender, item.id, item.digest, Fact.FAILED, now, code))
                alarms.append(("filing-failed", item.id))
            elif isinstance(answer, WhoIsIt):
                failed.append({"id": item.id, "state": "held", "code": UNCLEAR})
                asked.append((item.id, answer.candidates))
                reports.append((item.id, "person_unclear", ("identity_core",)))
                alarms.append((UNCLEAR, item.id))
            elif isinstance(answer, OutcomeUnknown):
                # It may be there or not, and nobody but a person can tell.
                failed.append({"id": item.id, "state": "held", "code": answer.code})
                alarms.append(("outcome-unknown", item.id))
            else:
                later.append(
                    {
                        "id": item.id,
                        "state": "filing",
                        "code": answer.code if isinstance(answer, BrokerError) else "unavailable",
                        "attempts": item.attempts + 1,
                        "next_attempt_at": now + self._delay(item.attempts),
                    }
                )
                if item.attempts >= 5:
                    alarms.append(("filing-late", item.id))
        # What was simply filed is one statement.
        database = core.database
        begin = database.begin if alarms or failed or later else database.alone
        async with self._receipts.packing() as sign, begin() as connection:
            for code, message in alarms:
                await raise_alarm(connection, code, message, now=now)
            for rows in (failed, later):
                await update_rows(connection, inbox, rows, key="id", only=("state", DUE))
            await ask(connection, asked, now=now)
            await retract_reports(connection, [message for message, *_ in reports])
            signed = await sign(connection, owed)
            await insert_together(
                connection,
                (receipt_packet, signed.stored),
                (receipt, signed.receipts),
                (case_report, report_rows(reports, now=now)),
                *core.log.rows(decisions, now=now),
                changes=(
                    Changes(inbox, filed, key="id", only=("state", DUE)),
                    Changes(receipt, signed.packed, key="position"),
                ),
            )
        core.log.wake()
        return len(filed) + len(failed)

    def _delay(self, attempts: int) -> timedelta:
        settings = self._core.settings.receive
        seconds = settings.filing_retry.total_seconds() * 2 ** min(attempts, 16)
        return timedelta(seconds=min(seconds, settings.longest_filing_retry.total_seconds()))


def _to_file(row: AnyRow) -> ToFile:
    case = CaseRecord(
        case_ref=row.case_ref,
        sections={},
        business_id=row.business_id,
        sender=row.sender,
        handed_over=row.type == CASE_FILE,
    )
    return ToFile(
        row.id,
        row.business_id,
        row.sender,
        row.digest,
        row.attempts,
        case,
        supersedes=row.supersedes,
        in_part=row.in_part,
    )


def _live(items: Sequence[ToFile], standing: Sequence[AnyRow]) -> dict[UUID, dict[str, str]]:
    """Of each message that is still to be filed, where its sections lie in the vault."""
    wanted = {item.id for item in items}
    found: dict[UUID, dict[str, str]] = {}
    for row in standing:
        if row.id in wanted and row.state in DUE:
            sections = found.setdefault(row.id, {})
            if row.section is not None:
                sections[row.section] = row.content
    return found


def _taken(items: Sequence[ToFile], standing: Sequence[AnyRow]) -> dict[UUID, object]:
    """The answer for each message whose business id is another message's already.

    The sender chooses the business id, so two senders may choose the same one. What the case
    system has under it then belongs to the first: the second is told so, and never that it
    was filed. If the first is just being erased, the second waits.
    """
    of_business_id: dict[UUID, list[AnyRow]] = {}
    for row in standing:
        if message_type(row.type).filed:
            of_business_id.setdefault(row.business_id, []).append(row)
    answers: dict[UUID, object] = {}
    for item in items:
        rivals = of_business_id.get(item.business_id, [])
        ours = next((row for row in rivals if row.id == item.id), None)
        for row in rivals:
            if ours is None or row.id == item.id:
                break
            if (row.sender, row.type, row.grant) != (ours.sender, ours.type, ours.grant):
                answers[item.id] = (
                    CaseSystemUnavailable("the first of this id is being erased")
                    if row.state == "stopped"
                    else Declined("id-conflict")
                )
                break
    return answers


def _with(item: ToFile, sections: Mapping[str, Any]) -> ToFile:
    return replace(item, case=replace(item.case, sections=sections))


def _only(item: ToFile, present: Collection[str]) -> ToFile:
    """Without the sections that were taken out since."""
    sections = item.case.sections
    if sections.keys() <= set(present):
        return item
    return _with(item, {name: sections[name] for name in sections if name in present})


def _short(code: str) -> str:
    return code.replace("_", "-")[:40]
