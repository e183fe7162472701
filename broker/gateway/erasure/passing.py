"""Whom we passed it on to hears of it too: an erasure notice of our own, in the same transaction.

What went on under a grant that derives from a withdrawn one is taken back with that grant
(`consent.withdrawal`). Everything else is found in the ledger, along `derived_from`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.erasure.order import Cause, Order
from broker.gateway.network.agreements import Agreements
from broker.gateway.send.sender import Sender
from broker.gateway.send.statements import compose_statement
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.bulk import batches, padded
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.tables import disclosure, erasure_onward
from schemas.base import ParticipantId
from schemas.bodies.rights import Erase
from schemas.envelope import Lane
from schemas.errors import BrokerError

UNREACHABLE = "onward-unreachable"


@dataclass(frozen=True, slots=True)
class _Onward:
    """One message of ours that passed something on."""

    partner: ParticipantId
    case_ref: str
    business_id: UUID
    sections: tuple[str, ...]


class Passing:
    """Tells them."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    async def tell(self, connection: AsyncConnection, order: Order, rows: Sequence[AnyRow]) -> None:
        """Ask everyone who had any of these messages from us to erase it, each on the record.

        Whoever cannot be written to any more is an alarm, and holds nothing else up.
        """
        core = self._core
        by_consent = order.cause is Cause.WITHDRAWAL
        for item in await self._passed_on(connection, rows, without_grant=by_consent):
            sections = tuple(name for name in item.sections if name in order.sections)
            if order.sections and not sections:
                continue
            agreement = self._agreements.for_partner(item.partner, "erase.notice", Lane.URGENT)
            try:
                composed = compose_statement(
                    core,
                    type_name="erase.notice",
                    to=item.partner,
                    case_ref=item.case_ref,
                    body=Erase(ground=order.ground, about=item.business_id, sections=sections),
                    agreement=None if agreement is None else agreement[0],
                )
            except BrokerError:
                await raise_alarm(connection, UNREACHABLE, item.business_id, now=core.now())
                continue
            await self._sender.store(connection, composed)
            await connection.execute(
                insert(erasure_onward).values(
                    notice=composed.id,
                    order=order.message,
                    recipient=item.partner,
                    at=core.now(),
                )
            )

    async def _passed_on(
        self, connection: AsyncConnection, rows: Sequence[AnyRow], *, without_grant: bool
    ) -> list[_Onward]:
        found: dict[tuple[str, UUID], _Onward] = {}
        for batch in batches(list({row.business_id for row in rows})):
            which = [
                disclosure.c.derived_from.in_(padded(batch)),
                disclosure.c.way == "sent",
            ]
            if without_grant:
                which.append(disclosure.c.grant.is_(None))
            for row in await connection.execute(select(disclosure).where(*which)):
                named = tuple(entry[0] for entry in json.loads(row.sections))
                known = found.get((row.partner, row.business_id))
                found[row.partner, row.business_id] = _Onward(
                    row.partner,
                    row.own_case,
                    row.business_id,
                    tuple(sorted({*named, *(known.sections if known else ())})),
                )
        return list(found.values())
