"""Puts what this gateway knows before the content rules; decides nothing itself.

Asked three times: before sealing, after unsealing, and before a worker sees it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.agreements import KnownAgreement
from broker.gateway.core import Core
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import exclusion
from broker.rules.content import AgreementView, GrantView, Moment, Question, decide
from schemas.consent import ConsentRecord, ConsentStatus, Purpose
from schemas.directory import Participant
from schemas.families.base import MessageType
from schemas.message import Message


async def read_record(
    core: Core, connection: AsyncConnection, grant: GrantState
) -> ConsentRecord | None:
    """The person's record behind a grant; None while it has not reached us."""
    if grant.record is None:
        return None
    return ConsentRecord.from_json(await core.vault.read(connection, grant.record))


def consent_of(grant: GrantState, record: ConsentRecord | None) -> GrantView:
    """A grant in plain words.

    Without the record the scopes are those whose blinded form the message opened: the grant's
    statement, which its giver signed, holds no others. What only the record says (a guardian's
    decision) is then asked for once it is here.
    """
    removed = frozenset(
        (Purpose(names[0]), names[1])
        for scope, names in grant.scopes.items()
        if names is not None and scope in grant.removed
    )
    status = ConsentStatus.WITHDRAWN if grant.withdrawn else ConsentStatus.GIVEN
    if record is not None:
        return GrantView.of(
            grant.id,
            record,
            removed=removed,
            status=ConsentStatus.WITHDRAWN if grant.withdrawn else None,
            valid_from=grant.valid_from,
        )
    return GrantView(
        grant=grant.id,
        giver=grant.sender,
        recipient=grant.recipient,
        scopes=frozenset(
            (Purpose(names[0]), names[1]) for names in grant.scopes.values() if names is not None
        ),
        removed=removed,
        status=status,
        valid_from=grant.valid_from,
        valid_until=grant.until,
        presumed_child=False,
        guardian=None,
        record_here=False,
    )


def ask(
    message: Message,
    row: MessageType,
    *,
    sender: Participant,
    recipient: Participant,
    grant: GrantView | None,
    agreement: KnownAgreement | None,
    moment: Moment,
    now: datetime,
    exclusions: frozenset[str] = frozenset(),
) -> None:
    """Ask every content rule.

    Raises:
        Refused: With the code that decides and the paths that it names.
    """
    decide(
        Question(
            message=message,
            type=row,
            sender=sender,
            recipient=recipient,
            grant=grant,
            agreement=None
            if agreement is None
            else AgreementView(agreement.content, agreement.suspended),
            now=now,
            moment=moment,
            presumed_child="guardian_child" in message.sections,
            exclusions=exclusions,
        )
    ).raise_if_refused()


async def check_outgoing(
    core: Core,
    connection: AsyncConnection,
    message: Message,
    row: MessageType,
    *,
    recipient: Participant,
    grant: GrantState | None,
    agreement: KnownAgreement | None,
) -> None:
    """May this message leave?

    Raises:
        Refused: It may not; nothing was stored.
    """
    record = None if grant is None else await read_record(core, connection, grant)
    ask(
        message,
        row,
        sender=core.self_entry(),
        recipient=recipient,
        grant=None if grant is None else consent_of(grant, record),
        agreement=agreement,
        moment=Moment.SEND,
        now=core.now(),
        exclusions=await excluded(connection, message.case_ref, message.derived_from),
    )


async def excluded(
    connection: AsyncConnection, case_ref: str, business_id: UUID | None
) -> frozenset[str]:
    """Whom the person wants nothing to reach, by case or by the referral that is passed on."""
    keys = [case_ref] if business_id is None else [case_ref, str(business_id)]
    rows = await connection.execute(
        select(exclusion.c.participant).where(exclusion.c.about.in_(keys))
    )
    return frozenset(rows.scalars())
