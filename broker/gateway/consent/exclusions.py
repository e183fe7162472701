"""Whom a person wants nothing about her case to reach. Said, taken back, recorded, and passed on.

What she says holds wherever her data went from here: the list travels inside the seal with them
(`not_to`), and as an `exclude.notice` to everyone who has them already, who passes it on in turn. It
shows in no header, log or error.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.erasure.passing import UNREACHABLE
from broker.gateway.network.agreements import Agreements
from broker.gateway.own_log import Decision
from broker.gateway.safeguards.known import About, names_of, persons
from broker.gateway.safeguards.told import business_ids_of, hear
from broker.gateway.send.sender import Sender
from broker.gateway.send.statements import compose_statement
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.bulk import batches, padded
from broker.gateway.store.dialect import upsert
from broker.gateway.store.known import Case
from broker.gateway.store.tables import disclosure, exclusion
from broker.rules.content import Exclusions
from keys.binding import subject_of
from schemas.audit import Event
from schemas.base import ParticipantId, instant_text
from schemas.bodies.rights import Exclude
from schemas.envelope import Lane
from schemas.errors import BrokerError


class Excluding:
    """Writes exclusions down and tells everyone who has the person's data from us."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    async def exclude(self, about: str, participant: ParticipantId, *, worker: str) -> None:
        """Nothing about this case reaches this participant from here any more, nor from anybody who
        has it from us."""
        core, now = self._core, self._core.now()
        async with core.database.begin() as connection:
            await upsert(
                connection,
                exclusion,
                {"about": about, "participant": participant, "at": now},
                key=("about", "participant"),
            )
            made = self._decision("set", about, participant, worker)
            await core.log.add(connection, [made], now=now)
            await self.tell(connection, _named(about))
        core.wakes.outbox.set()
        core.log.wake()

    async def lift(self, about: str, participant: ParticipantId, *, worker: str) -> bool:
        """The person no longer excludes this participant; False if she did not."""
        core = self._core
        async with core.database.begin() as connection:
            gone = await connection.execute(
                delete(exclusion).where(
                    exclusion.c.about == about, exclusion.c.participant == participant
                )
            )
            if gone.rowcount == 0:
                return False
            made = self._decision("lifted", about, participant, worker)
            await core.log.add(connection, [made], now=core.now())
            await self.tell(connection, _named(about))
        core.wakes.outbox.set()
        core.log.wake()
        return True

    async def heard(
        self, connection: AsyncConnection, case: Case, not_to: Collection[str], *, message: UUID
    ) -> None:
        """A partner says it of a case that we have from it: keep it, and pass on what is new."""
        if await hear(self._core, connection, case, not_to, message=message):
            await self.tell(connection, About(partner_cases=frozenset({case})))

    async def tell(self, connection: AsyncConnection, about: About) -> None:
        """Everyone who got anything of this case from us gets the whole list as it is now, but for
        who is on it."""
        core = self._core
        names, cases = await names_of(connection, about)
        business_ids = await business_ids_of(connection, cases)
        holders = await _holders(connection, names, business_ids)
        if not holders:
            return
        whole = About(
            about.case_refs, about.business_ids | business_ids, about.threads, about.partner_cases
        )
        [person] = await persons(core, connection, [whole])
        not_to = person.not_to()
        for partner, case_ref, business_id in sorted(holders, key=str):
            if self._is_on(not_to, partner):
                continue
            agreement = self._agreements.for_partner(partner, "exclude.notice", Lane.URGENT)
            try:
                composed = compose_statement(
                    core,
                    type_name="exclude.notice",
                    to=partner,
                    case_ref=case_ref,
                    body=Exclude(),
                    agreement=None if agreement is None else agreement[0],
                    not_to=not_to,
                )
            except BrokerError:
                await raise_alarm(connection, UNREACHABLE, business_id, now=core.now())
                continue
            await self._sender.store(connection, composed)

    def _is_on(self, not_to: Collection[str], partner: ParticipantId) -> bool:
        """True if a participant is on a list, or who hosts it."""
        directory, excluded = self._core.trusted(), Exclusions.of(not_to)
        entry = directory.participant(partner)
        if entry is None:
            return False
        host = None if entry.hosted_by is None else directory.participant(entry.hosted_by)
        return any(excluded.covers(place) for place in (entry, host) if place is not None)

    def _decision(
        self,
        action: Literal["set", "lifted"],
        about: str,
        participant: ParticipantId,
        worker: str,
    ) -> Decision:
        """Who said it belongs to the record: lifting an exclusion opens a way to this person."""
        record = {
            "about": about,
            "action": action,
            "at": instant_text(self._core.now()),
            "participant": participant,
            "worker": worker,
        }
        event = Event.EXCLUSION_SET if action == "set" else Event.EXCLUSION_LIFTED
        return Decision(event, subject_of(json.dumps(record, sort_keys=True).encode()))


def _named(about: str) -> About:
    """A case number of ours, or the business id of a referral that came."""
    try:
        return About(business_ids=frozenset({UUID(about)}))
    except ValueError:
        return About(case_refs=frozenset({about}))


async def _holders(
    connection: AsyncConnection, names: Collection[str], business_ids: Collection[UUID]
) -> set[tuple[ParticipantId, str, UUID]]:
    """(partner, our case number, one business id) of everyone who got anything of it from us."""
    found: dict[tuple[ParticipantId, str], UUID] = {}
    every = [
        *(disclosure.c.own_case.in_(padded(some)) for some in batches(sorted(names))),
        *(disclosure.c.derived_from.in_(padded(some)) for some in batches(sorted(business_ids))),
    ]
    if not every:
        return set()
    rows = await connection.execute(
        select(disclosure.c.partner, disclosure.c.own_case, disclosure.c.business_id).where(
            disclosure.c.way == "sent", or_(*every)
        )
    )
    for row in rows:
        found.setdefault((row.partner, row.own_case), row.business_id)
    return {(*case, business_id) for case, business_id in found.items()}
