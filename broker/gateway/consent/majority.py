"""The day a child comes of age: what a guardian agreed to for her ends, and she is asked herself.

Some weeks before, a worker is told that her own consent will be needed (`consent-majority-near`). On
the day itself nothing more travels under the guardian's word: the recipient is told with
`consent.majority`, and her own consent is a work item (`consent-majority`).
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.withdrawal import Withdrawals
from broker.gateway.core import Core
from broker.gateway.safeguards.known import About, persons
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.gateway.store.grants import require_grant
from broker.gateway.store.tables import alarm, grant
from broker.telemetry import logger
from schemas.errors import Unavailable

NOT_KNOWN = date(9999, 12, 31)
"""A guardian agreed, and nobody knows when she comes of age."""
NEAR = timedelta(days=30)
LOOK_EVERY = timedelta(minutes=10)
GROUP = 100


async def childhood_ends(core: Core, connection: AsyncConnection, case_ref: str) -> date | None:
    """Last day on which a guardian may speak for the person of a case of ours, if that is known."""
    about = About(case_refs=frozenset({case_ref}))
    return (await persons(core, connection, [about]))[0].guardian_until


async def learn(core: Core, connection: AsyncConnection, case_ref: str) -> None:
    """The case knows more of her age now: the grants that a guardian agreed to end with it."""
    until = await childhood_ends(core, connection, case_ref)
    if until is not None:
        await connection.execute(
            update(grant)
            .where(
                grant.c.case_ref == case_ref,
                grant.c.sender == core.participant,
                grant.c.guardian_until > until,
            )
            .values(guardian_until=until)
        )


class Majority:
    """Looks each day. One task."""

    def __init__(self, core: Core, withdrawals: Withdrawals) -> None:
        self._core = core
        self._withdrawals = withdrawals

    async def run(self) -> None:
        while True:
            try:
                while await self.run_once() == GROUP:
                    pass
            except Unavailable as error:
                logger().warning("majority:later", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def run_once(self) -> int:
        """End what a guardian's word carried until yesterday; how many grants that was."""
        core, today = self._core, self._core.now().date()
        living = (grant.c.sender == core.participant, grant.c.state.in_(("live", "narrowed")))
        async with core.database.begin() as connection:
            due = await connection.execute(
                select(grant.c.id, grant.c.guardian_until)
                .where(grant.c.guardian_until < today, *living)
                .order_by(grant.c.guardian_until)
                .limit(GROUP)
            )
            ended = due.all()
            for row in ended:
                state = await require_grant(connection, row.id)
                of_age_on = row.guardian_until + timedelta(days=1)
                await self._withdrawals.end_with_childhood(connection, state, of_age_on)
                await clear_alarms(connection, row.id, "consent-majority-near", now=core.now())
                await raise_alarm(connection, "consent-majority", row.id, now=core.now())
            told = select(alarm.c.about).where(alarm.c.code == "consent-majority-near")
            known = set(await connection.scalars(told))
            near = await connection.scalars(
                select(grant.c.id).where(
                    grant.c.guardian_until.between(today, today + NEAR), *living
                )
            )
            for item in near:
                if str(item) not in known:
                    await raise_alarm(connection, "consent-majority-near", item, now=core.now())
        if ended:
            core.wakes.outbox.set()
            core.log.wake()
        return len(ended)
