"""Saying what was erased: signed facts to whoever ordered it, and an answer that a worker reads.

Never more than we know: what others hold because of us is as they attested it, and unknown until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.erasure.attested import attestation_of, attesters_of, note_erasures, outcome_of
from broker.gateway.erasure.order import Cause, Order
from broker.gateway.network.agreements import Agreements
from broker.gateway.own_log import Decision
from broker.gateway.receive.receipts import Owed, owe
from broker.gateway.send.sender import Sender
from broker.gateway.send.statements import compose_statement
from broker.gateway.store import grants as grant_store
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import erasure_onward, erasure_order, inbox, outbox
from broker.gateway.store.tables import grant as grant_table
from broker.telemetry import logger
from schemas.audit import Event
from schemas.base import ParticipantId, unb64u
from schemas.bodies.common import Body
from schemas.bodies.consent import MAX_ONWARD, Onward, WithdrawAck
from schemas.bodies.rights import RightDone
from schemas.envelope import Lane
from schemas.errors import BrokerError
from schemas.evidence import Erasure, Fact, Store, StoreErasure

ANSWERED = frozenset({Cause.WITHDRAWAL, Cause.NOTICE, Cause.RECALL})
"""Causes that are somebody's message."""
_WORST = (Erasure.UNKNOWN, Erasure.KEPT, Erasure.ERASED)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about one order."""

    order: Order
    grant: GrantState | None
    erased: Sequence[AnyRow]
    """Received messages of which something is gone."""
    stores: tuple[StoreErasure, ...]
    kept: Mapping[UUID, str]
    """What is held here, with its ground."""


class Attesting:
    """Closes orders and answers them."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    async def finish(self, row: AnyRow, done: Done) -> None:
        """Everything is erased that may be: say so, in the transaction that closes the job."""
        core, order, now = self._core, done.order, self._core.now()
        async with core.database.begin() as connection:
            closed = await connection.execute(
                update(erasure_order)
                .where(erasure_order.c.message == order.message, erasure_order.c.state == "stopped")
                .values(state="kept" if done.kept else "erased", refs="[]")
            )
            if closed.rowcount == 0:
                return
            onward = await self._onward(connection, order, done.grant, row.at)
            stores = done.stores
            if onward and stores:
                stores = (*stores, _onward_store(onward))
            if stores:
                await note_erasures(
                    connection, order.about, core.participant, stores, at=now, message=order.message
                )
                await self._state(connection, done, stores, now)
            if order.cause in ANSWERED:
                await self._acknowledge(connection, row, done, stores, onward)
            decisions = [
                Decision(Event.CASE_ERASED, unb64u(message.digest), message.id)
                for message in done.erased
            ]
            await core.log.add(connection, decisions, now=now)
        core.wakes.receipts.set()
        core.wakes.outbox.set()
        core.log.wake()

    async def _state(
        self,
        connection: AsyncConnection,
        done: Done,
        stores: tuple[StoreErasure, ...],
        now: datetime,
    ) -> None:
        """Signed facts: about the envelope that ordered it, or about each that was erased."""
        order = done.order
        if order.cause in ANSWERED:
            about = [(order.by, order.message, order.digest)] if order.digest else []
        else:
            about = [(message.sender, message.id, message.digest) for message in done.erased]
        await owe(
            connection,
            [
                Owed(to, envelope, digest, Fact.ERASED, now, None, stores)
                for to, envelope, digest in about
                if to != self._core.participant
            ],
        )

    async def report_onward(self, row: AnyRow) -> None:
        """Somebody further on has attested since we answered: say so, once for each news."""
        core, order, now = self._core, Order.of(row), self._core.now()
        async with core.database.begin() as connection:
            await connection.execute(
                update(erasure_order)
                .where(erasure_order.c.message == order.message)
                .values(onward_due=False)
            )
            grant = None
            if order.grant is not None:
                grant = await grant_store.require_grant(connection, order.grant)
            onward = await self._onward(connection, order, grant, row.at)
            if not onward:
                return
            stated = _onward_store(onward)
            await note_erasures(
                connection, order.about, core.participant, [stated], at=now, message=order.message
            )
            stores, _ = await attestation_of(connection, order.about, core.participant)
            done = Done(order, grant, (), stores, {})
            if order.cause in ANSWERED:
                await self._state(connection, done, (stated,), now)
                await self._acknowledge(connection, row, done, stores, onward)
        core.wakes.receipts.set()
        core.wakes.outbox.set()

    # --- further on ---------------------------------------------------------------------------

    async def _onward(
        self,
        connection: AsyncConnection,
        order: Order,
        grant: GrantState | None,
        told_at: datetime,
    ) -> tuple[Onward, ...]:
        """Everyone we passed it on to, everyone they did, and what each has attested so far."""
        us = self._core.participant
        passed: list[tuple[UUID, ParticipantId]] = []
        if order.cause is Cause.WITHDRAWAL and grant is not None:
            rows = await connection.execute(
                select(grant_table.c.id, grant_table.c.recipient).where(
                    grant_table.c.derived_from == grant.id, grant_table.c.sender == us
                )
            )
            passed += [(row.id, row.recipient) for row in rows]
        rows = await connection.execute(
            select(erasure_onward).where(erasure_onward.c.order == order.message)
        )
        passed += [(row.notice, row.recipient) for row in rows]
        found: list[Onward] = []
        for about, recipient in passed:
            further = await attesters_of(connection, about)
            for by in dict.fromkeys((recipient, *further)):
                if by in (us, order.by, self._core.settings.hub.id):
                    continue
                stores, at = await attestation_of(connection, about, by)
                found.append(
                    Onward(
                        participant=by,
                        told_at=told_at,
                        outcome=outcome_of(stores),
                        attested_at=at,
                        stores=stores,
                    )
                )
        found.sort(key=lambda item: _WORST.index(item.outcome))
        return tuple(found[:MAX_ONWARD])  # the worst, if there is no room for all

    # --- answering ----------------------------------------------------------------------------

    async def _acknowledge(
        self,
        connection: AsyncConnection,
        row: AnyRow,
        done: Done,
        stores: tuple[StoreErasure, ...],
        onward: tuple[Onward, ...],
    ) -> None:
        """Answer with a message too: a worker reads it, the hub cannot.

        Outside any grant, which may be gone: an answer that holds no section needs none.
        """
        core, order = self._core, done.order
        if order.cause is Cause.WITHDRAWAL:
            if done.grant is None:
                return
            ours = done.grant.recipient == core.participant
            partner = done.grant.sender if ours else done.grant.recipient
            case_ref = done.grant.case_ref or str(done.grant.id)
            type_name, body = "consent.withdraw.ack", _withdrawn(row, stores, onward)
        else:
            partner, case_ref = order.by, order.case_ref or str(order.message)
            type_name, body = "erase.ack", self._right_done(done, stores, onward)
        try:
            agreement = self._agreements.for_partner(partner, type_name, Lane.URGENT)
            composed = compose_statement(
                core,
                type_name=type_name,
                to=partner,
                case_ref=case_ref,
                body=body,
                agreement=None if agreement is None else agreement[0],
                thread=await _thread_of(connection, order.message),
                in_reply_to=order.message,
            )
        except BrokerError as error:
            # The partner may have left the directory. The signed facts are written all the same.
            logger().warning("erasing:not-acknowledged", code=error.code)
            return
        await self._sender.store(connection, composed)

    def _right_done(
        self, done: Done, stores: tuple[StoreErasure, ...], onward: tuple[Onward, ...]
    ) -> Body:
        found = {item.store: item.outcome for item in stores}
        here = {found.get(Store.VAULT), found.get(Store.CASE_SYSTEM)}
        if not done.erased and not done.kept and not onward:
            outcome = "nothing_held"
        elif here == {Erasure.ERASED}:
            outcome = "done"
        else:
            outcome = "partly" if done.erased or here != {Erasure.KEPT} else "kept"
        basis = min(done.kept.values(), default=None)
        return RightDone(
            outcome=outcome, done_at=self._core.now(), stores=stores, basis=basis, onward=onward
        )


