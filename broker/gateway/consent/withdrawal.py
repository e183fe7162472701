"""Withdrawal wins: stop at once, erase for certain, pass it on, and say exactly what was erased.

Two parts, so that no crash can lie between a promise and its truth. *Stopping* is written in one
transaction: the grant is narrowed, what is queued under it stops, what was received under it may
not be opened or filed any more, and everyone to whom we passed it on gets a withdrawal of our own.
*Erasing* is a job that starts from that state again and again until it is done. Only then is
anything attested, store by store, and never more than we know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.base import CaseRecord, Declined, Filed
from broker.gateway import threads
from broker.gateway.agreements import Agreements
from broker.gateway.consent.erasures import attestation_of, is_erased, note_erasures
from broker.gateway.core import Core, wait_for
from broker.gateway.own_log import Decision
from broker.gateway.receive.filing import HAS_CASE
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.send.compose import compose_statement
from broker.gateway.send.sender import Sender
from broker.gateway.store import grants as grant_store
from broker.gateway.store import outbox as outbox_store
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    grant as grant_table,
)
from broker.gateway.store.tables import (
    inbox,
    inbox_attachment,
    inbox_section,
    outbox,
    withdrawal,
)
from broker.telemetry import logger
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId, unb64u
from schemas.bodies.consent import (
    Cause,
    Onward,
    Update,
    Withdraw,
    WithdrawAck,
    WithdrawalReason,
)
from schemas.consent import Purpose, ScopeGrant
from schemas.envelope import ConsentTag, Lane
from schemas.errors import (
    BrokerError,
    ConsentScope,
    NotFound,
    Refused,
    Unavailable,
)
from schemas.evidence import Erasure, Fact, Store, StoreErasure

POLL = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A withdrawal that is in force here and on its way to the other party."""

    message: UUID
    thread: UUID


