"""What a stored message changes beyond its own row: grants it tells of, alarms, withdrawals.

Everything here happens in the transaction that stores the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.exclusions import Excluding
from broker.gateway.consent.withdrawal import Withdrawals
from broker.gateway.core import Core
from broker.gateway.erasure.attested import attested, reported
from broker.gateway.erasure.order import Cause, Order
from broker.gateway.erasure.orders import Orders
from broker.gateway.receive.unpack import Unpacked
from broker.gateway.rights import restriction
from broker.gateway.store import grants as grant_store
from broker.gateway.store.alarms import clear_alarms_of, raise_alarm
from broker.gateway.store.bulk import padded
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import erasure_order, outbox
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.vault.cases import partner_case
from keys.binding import blind_scope
from schemas.base import b64u
from schemas.bodies.consent import Record, Update, Withdraw, WithdrawAck
from schemas.bodies.referral import Recall
from schemas.bodies.returning import Arrival
from schemas.bodies.rights import Erase, Restrict, RestrictLift, RightDone
from schemas.envelope import Kind

ERASING = frozenset({"erase.notice", "referral.recall"})
"""Our messages of which an answer says what was erased."""


class Consequences:
    """Carries them out."""

    def __init__(
        self, core: Core, withdrawals: Withdrawals, orders: Orders, excluding: Excluding
    ) -> None:
        self._core = core
        self._excluding = excluding
        self._withdrawals = withdrawals
        self._orders = orders

    async def learn(
        self, connection: AsyncConnection, opened: Unpacked, grants: dict[UUID, GrantState]
    ) -> None:
        """What the message tells of its grant: its key, and what its scopes stand for."""
        tag, message = opened.envelope.content.consent, opened.message
        grant = None if tag is None else grants.get(tag.grant)
        if grant is None or grant.withdrawn or grant.recipient != self._core.participant:
            return
        names = {
            entry.scope: (str(entry.purpose), entry.section)
            for entry in message.scopes
            if entry.scope is not None and grant.scopes.get(entry.scope) is None
        }
        body = opened.body
        case = partner_case(opened.envelope.content.from_, message.case_ref)
        if isinstance(body, Record):
            names = {
                blind_scope(message.grant_key, item.purpose, item.section): (
                    str(item.purpose),
                    item.section,
                )
                for item in body.record.scopes
                if message.grant_key is not None
            }
            kept = await self._core.vault.store(
                connection, case, "consent", grant.id, body.record.to_json()
            )
            await connection.execute(
                update(grant_table)
                .where(grant_table.c.id == grant.id)
                .values(
                    record=kept,
                    case_ref=message.case_ref,
                    retain_until=body.record.retention_until,
                )
            )
            grant = replace(grant, record=kept, case_ref=message.case_ref)
        if grant.secret is None and message.grant_key is not None:
            secret = await self._core.vault.store(
                connection, case, "grant-key", grant.id, message.grant_key
            )
            await connection.execute(
                update(grant_table).where(grant_table.c.id == grant.id).values(secret=secret)
            )
            grant = replace(grant, secret=secret)
        await grant_store.name_scopes(connection, grant.id, names)
        # The next message of this batch need not tell it again.
        grants[grant.id] = replace(grant, scopes={**grant.scopes, **names})

    async def follow(
        self,
        connection: AsyncConnection,
        accepted: Sequence[Unpacked],
        grants: dict[UUID, GrantState],
    ) -> None:
        """What some messages change beyond their own row."""
        now = self._core.now()
        answered = [
            opened.envelope.content.in_reply_to
            for opened in accepted
            if opened.envelope.content.in_reply_to is not None
        ]
        if answered:
            await clear_alarms_of(
                connection, padded(answered), "answer-due", "answer-overdue", now=now
            )
        for opened in accepted:
            content = opened.envelope.content
            if opened.message.exception is not None:
                await raise_alarm(connection, "exception-received", content.id, now=now)
            tag = content.consent
            if isinstance(opened.body, Recall):
                await raise_alarm(connection, "recalled", content.id, now=now)
            if isinstance(opened.body, (Erase, Recall)):
                await self._orders.place(connection, _order(opened, opened.body))
            if isinstance(opened.body, (Restrict, RestrictLift)):
                await restriction.obey(
                    connection,
                    opened.body,
                    message=content.id,
                    by=content.from_,
                    case_ref=opened.message.case_ref,
                    now=now,
                )
            if isinstance(opened.body, Arrival) and content.in_reply_to is not None:
                await clear_alarms_of(connection, [content.in_reply_to], "arrival-missing", now=now)
            if isinstance(opened.body, (Withdraw, Update)) and tag is not None:
                await self._withdrawals.accept(
                    connection,
                    grants[tag.grant],
                    tag.scopes,
                    message=content.id,
                    digest=b64u(opened.envelope.digest),
                    by=content.from_,
                )
            elif isinstance(opened.body, (WithdrawAck, RightDone)):
                await self._acknowledged(connection, opened, opened.body)
        await self._orders.overtaken(connection, accepted)
        for opened in sorted(accepted, key=lambda item: item.envelope.content.id):
            if opened.message.not_to is not None:
                case = (opened.envelope.content.from_, opened.message.case_ref)
                await self._excluding.heard(
                    connection, case, opened.message.not_to, message=opened.envelope.content.id
                )

    async def _acknowledged(
        self, connection: AsyncConnection, opened: Unpacked, body: WithdrawAck | RightDone
    ) -> None:
        """Somebody answered our withdrawal or our notice: who has erased what, there and further
        on."""
        content = opened.envelope.content
        asked = (
            await connection.execute(
                select(outbox.c.id, outbox.c.grant, outbox.c.kind, outbox.c.type).where(
                    outbox.c.id == content.in_reply_to, outbox.c.recipient == content.from_
                )
            )
        ).first()
        about: UUID | None = None
        if isinstance(body, RightDone):
            about = asked.id if asked is not None and asked.type in ERASING else None
        elif asked is not None and asked.kind == Kind.WITHDRAWAL.value:
            about = asked.grant
        else:
            # Or of a withdrawal that the other side ordered itself, and now reports on.
            about = await connection.scalar(
                select(erasure_order.c.grant).where(
                    erasure_order.c.message == content.in_reply_to,
                    erasure_order.c.by == content.from_,
                )
            )
        if about is None:
            return
        at, message = content.issued_at, content.id
        await attested(
            self._core, connection, about, content.from_, body.stores, at=at, message=message
        )
        for onward in body.onward:
            await reported(
                self._core,
                connection,
                about,
                onward.participant,
                onward.stores,
                reporter=content.from_,
                at=at,
                message=message,
            )


def _order(opened: Unpacked, body: Erase | Recall) -> Order:
    """What an erasure notice or a recall asks for, of its sender's own messages."""
    content, recalled = opened.envelope.content, isinstance(body, Recall)
    if isinstance(body, Recall):
        named: tuple[UUID, ...] = body.messages
        ground = "sent_in_error"
        sections: tuple[str, ...] = ()
    else:
        named = () if body.about is None else (body.about,)
        ground, sections = body.ground, body.sections
    return Order(
        content.id,
        Cause.RECALL if recalled else Cause.NOTICE,
        content.from_,
        content.issued_at,
        digest=b64u(opened.envelope.digest),
        case_ref=opened.message.case_ref,
        ground=ground,
        business_ids=named,
        sections=tuple(sections),
    )
