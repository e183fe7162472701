"""Erasing what was withdrawn, and saying exactly what was erased.

A job that starts from the state that `withdrawal.py` wrote, again and again until it is done. Only
then is anything attested, store by store, and never more than we know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import CannotErase, CaseRecord, Declined, Filed, Kept, Memory, Skill
from broker.gateway.agreements import Agreements
from broker.gateway.cases.once import BEGUN
from broker.gateway.consent.erasures import attestation_of, is_erased, note_erasures
from broker.gateway.core import Core, wait_for
from broker.gateway.own_log import Decision
from broker.gateway.receive.filing import HAS_CASE
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.send.compose import compose_statement
from broker.gateway.send.sender import Sender
from broker.gateway.store import grants as grant_store
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    case_question,
    inbox,
    inbox_attachment,
    inbox_section,
    outbox,
    withdrawal,
)
from broker.gateway.store.tables import grant as grant_table
from broker.telemetry import logger
from schemas.audit import Event
from schemas.base import unb64u
from schemas.bodies.consent import Onward, WithdrawAck
from schemas.envelope import Lane
from schemas.errors import BrokerError, OutcomeUnknown, Refused, Unavailable
from schemas.evidence import Erasure, Fact, Store, StoreErasure, is_basis

POLL = timedelta(seconds=5)


class Erasing:
    """Carries out and attests withdrawals. One task."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    # --- erasing ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out for ever."""
        while True:
            try:
                done = await self.run_once()
            except Unavailable as error:
                logger().warning("withdrawals:wait", code=error.code)
                await asyncio.sleep(1.0)
                continue
            if not done:
                await wait_for(self._core.wakes.withdrawals, POLL)

    async def run_once(self) -> int:
        """Carry out what is due; returns how many withdrawals were completed."""
        core = self._core
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(withdrawal)
                    .where(
                        or_(
                            withdrawal.c.state == "stopped",
                            withdrawal.c.onward_due,
                        ),
                        withdrawal.c.next_attempt_at <= core.now(),
                    )
                    .order_by(withdrawal.c.at)
                    .limit(16)
                )
            ).all()
        done = 0
        for row in rows:
            try:
                if row.state == "stopped":
                    await self._erase(row)
                else:
                    await self._report_onward(row)
                done += 1
            except BrokerError as error:
                logger().warning("withdrawal:not-erased", code=error.code)
                await self._postpone(row, hopeless=isinstance(error, Refused))
        return done

    async def _postpone(self, row: AnyRow, *, hopeless: bool) -> None:
        """Try again later. A person is told once it has failed too often, or at once if `hopeless`:
        then it will not succeed by itself, and until it does nothing is attested."""
        now = self._core.now()
        wait = timedelta(seconds=min(2.0 ** min(row.attempts, 9), 300.0))
        async with self._core.database.begin() as connection:
            await connection.execute(
                update(withdrawal)
                .where(withdrawal.c.message == row.message)
                .values(attempts=withdrawal.c.attempts + 1, next_attempt_at=now + wait)
            )
            if hopeless or row.attempts >= 5:
                await raise_alarm(connection, "erasure-late", row.message, now=now)

    async def _erase(self, row: AnyRow) -> None:
        """Erase one withdrawal's data everywhere here, then attest. Safe to repeat at any line."""
        core = self._core
        async with core.database.read() as connection:
            grant = await grant_store.require_grant(connection, row.grant)
            messages = await self._affected(connection, grant)
        if grant.recipient != core.participant:
            # Our own grant, taken back by the other side: we hold the original, not a copy.
            await self._finish(row, grant, [], ())
            return
        gone = grant_store.sections_gone(grant)
        in_system = []
        for message in messages:
            async with core.case_locks.hold([message.business_id]):
                in_system.append(await self._erase_filed(message, gone, whole=grant.withdrawn))
        core.records.pop(grant.id, None)
        async with core.database.begin() as connection:
            if grant.withdrawn:
                await core.vault.erase_grant(connection, grant.id)
                await connection.execute(
                    update(grant_table)
                    .where(grant_table.c.id == grant.id)
                    .values(secret=None, record=None)
                )
            else:
                await core.vault.erase_sections(connection, grant.id, gone)
            await self._forget(connection, messages, gone, whole=grant.withdrawn)
        await core.vault.scrub()
        case_system = _together(in_system)
        if case_system.outcome is Erasure.UNKNOWN:
            async with core.database.begin() as connection:
                await raise_alarm(connection, "erasure-by-hand", row.message, now=core.now())
        stores = (
            StoreErasure(store=Store.VAULT, outcome=Erasure.ERASED),
            case_system,
            # What workers saved or printed is in their hands, and they in the law's.
            StoreErasure(store=Store.EXPORTS, outcome=Erasure.UNKNOWN),
            # A backup of this machine opens until the key of this epoch is destroyed: `epochs.py`.
            StoreErasure(
                store=Store.BACKUPS,
                outcome=Erasure.UNKNOWN,
                epoch=await core.vault.current_epoch(),
            ),
        )
        await self._finish(row, grant, messages, stores)

    async def _affected(self, connection: AsyncConnection, grant: GrantState) -> Sequence[AnyRow]:
        rows = await connection.execute(
            select(
                inbox.c.id,
                inbox.c.position,
                inbox.c.business_id,
                inbox.c.type,
                inbox.c.grant,
                inbox.c.reference,
                inbox.c.state,
                inbox.c.code,
                inbox.c.sender,
                inbox.c.case_ref,
                inbox.c.digest,
            ).where(inbox.c.grant == grant.id)
        )
        return rows.all()

    async def _erase_filed(
        self, message: AnyRow, gone: Sequence[str], *, whole: bool
    ) -> StoreErasure:
        """Remove a case from the case system, or the sections that were taken back.

        The business id finds it even if we died between filing it and writing that down.
        """
        core = self._core
        erased = StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.ERASED)
        if not await self._has_case(message):
            return erased
        filed = None
        if core.adapter.memory is Memory.LOOKUP:
            filed = await asyncio.to_thread(core.adapter.find, message.business_id)
        reference = message.reference if filed is None else filed.reference
        unknown = erased.model_copy(update={"outcome": Erasure.UNKNOWN})
        if reference is None:
            # A system that cannot be asked may have it if it was ever told.
            told = core.adapter.memory is not Memory.LOOKUP and message.state == "filing"
            return unknown if told or message.code in (OutcomeUnknown.code, BEGUN) else erased
        if whole:
            outcome = await asyncio.to_thread(core.adapter.erase, reference)
            if isinstance(outcome, Kept) and is_basis(outcome.basis):
                return StoreErasure(
                    store=Store.CASE_SYSTEM, outcome=Erasure.KEPT, basis=outcome.basis
                )
            return unknown if isinstance(outcome, Kept | CannotErase) else erased
        if Skill.UPDATE not in core.adapter.skills:
            return unknown
        case = await self._case_of(message, reference)
        if case is None or not set(case.sections) & set(gone):
            return erased
        kept = {name: value for name, value in case.sections.items() if name not in gone}
        left = replace(case, sections=kept)
        updated = await asyncio.to_thread(core.adapter.update, reference, left)
        gone_since = isinstance(updated, Declined) and updated.code == "not-found"
        if not isinstance(updated, Filed) and not gone_since:
            raise Refused("the case system keeps a section that was taken back")
        return erased

    async def _case_of(self, message: AnyRow, reference: str) -> CaseRecord | None:
        """What the case system holds; of one that cannot be read, what it was given."""
        core = self._core
        if Skill.READ in core.adapter.skills:
            return await asyncio.to_thread(core.adapter.read, reference)
        async with core.database.read() as connection:
            rows = await connection.execute(
                select(inbox_section.c.section, inbox_section.c.content).where(
                    inbox_section.c.message == message.id
                )
            )
            where = {row.section: row.content for row in rows}
            held = [ref for ref in where.values() if ref is not None]
            plain = await core.vault.read_many(connection, held)
        # A section that is gone from the vault is named with nothing in it: it is to go there too.
        sections = {
            name: json.loads(plain[ref]) if ref in plain else {} for name, ref in where.items()
        }
        return CaseRecord(
            case_ref=message.case_ref,
            sections=sections,
            business_id=message.business_id,
            sender=message.sender,
        )

    async def _has_case(self, message: AnyRow) -> bool:
        """False if the case under this business id is another message's, as `filing` decides it.

        Who was told where it lies has it. Who died before writing that down has it too, unless it
        came after another who has it or may have it.
        """
        if message.reference is not None:
            return True
        async with self._core.database.read() as connection:
            rows = await connection.execute(
                select(inbox.c.sender, inbox.c.type, inbox.c.grant).where(
                    inbox.c.business_id == message.business_id,
                    inbox.c.state != "erased",
                    or_(
                        inbox.c.reference.is_not(None),
                        and_(inbox.c.state.in_(HAS_CASE), inbox.c.position < message.position),
                    ),
                )
            )
            key = (message.sender, message.type, message.grant)
            return all((row.sender, row.type, row.grant) == key for row in rows)

    async def _forget(
        self,
        connection: AsyncConnection,
        messages: Sequence[AnyRow],
        gone: Sequence[str],
        *,
        whole: bool,
    ) -> None:
        """Drop the references to what is no longer in the vault."""
        ids = [message.id for message in messages]
        if not ids:
            return
        sections = update(inbox_section).where(inbox_section.c.message.in_(ids))
        files = delete(inbox_attachment).where(inbox_attachment.c.message.in_(ids))
        if whole:
            await connection.execute(
                update(inbox)
                .where(inbox.c.id.in_(ids))
                .values(state="erased", content=None, erased_at=self._core.now())
            )
            # Whom she was taken for, or was not, goes with her.
            await connection.execute(delete(case_question).where(case_question.c.message.in_(ids)))
        else:
            sections = sections.where(inbox_section.c.section.in_(gone))
            files = files.where(inbox_attachment.c.section.in_(gone))
        await connection.execute(sections.values(content=None))
        await connection.execute(files)

    # --- attesting ----------------------------------------------------------------------------

    async def _finish(
        self,
        row: AnyRow,
        grant: GrantState,
        messages: Sequence[AnyRow],
        stores: tuple[StoreErasure, ...],
    ) -> None:
        """Everything is erased: say so, in the transaction that closes the job."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            closed = await connection.execute(
                update(withdrawal)
                .where(withdrawal.c.message == row.message, withdrawal.c.state == "stopped")
                .values(state="erased")
            )
            if closed.rowcount == 0:
                return
            onward = await self._onward(connection, grant, row.at)
            if onward:
                stores = (*stores, StoreErasure(store=Store.ONWARD, outcome=Erasure.UNKNOWN))
            if stores:
                await note_erasures(
                    connection, grant.id, core.participant, stores, at=now, message=row.message
                )
            if row.by != core.participant and row.digest and stores:
                await owe(
                    connection,
                    [Owed(row.by, row.message, row.digest, Fact.ERASED, now, None, stores)],
                )
            await self._acknowledge(connection, row, grant, stores, onward)
            decisions = [
                Decision(Event.CASE_ERASED, unb64u(message.digest), message.id)
                for message in messages
            ]
            await core.log.add(connection, decisions, now=now)
        core.wakes.receipts.set()
        core.wakes.outbox.set()
        core.log.wake()

    async def _onward(
        self, connection: AsyncConnection, grant: GrantState, told_at: datetime
    ) -> tuple[Onward, ...]:
        """Everyone we passed it on to, and what each has attested so far."""
        rows = (
            await connection.execute(
                select(grant_table.c.id, grant_table.c.recipient).where(
                    grant_table.c.derived_from == grant.id,
                    grant_table.c.sender == self._core.participant,
                )
            )
        ).all()
        found = []
        for row in rows:
            stores, at = await attestation_of(connection, row.id, row.recipient)
            erased = await is_erased(connection, row.id, row.recipient)
            found.append(
                Onward(
                    participant=row.recipient,
                    told_at=told_at,
                    outcome=Erasure.ERASED if erased else Erasure.UNKNOWN,
                    attested_at=at,
                    stores=stores,
                )
            )
        return tuple(found)

    async def _report_onward(self, row: AnyRow) -> None:
        """Somebody further on has attested since we answered: say so, once for each news."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            await connection.execute(
                update(withdrawal)
                .where(withdrawal.c.message == row.message)
                .values(onward_due=False)
            )
            grant = await grant_store.require_grant(connection, row.grant)
            onward = await self._onward(connection, grant, row.at)
            everyone = all(item.outcome is Erasure.ERASED for item in onward)
            stated = StoreErasure(
                store=Store.ONWARD, outcome=Erasure.ERASED if everyone else Erasure.UNKNOWN
            )
            await note_erasures(
                connection, grant.id, core.participant, [stated], at=now, message=row.message
            )
            stores, _ = await attestation_of(connection, grant.id, core.participant)
            if row.digest:
                owed = Owed(row.by, row.message, row.digest, Fact.ERASED, now, None, (stated,))
                await owe(connection, [owed])
            await self._acknowledge(connection, row, grant, stores, onward)
        core.wakes.receipts.set()
        core.wakes.outbox.set()

    async def _acknowledge(
        self,
        connection: AsyncConnection,
        row: AnyRow,
        grant: GrantState,
        stores: tuple[StoreErasure, ...],
        onward: tuple[Onward, ...],
    ) -> None:
        """Answer with a message too: a worker reads it, the hub cannot.

        Outside the grant, which is gone: an answer that holds no section needs none.
        """
        core = self._core
        partner = grant.sender if grant.recipient == core.participant else grant.recipient
        try:
            agreement = self._agreements.for_partner(partner, "consent.withdraw.ack", Lane.URGENT)
            thread = await connection.scalar(
                select(inbox.c.thread).where(inbox.c.id == row.message)
            ) or await connection.scalar(select(outbox.c.thread).where(outbox.c.id == row.message))
            composed = compose_statement(
                core,
                type_name="consent.withdraw.ack",
                to=partner,
                case_ref=grant.case_ref or str(grant.id),
                body=WithdrawAck(
                    stopped_at=row.at,
                    stores=stores or (StoreErasure(store=Store.QUEUE, outcome=Erasure.ERASED),),
                    onward=onward,
                ),
                agreement=None if agreement is None else agreement[0],
                consent=None,
                grant=None,
                thread=thread,
                in_reply_to=row.message,
            )
        except BrokerError as error:
            # The partner may have left the directory. The signed facts are written all the same.
            logger().warning("withdrawal:not-acknowledged", code=error.code)
            return
        await self._sender.store(connection, composed)


_WORST = (Erasure.UNKNOWN, Erasure.KEPT, Erasure.ERASED)


def _together(found: Sequence[StoreErasure]) -> StoreErasure:
    """One word for all cases of a withdrawal in the case system: the worst of them."""
    nothing = StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.ERASED)
    return min((*found, nothing), key=lambda one: _WORST.index(one.outcome))
