"""What is to be erased and because of what, written down with the stop that is in force at once.

An order is written in the transaction of its cause, so that no crash can lie between a promise and
its truth. It needs no consent, no agreement and nobody's confirmation. `erasing` starts from it again
and again until everything is done.

What came may be named by its grant, by its thread, by its business id or by the sender's case number;
only its own sender names it. The vault has a key per (case, section, grant): `Vault.erase_items` gives
what shares a key with it, and stays, a new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import ColumnElement, false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.erasure.holds import held
from broker.gateway.erasure.order import BY_NAME, UNDER_GRANT, Cause, Order, order_row
from broker.gateway.erasure.passing import Passing
from broker.gateway.receive.unpack import Unpacked
from broker.gateway.store.bulk import padded
from broker.gateway.store.dialect import AnyRow, insert_new
from broker.gateway.store.tables import (
    erasure_order,
    grant,
    inbox,
    inbox_attachment,
    inbox_section,
)
from schemas.envelope import BARE

GONE = ("stopped", "erased")
_RANDOM_BITS = (1 << 80) - 1
"""Of a UUIDv7 (RFC 9562, 5.7): what stands behind its milliseconds."""


async def messages_of(connection: AsyncConnection, order: Order) -> Sequence[AnyRow]:
    """The received messages that an order is about, also those that are erased already: a job that
    runs again asks every store again, and says what that store says now."""
    rows = await connection.execute(select(inbox).where(*_named(order)).order_by(inbox.c.position))
    return rows.all()


def _named(order: Order) -> list[ColumnElement[bool]]:
    if order.cause in UNDER_GRANT:
        return [inbox.c.grant == order.grant]
    content = [inbox.c.sender == order.by, inbox.c.kind.not_in([str(kind) for kind in BARE])]
    if order.cause is Cause.ENDED:
        return [*content, inbox.c.thread == order.message]
    # What was sent again later is not meant. Ids are UUIDv7: of one millisecond all are.
    content.append(inbox.c.id <= UUID(int=order.message.int | _RANDOM_BITS))
    if order.business_ids:
        ids = list(order.business_ids)
        return [*content, or_(inbox.c.business_id.in_(ids), inbox.c.supersedes.in_(ids))]
    if order.case_ref is None:
        return [false()]
    return [*content, inbox.c.case_ref == order.case_ref]


@dataclass
class Orders:
    """Writes orders down."""

    core: Core
    passing: Passing
    _named: set[tuple[str, str]] | None = field(default=None, init=False)
    """(sender, its case) of all orders by name: hardly anything that comes in is one of these."""

    async def place(
        self, connection: AsyncConnection, order: Order, *, onward: bool = True
    ) -> bool:
        """Stop what an order names, tell who had it from us, and put the erasing on the list.

        In the caller's transaction. False if it was placed before: repeating changes nothing.

        Args:
            onward: Something of it may have been passed on.
        """
        core, now = self.core, self.core.now()
        if not await insert_new(connection, erasure_order, order_row(order, now=now)):
            return False
        rows = await messages_of(connection, order)
        await self.seclude(connection, order, rows)
        if onward:
            await self.passing.tell(connection, order, rows)
        if order.case_ref is not None and self._named is not None:
            self._named.add((order.by, order.case_ref))
        core.wakes.withdrawals.set()
        core.wakes.outbox.set()
        return True

    async def seclude(
        self, connection: AsyncConnection, order: Order, rows: Sequence[AnyRow]
    ) -> dict[UUID, str]:
        """From now on nobody opens or files it. Repeating changes nothing.

        What is held keeps its sections, which are not destroyed now; as a whole it is out of use too.

        Returns:
            What is held, by message, with the ground.
        """
        kept = await held(connection, rows)
        if order.cause is Cause.WITHDRAWAL:
            return kept  # the grant says what of it stops, and stopped it
        if not order.sections:
            ids = [row.id for row in rows if row.state not in GONE]
            for start in range(0, len(ids), 200):
                await connection.execute(
                    update(inbox)
                    .where(inbox.c.id.in_(ids[start : start + 200]), inbox.c.state.not_in(GONE))
                    .values(state="stopped")
                )
            return kept
        refs = await self._take_out(
            connection, [row.id for row in rows if row.id not in kept], order.sections
        )
        if refs:
            before = await connection.scalar(
                select(erasure_order.c.refs).where(erasure_order.c.message == order.message)
            )
            known = json.loads(before or "[]")
            await connection.execute(
                update(erasure_order)
                .where(erasure_order.c.message == order.message)
                .values(refs=json.dumps(sorted({*known, *refs})))
            )
        return kept

    async def _take_out(
        self, connection: AsyncConnection, ids: Sequence[UUID], sections: Sequence[str]
    ) -> list[str]:
        """Sections and files that no message names any more; where they lie in the vault."""
        if not ids:
            return []
        in_sections = (
            inbox_section.c.message.in_(padded(list(ids))),
            inbox_section.c.section.in_(list(sections)),
            inbox_section.c.content.is_not(None),
        )
        refs = list(await connection.scalars(select(inbox_section.c.content).where(*in_sections)))
        await connection.execute(update(inbox_section).where(*in_sections).values(content=None))
        in_files = (
            inbox_attachment.c.message.in_(padded(list(ids))),
            inbox_attachment.c.section.in_(list(sections)),
        )
        files = await connection.execute(
            select(inbox_attachment.c.key, inbox_attachment.c.content).where(*in_files)
        )
        refs += [ref for row in files.all() for ref in row if ref is not None]
        await connection.execute(inbox_attachment.delete().where(*in_files))
        return refs

    # --- what comes late ----------------------------------------------------------------------

    async def overtaken(self, connection: AsyncConnection, accepted: Iterable[Unpacked]) -> None:
        """An erasure is urgent and may come before the routine message that it names. What was
        issued before it, and comes after, goes too; nobody opens it in between."""
        came = {
            (opened.envelope.content.from_, opened.message.case_ref): opened
            for opened in accepted
            if opened.envelope.content.kind not in BARE
        }
        if self._named is None:
            rows = await connection.execute(
                select(erasure_order.c.by, erasure_order.c.case_ref)
                .where(erasure_order.c.cause.in_([str(cause) for cause in BY_NAME]))
                .distinct()
            )
            self._named = {(row.by, row.case_ref) for row in rows}
        for sender, case_ref in came.keys() & self._named:
            rows = await connection.execute(
                select(erasure_order).where(
                    erasure_order.c.by == sender,
                    erasure_order.c.case_ref == case_ref,
                    erasure_order.c.cause.in_([str(cause) for cause in BY_NAME]),
                )
            )
            for row in rows.all():
                await self._again(connection, Order.of(row))

    async def _again(self, connection: AsyncConnection, order: Order) -> None:
        rows = await messages_of(connection, order)
        late = [row for row in rows if row.state not in GONE]
        if not late:
            return
        await self.seclude(connection, order, late)
        await connection.execute(
            update(erasure_order)
            .where(erasure_order.c.message == order.message)
            .values(state="stopped", next_attempt_at=self.core.now())
        )
        self.core.wakes.withdrawals.set()


async def grants_of_case(connection: AsyncConnection, order: Order) -> Sequence[AnyRow]:
    """Grants by the sender about the case: their records speak of the person too."""
    rows = await connection.execute(
        select(grant.c.id, grant.c.secret, grant.c.record).where(
            grant.c.sender == order.by, grant.c.case_ref == order.case_ref
        )
    )
    return rows.all()
