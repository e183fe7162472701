"""Reads a person's record out of the vault, with the two organisations and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from broker.gateway.consent.record import Party
from broker.gateway.content_check import consent_of, read_record
from broker.gateway.core import Core
from broker.gateway.store import grants as store
from schemas.consent import ConsentRecord, ConsentStatus
from schemas.errors import ConsentWithdrawn, NotFound


@dataclass(frozen=True, slots=True, repr=False)
class Told:
    """One consent as the person is told of it."""

    record: ConsentRecord
    status: ConsentStatus
    removed: frozenset[tuple[str, str]]
    controller: Party
    recipient: Party


async def read(core: Core, grant: UUID) -> Told:
    """One consent.

    Raises:
        NotFound: No such grant, or the person's record has not reached us.
        ConsentWithdrawn: It was withdrawn and what lay in the vault about it is erased.
    """
    async with core.database.read() as connection:
        state = await store.require_grant(connection, grant)
        if state.record is None:
            raise ConsentWithdrawn if state.withdrawn else NotFound("the record is not here yet")
        record = await read_record(core, connection, state)
    if record is None:
        raise NotFound("the record is not here yet")
    view = consent_of(state, record)
    expired = view.status is record.status and core.now().date() > record.valid_until
    return Told(
        record=record,
        status=ConsentStatus.EXPIRED if expired else view.status,
        removed=frozenset((str(purpose), section) for purpose, section in view.removed),
        controller=_party(core, record.controller),
        recipient=_party(core, record.recipient),
    )


def _party(core: Core, participant: str) -> Party:
    directory = core.trusted()
    entry = directory.participant(participant)
    host = None if entry is None or entry.hosted_by is None else entry.hosted_by
    return Party.of(entry, participant, host=None if host is None else directory.participant(host))
