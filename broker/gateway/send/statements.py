"""What the gateway itself says, without a worker's draft: about a grant, and about erasing.

It carries no section, so there is nothing for the content rules to decide.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.send.compose import Composed, sealed_parts
from keys.binding import uuid7
from schemas.bodies.common import Body, Urgency
from schemas.catalogue import check_message, message_type
from schemas.envelope import ConsentTag
from schemas.errors import NotPermitted
from schemas.families.base import MessageType
from schemas.message import Message


def compose_statement(
    core: Core,
    *,
    type_name: str,
    to: str,
    case_ref: str,
    body: Body,
    agreement: UUID | None,
    consent: ConsentTag | None = None,
    grant: UUID | None = None,
    grant_key: bytes | None = None,
    thread: threads.ThreadState | UUID | None = None,
    in_reply_to: UUID | None = None,
    not_to: tuple[str, ...] | None = None,
) -> Composed:
    """A message of the gateway's own.

    Args:
        thread: The exchange that it goes on in; a new one if there is none. Where that has ended
            already it is said all the same, and moves nothing here or there.

    Raises:
        RecipientUnknown: The recipient is not enrolled.
    """
    now = core.now()
    row = message_type(type_name)
    recipient = core.partner(to)
    message = Message(
        type=row.name,
        business_id=uuid4(),
        case_ref=case_ref,
        body=body.to_dict(),
        grant_key=grant_key,
        not_to=not_to,
    )
    checked = check_message(message)
    before = thread if isinstance(thread, threads.ThreadState) else None
    opens = thread is None and threads.has_states(row)
    if opens:
        before = threads.new_thread(
            row,
            thread_id=uuid4(),
            partner=to,
            role=threads.SENDER,
            case_ref=case_ref,
            business_id=message.business_id,
        )
    named = thread if isinstance(thread, UUID) else None
    return Composed(
        id=uuid7(now),
        row=row,
        body=checked,
        message=message,
        recipient=recipient,
        lane=row.lane,
        urgency=Urgency.NORMAL,
        thread=before.id if before is not None else named or uuid4(),
        step=_step(before, row, checked),
        in_reply_to=in_reply_to,
        issued_at=now,
        expires_at=now + core.settings.send.life,
        answer_by=row.answer_by(now),
        agreement=agreement,
        consent=consent,
        grant=grant,
        parts=sealed_parts(message, recipient, core),
        opens=opens,
    )


def _step(before: threads.ThreadState | None, row: MessageType, body: Body) -> threads.Step | None:
    if before is None or not threads.has_states(row):
        return None
    try:
        return threads.take_step(before, row, body, ours=True)
    except NotPermitted:
        return None
