"""Withdrawal wins: stop at once, and pass it on.

Two parts, so that no crash can lie between a promise and its truth. *Stopping*, here, is written
in one transaction: the grant is narrowed, what is queued under it stops, what was received under
it may not be opened or filed any more, and everyone to whom we passed it on gets a withdrawal of
our own. *Erasing* (`broker.gateway.erasure`) starts from that state until it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.erasure.order import Cause, Order
from broker.gateway.erasure.orders import Orders
from broker.gateway.erasure.passing import UNREACHABLE
from broker.gateway.network.agreements import Agreements
from broker.gateway.network.unsaid import not_there
from broker.gateway.own_log import Decision
from broker.gateway.send.sender import Sender
from broker.gateway.send.statements import compose_statement
from broker.gateway.store import grants as grant_store
from broker.gateway.store import outbox as outbox_store
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    erasure_order,
    inbox,
    inbox_section,
    outbox,
)
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId
from schemas.bodies.common import Body
from schemas.bodies.consent import (
    BY_OTHERS,
    Majority,
    RevokedByOther,
    Update,
    Withdraw,
    WithdrawalReason,
)
from schemas.consent import Purpose, ScopeGrant
from schemas.envelope import ConsentTag, Lane
from schemas.errors import ConsentScope, NotFound, RecipientUnknown

POLL = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A withdrawal that is in force here and on its way to the other party."""

    message: UUID
    thread: UUID


class Withdrawals:
    """Orders, carries out and attests withdrawals."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender, orders: Orders) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender
        self._orders = orders

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
                    connection, grant, message=ordered.message, digest="", by=core.participant
                )
        core.wakes.outbox.set()
        core.wakes.withdrawals.set()
        core.log.wake()
        return ordered

    async def end_with_childhood(
        self, connection: AsyncConnection, grant: GrantState, of_age_on: date
    ) -> Ordered:
        """End a grant of ours that a guardian agreed to: she is of age from this day on."""
        return await self._order(connection, grant, (), of_age_on=of_age_on)

    async def _order(
        self,
        connection: AsyncConnection,
        grant: GrantState,
        blinded: Sequence[str],
        *,
        reason: str | None = None,
        of_age_on: date | None = None,
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
        if of_age_on is not None:
            body: Body = Majority(of_age_on=of_age_on)
            type_name = "consent.majority"
        elif whole and code in BY_OTHERS:
            body, type_name = RevokedByOther(reason_code=code), "consent.revoke_by_other"
        elif whole:
            body, type_name = Withdraw(reason_code=code), "consent.withdraw"
        else:
            body, type_name = Update(removed=removed, reason_code=code), "consent.update"
        agreement = self._agreements.for_partner(partner, "consent.withdraw", Lane.URGENT)
        key = None if grant.secret is None else await core.vault.read(connection, grant.secret)
        composed = compose_statement(
            core,
            type_name=type_name,
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
        """What is queued under what was taken back stays here; the threads that it opened end.

        A narrowed grant stops the whole queued message: it can be sent again without the section.
        What is on its way to the hub at this moment is stopped there, by the withdrawal.
        """
        stopped = await outbox_store.stop_under_grant(
            connection, after.id, code="consent-withdrawn"
        )
        for row in stopped:
            await not_there(self._core, connection, row.thread, row.id, "withdraw")
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
        await outbox_store.destroy_copies(connection, grant.id)
        await self._stop_received(connection, grant, message=message, digest=digest, by=by)
        if grant.sender == self._core.participant and by != grant.recipient:
            # By an authority, and who holds the copy answers those alone who address it. So we
            # order it too: its evidence of what it erased then comes to us as for any other.
            reason = WithdrawalReason.BY_AUTHORITY
            await self._order(connection, after, _still_named(after, scopes), reason=reason)

    async def is_known(self, connection: AsyncConnection, message: UUID) -> bool:
        """True if this withdrawal is in force here, carried out or not."""
        query = select(erasure_order.c.message).where(erasure_order.c.message == message)
        return await connection.scalar(query) is not None

    async def _stop_received(
        self,
        connection: AsyncConnection,
        grant: GrantState,
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
                    inbox_section.c.section.in_(grant_store.sections_gone(after)),
                )
                .values(content=None)
            )
        ours, gone = grant.sender == core.participant, grant_store.sections_gone(after)
        order = Order(
            message,
            Cause.WITHDRAWAL,
            by,
            now,
            digest=digest,
            grant=grant.id,
            ground="withdrawn",
            sections=() if after.withdrawn else tuple(gone),
        )
        await self._orders.place(
            connection, order, onward=not ours and (after.withdrawn or bool(gone))
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
            try:
                await self._order(connection, onward, () if len(gone) == len(live) else gone)
            except RecipientUnknown:
                # Gone from the directory: nothing more goes there, and a person must reach them.
                await grant_store.take_back(connection, onward.id, gone, now=self._core.now())
                await raise_alarm(connection, UNREACHABLE, onward.id, now=self._core.now())


def _still_named(after: GrantState, scopes: Sequence[str]) -> Sequence[str]:
    """The scopes to name when passing a withdrawal on; none if nothing is left of the grant."""
    return () if after.withdrawn else scopes


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