class Withdrawals:
    """Orders, carries out and attests withdrawals."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    # --- ordering -----------------------------------------------------------------------------

    async def order(
        self,
        grant_id: UUID,
        scopes: Sequence[ScopeGrant] = (),
        *,
        reason: str | None = None,
    ) -> Ordered:
        """Withdraw or narrow a grant, at the person's word. Needs no hub and no consent.

        Raises:
            NotFound: No such grant.
            ConsentScope: The grant never held one of these scopes.
        """
        core = self._core
        async with core.database.begin() as connection:
            grant = await grant_store.require_grant(connection, grant_id)
            blinded = _blinded(grant, scopes)
            ordered = await self._order(connection, grant, blinded, reason=reason)
            if grant.recipient == core.participant:
                await self._stop_received(
                    connection,
                    grant,
                    blinded,
                    message=ordered.message,
                    digest="",
                    by=core.participant,
                )
        core.wakes.outbox.set()
        core.wakes.withdrawals.set()
        core.log.wake()
        return ordered

    async def _order(
        self,
        connection: AsyncConnection,
        grant: GrantState,
        blinded: Sequence[str],
        *,
        reason: str | None = None,
    ) -> Ordered:
        """Stop under a grant and tell its other party, inside the caller's transaction."""
        core, now = self._core, self._core.now()
        partner = grant.recipient if grant.sender == core.participant else grant.sender
        removed = tuple(
            ScopeGrant(purpose=Purpose(names[0]), section=names[1])
            for scope in blinded
            if (names := grant.scopes.get(scope)) is not None
        )
        after = await grant_store.take_back(connection, grant.id, blinded, now=now)
        await self._stop_unsent(connection, after)
        code = WithdrawalReason(reason) if reason else WithdrawalReason.NO_REASON_GIVEN
        whole = after.withdrawn
        body = (
            Withdraw(cause=Cause.CONSENT_WITHDRAWN, reason_code=code)
            if whole
            else Update(removed=removed, reason_code=code)
        )
        agreement = self._agreements.for_partner(partner, "consent.withdraw", Lane.URGENT)
        key = None if grant.secret is None else await core.vault.read(connection, grant.secret)
        composed = compose_statement(
            core,
            type_name="consent.withdraw" if whole else "consent.update",
            to=partner,
            case_ref=grant.case_ref or str(grant.id),
            body=body,
            agreement=None if agreement is None else agreement[0],
            consent=ConsentTag(
                grant=grant.id, scopes=() if whole else tuple(blinded), until=grant.until
            ),
            grant=grant.id,
            grant_key=key,
        )
        stored = await self._sender.store(connection, composed)
        event = Event.GRANT_WITHDRAWN if whole else Event.GRANT_NARROWED
        await core.log.add(
            connection, [Decision(event, subject_of(grant.statement), grant.id)], now=now
        )
        return Ordered(stored.id, stored.thread)

    async def _stop_unsent(self, connection: AsyncConnection, after: GrantState) -> None:
        """What is queued under what was taken back stays here; its threads end.

        A narrowed grant stops the whole queued message: it can be sent again without the section.
        What is on its way to the hub at this moment is stopped there, by the withdrawal.
        """
        stopped = await outbox_store.stop_under_grant(
            connection, after.id, code="consent-withdrawn"
        )
        now = self._core.now()
        for row in stopped:
            await threads.ended_by_hub(connection, row.thread, "withdraw", now=now)
        if after.withdrawn:
            await self._end_threads(connection, after.id)

    async def _end_threads(self, connection: AsyncConnection, grant_id: UUID) -> None:
        for table in (outbox, inbox):
            ids = (
                await connection.execute(
                    select(table.c.thread).where(table.c.grant == grant_id).distinct()
                )
            ).scalars()
            await threads.withdraw_case_threads(connection, list(ids), now=self._core.now())

    # --- receiving ----------------------------------------------------------------------------

    async def accept(
        self,
        connection: AsyncConnection,
        grant: GrantState,
        scopes: Sequence[str],
        *,
        message: UUID,
        digest: str,
        by: ParticipantId,
    ) -> None:
        """A withdrawal has come in: stop, inside the transaction that receives it. One that came
        before, over the feed say, is in force already."""
        now = self._core.now()
        if await self.is_known(connection, message):
            return
        after = await grant_store.take_back(connection, grant.id, scopes, now=now)
        await self._stop_unsent(connection, after)
        await self._stop_received(connection, grant, scopes, message=message, digest=digest, by=by)
        if grant.sender == self._core.participant and by != grant.recipient:
            # By an authority, and who holds the copy answers those alone who address it. So we
            # order it too: its evidence of what it erased then comes to us as for any other.
            reason = WithdrawalReason.BY_AUTHORITY
            await self._order(connection, after, _still_named(after, scopes), reason=reason)

    async def is_known(self, connection: AsyncConnection, message: UUID) -> bool:
        """True if this withdrawal is in force here, carried out or not."""
        query = select(withdrawal.c.message).where(withdrawal.c.message == message)
        return await connection.scalar(query) is not None

    async def _stop_received(
        self,
        connection: AsyncConnection,
        grant: GrantState,
        scopes: Sequence[str],
        *,
        message: UUID,
        digest: str,
        by: ParticipantId,
    ) -> None:
        """Forbid opening and filing, pass the withdrawal on, and put the erasing on the list."""
        core, now = self._core, self._core.now()
        after = await grant_store.require_grant(connection, grant.id)
        if after.withdrawn and grant.recipient == core.participant:
            await connection.execute(
                update(inbox)
                .where(inbox.c.grant == grant.id, inbox.c.state.not_in(("stopped", "erased")))
                .values(state="stopped")
            )
        elif grant.recipient == core.participant:
            # At once, so that nothing files a section between its erasure and the word of it.
            under = select(inbox.c.id).where(inbox.c.grant == grant.id)
            await connection.execute(
                update(inbox_section)
                .where(
                    inbox_section.c.message.in_(under),
                    inbox_section.c.section.in_(_sections_gone(after)),
                )
                .values(content=None)
            )
        await connection.execute(
            insert(withdrawal).values(
                message=message,
                grant=grant.id,
                digest=digest,
                by=by,
                scopes=json.dumps(list(scopes)),
                onward_due=False,
                state="stopped",
                attempts=0,
                next_attempt_at=now,
                at=now,
            )
        )
        if grant.recipient == core.participant:
            await self._pass_on(connection, after)

    async def _pass_on(self, connection: AsyncConnection, source: GrantState) -> None:
        """Take back, from those we passed it on to, what we no longer may hold ourselves."""
        held = {names for names in source.live().values() if names is not None}
        for onward in await grant_store.derived_from(connection, source.id):
            if onward.sender != self._core.participant:
                continue
            live = onward.live()
            gone = [scope for scope, names in live.items() if names is None or names not in held]
            if not gone:
                continue
            await self._order(connection, onward, () if len(gone) == len(live) else gone)

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
        gone = _sections_gone(grant)
        for message in messages:
            async with core.case_locks.hold([message.business_id]):
                await self._erase_filed(message, gone, whole=grant.withdrawn)
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
        stores = (
            StoreErasure(store=Store.VAULT, outcome=Erasure.ERASED),
            StoreErasure(store=Store.CASE_SYSTEM, outcome=Erasure.ERASED),
            # A backup of this machine is beyond our reach until the vault's epoch is rotated.
            StoreErasure(store=Store.BACKUPS, outcome=Erasure.UNKNOWN),
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
                inbox.c.sender,
                inbox.c.case_ref,
                inbox.c.digest,
            ).where(inbox.c.grant == grant.id)
        )
        return rows.all()

    async def _erase_filed(self, message: AnyRow, gone: Sequence[str], *, whole: bool) -> None:
        """Remove a case from the case system, or the sections that were taken back.

        The business id finds it even if we died between filing it and writing that down.
        """
        core = self._core
        if not await self._has_case(message):
            return
        filed = await asyncio.to_thread(core.adapter.find, message.business_id)
        if filed is None:
            return
        if whole:
            await asyncio.to_thread(core.adapter.erase, filed.reference)
            return
        case = await asyncio.to_thread(core.adapter.read, filed.reference)
        if case is None or not set(case.sections) & set(gone):
            return
        left = CaseRecord(
            case_ref=case.case_ref,
            sections={name: value for name, value in case.sections.items() if name not in gone},
            business_id=case.business_id,
            sender=case.sender,
            invented=case.invented,
        )
        outcome = await asyncio.to_thread(core.adapter.update, filed.reference, left)
        gone_since = isinstance(outcome, Declined) and outcome.code == "not-found"
        if not isinstance(outcome, Filed) and not gone_since:
            raise Refused("the case system keeps a section that was taken back")

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


def _still_named(after: GrantState, scopes: Sequence[str]) -> Sequence[str]:
    """The scopes to name when passing a withdrawal on; none if nothing is left of the grant."""
    return () if after.withdrawn else scopes


def _sections_gone(grant: GrantState) -> list[str]:
    """Sections that no living scope of the grant covers any more."""
    live = {names[1] for names in grant.live().values() if names is not None}
    every = {names[1] for names in grant.scopes.values() if names is not None}
    return sorted(every - live)


def _blinded(grant: GrantState, scopes: Sequence[ScopeGrant]) -> list[str]:
    """The blinded form of what is taken back; empty for all of it.

    Raises:
        ConsentScope: The grant never held it: a withdrawal cannot name something new.
        NotFound: What the scopes stand for is not known here.
    """
    if not scopes:
        return []
    by_name = {names: scope for scope, names in grant.scopes.items() if names is not None}
    if not by_name:
        raise NotFound("the record of this grant is not here")
    wanted = [(str(scope.purpose), scope.section) for scope in scopes]
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ConsentScope(where=tuple(f"scopes.{section}" for _, section in missing))
    return [by_name[name] for name in wanted]
