"""Puts what this gateway knows before the content rules; decides nothing itself.

Asked three times: before sealing, after unsealing, and before a worker sees it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.network.agreements import KnownAgreement
from broker.gateway.store.grants import GrantState
from broker.rules.content import (
    AgreementView,
    Decision,
    GrantView,
    Moment,
    Person,
    Question,
    decide,
)
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


def host_of(core: Core, participant: Participant) -> Participant | None:
    """Who runs the gateway that a participant stands in, if it is not its own.

    Raises:
        RecipientUnknown: The directory names a host that it does not know: nobody can tell where
            the plaintext would be.
    """
    return None if participant.hosted_by is None else core.partner(participant.hosted_by)


def ask(
    core: Core,
    message: Message,
    row: MessageType,
    *,
    sender: Participant,
    recipient: Participant,
    grant: GrantView | None,
    agreement: KnownAgreement | None,
    moment: Moment,
    now: datetime,
    person: Person,
    heard: list[Decision] | None = None,
) -> None:
    """Ask every content rule.

    Args:
        person: What this gateway knows of the person.
        heard: Gets the decision with its rules: for a worker who may know, and for nothing else.

    Raises:
        Refused: With the code that decides and the paths that it names.
    """
    decision = decide(
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
            person=person,
            sender_host=host_of(core, sender),
            recipient_host=host_of(core, recipient),
        )
    )
    if heard is not None:
        heard.append(decision)
    decision.raise_if_refused()


def check_outgoing(
    core: Core,
    message: Message,
    row: MessageType,
    *,
    recipient: Participant,
    grant: GrantView | None,
    agreement: KnownAgreement | None,
    person: Person,
    heard: list[Decision] | None = None,
) -> None:
    """May this message leave?

    Raises:
        Refused: It may not; nothing was stored.
    """
    ask(
        core,
        message,
        row,
        sender=core.self_entry(),
        recipient=recipient,
        grant=grant,
        agreement=agreement,
        moment=Moment.SEND,
        now=core.now(),
        person=person,
        heard=heard,
    )