def _withdrawn(row: AnyRow, stores: tuple[StoreErasure, ...], onward: tuple[Onward, ...]) -> Body:
    nothing = (StoreErasure(store=Store.QUEUE, outcome=Erasure.ERASED),)
    return WithdrawAck(stopped_at=row.at, stores=stores or nothing, onward=onward)


def _onward_store(onward: Sequence[Onward]) -> StoreErasure:
    # One whose own copies are gone may still wait for others.
    said = [item.outcome for item in onward]
    said += [
        store.outcome for item in onward for store in item.stores if store.store is Store.ONWARD
    ]
    worst = min(said, key=_WORST.index)
    bases = [store.basis for item in onward for store in item.stores if store.basis]
    basis = min(bases, default=None) if worst is Erasure.KEPT else None
    return StoreErasure(store=Store.ONWARD, outcome=worst, basis=basis)


async def _thread_of(
    connection: AsyncConnection, message: UUID
) -> threads.ThreadState | UUID | None:
    """The exchange in which it was ordered, with its state if it has one."""
    thread: UUID | None = await connection.scalar(
        select(inbox.c.thread).where(inbox.c.id == message)
    ) or await connection.scalar(select(outbox.c.thread).where(outbox.c.id == message))
    if thread is None:
        return None
    return await threads.load(connection, thread) or thread
