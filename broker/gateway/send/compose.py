"""Step 2 of a referral's life: from a worker's draft to what will be sealed.

Everything that can be decided before a stream number is taken is decided here; `sender` takes
the number, seals, signs and stores, in one transaction (step 3). A composed message holds plaintext and
lives in memory only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.content_check import check_outgoing, host_of
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements, KnownAgreement
from broker.gateway.rights.restriction import require_sendable
from broker.gateway.send.attachments import StagedFile, stage
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.known import Knowledge, Known, KnownGrant
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import outbox
from broker.rules.content import Decision, bases_for, fitting
from broker.rules.header import AS_WRITTEN, GrantView, Header, Question, judge, refusal
from keys.binding import blind_scope, uuid7
from schemas.bodies.common import Body, Urgency, urgency_of
from schemas.catalogue import answered_by, check_message, message_type
from schemas.directory import Compartment, Participant
from schemas.envelope import WIRE_VERSION, AttachmentRef, ConsentTag, Kind, Lane
from schemas.errors import (
    ConsentMissing,
    ConsentRecipient,
    ConsentScope,
    ConsentWithdrawn,
    ExceptionRefused,
    NoAgreement,
    NotFound,
    NotPermitted,
    SchemaRefused,
)
from schemas.families.base import MessageType
from schemas.message import (
    AttachmentKey,
    CaseworkPart,
    CompartmentPart,
    ExceptionUse,
    Message,
    ScopeEntry,
)
from schemas.sections import section_content, validate_section
from schemas.sections.index import SECTION_INDEX, compartment_of
from schemas.sections.whole import check_together

NEVER_ARRIVED = ("refused", "stopped", "expired")
"""States of what will certainly not be there: only that may be sent anew under its business id."""


@dataclass(frozen=True, slots=True, repr=False)
class Composed:
    """A message that may be sent, as far as this gateway can tell."""

    id: UUID
    row: MessageType
    body: Body
    message: Message
    recipient: Participant
    lane: Lane
    urgency: Urgency
    thread: UUID
    step: threads.Step | None
    in_reply_to: UUID | None
    issued_at: datetime
    expires_at: datetime
    answer_by: datetime | None
    agreement: UUID | None
    consent: ConsentTag | None
    grant: UUID | None
    parts: dict[Compartment, bytes]
    attachments: tuple[AttachmentRef, ...] = ()
    files: tuple[StagedFile, ...] = ()
    exception: ExceptionUse | None = None
    named: bool = False
    """The worker chose the business id: asking again with it is the same request."""
    replaces: UUID | None = None
    """The message of ours that this one stands in for."""
    opens: bool = False
    """The thread's id was made here, for this message."""
    registered: bool = False
    """The hub knows the grant, or it travels under none."""

    def __repr__(self) -> str:
        return f"<Composed {self.row.name}>"


async def compose(
    core: Core,
    agreements: Agreements,
    connection: AsyncConnection,
    draft: MessageDraft,
    *,
    exception: ExceptionUse | None = None,
    known: Known | None = None,
    heard: list[Decision] | None = None,
) -> Composed:
    """Turn a draft into a message, or say why it may not be sent.

    1. The type exists, its body and sections fit it, and each section fits its model.
    2. The thread's state allows it now.
    3. The grant is ours (or the one under which we were asked) and covers each section.
    4. The content rules allow every section for this recipient, purpose and moment.

    Args:
        connection: Reads grants and threads, and the vault; nothing is written.
        exception: Approved by two workers, in place of consent.
        known: What was read for this draft already.
        heard: Gets what the content rules decided; see `content_check.ask`.

    Raises:
        Refused: With the code of the first rule that refuses, and where.
    """
    now = core.now()
    if known is None:
        known = await Knowledge(core).about(connection, [draft])
    row = message_type(draft.type)
    if row.needs_exception and exception is None:
        raise ExceptionRefused("this type needs an exception of two workers")
    if exception is not None and exception.code not in row.exceptions:
        raise ExceptionRefused("this type does not travel under this exception")
    recipient = core.partner(draft.to)
    require_sendable(
        core, known.stored, row, case_ref=draft.case_ref, derived_from=draft.derived_from
    )
    sections = {
        name: fitting(  # 1
            section_content(validate_section(name, content)),
            section=name,
            row=row,
            purpose=draft.purpose,
            exception=exception,
        )
        for name, content in draft.sections.items()
    }
    check_together(sections)
    replaced = await _replaced(connection, draft)
    business_id = replaced or draft.business_id or uuid4()
    before, opens, recipient_case_ref = await _thread(
        connection, draft, row, business_id=business_id
    )
    content = _with_urgency(draft, row)
    urgency = urgency_of(content)
    lane = row.lane_for(urgency)
    found = agreements.for_partner(draft.to, row.name, lane)
    if found is None and not row.passes_agreement:
        raise NoAgreement(draft.to)
    agreement = found[1] if found else None
    granted = _grant(core, known, draft, row, has_content=bool(sections))
    grant = None if granted is None else granted.state
    grant_key = None if granted is None else granted.key
    staged = [
        await stage(core, item, thread=before.id, scope=_scope(grant_key, draft, item.section))
        for item in draft.attachments
    ]
    files = tuple(item.key for item in staged)
    scopes = _scope_entries(
        core,
        draft,
        {*sections, *(file.section for file in files)},
        grant,
        grant_key,
        agreement,
        recipient,
        exception,
    )
    message = Message(
        type=row.name,
        business_id=business_id,
        case_ref=draft.case_ref,
        recipient_case_ref=recipient_case_ref,
        language=draft.language,
        body=content,
        sections=sections,
        scopes=scopes,
        exception=exception,
        attachments=files,
        grant_key=grant_key,
        derived_from=draft.derived_from,
        not_to=known.person(draft).not_to() if scopes or exception is not None else None,
    )
    body = check_message(message)
    step = threads.take_step(before, row, body, ours=True)  # 2
    check_outgoing(  # 3, 4
        core,
        message,
        row,
        recipient=recipient,
        grant=None if granted is None else granted.view,
        agreement=agreement,
        person=known.person(draft),
        heard=heard,
    )
    in_reply_to = draft.in_reply_to
    if in_reply_to is None and not opens:
        in_reply_to = await threads.last_of_partner(
            connection, before.id, draft.to, answering=answered_by(row.name)
        )
        if row.opens and in_reply_to is None:
            # Nothing would tell the other side that it does not begin a thread.
            raise NotPermitted("the other side was not heard here yet: begin a thread of its own")
    tag = _tag(grant, scopes)
    _check_header(core, draft, row, tag, in_reply_to, None if grant is None else grant.view())
    usual = row.answer_by(now, urgency, body)
    return Composed(
        id=uuid7(now),
        row=row,
        body=body,
        message=message,
        recipient=recipient,
        lane=lane,
        urgency=urgency,
        thread=before.id,
        step=step,
        in_reply_to=in_reply_to,
        issued_at=now,
        expires_at=now + core.settings.send.life,
        answer_by=usual if agreement is None else agreement.answer_by(row.name, usual, now),
        agreement=found[0] if found else None,
        consent=tag,
        grant=None if grant is None else grant.id,
        parts=sealed_parts(message, recipient, core),
        attachments=tuple(item.ref for item in staged),
        files=tuple(staged),
        exception=exception,
        named=draft.business_id is not None and replaced is None,
        replaces=draft.replaces,
        opens=draft.thread is None,
        registered=grant is None or grant.registered,
    )


async def _replaced(connection: AsyncConnection, draft: MessageDraft) -> UUID | None:
    """The business id of the message that this one stands in for.

    Raises:
        NotFound: No such message of ours, of this type and to this recipient.
        NotPermitted: It arrived, or may still: it would be there twice.
    """
    if draft.replaces is None:
        return None
    row = (
        await connection.execute(
            select(outbox.c.business_id, outbox.c.state).where(
                outbox.c.id == draft.replaces,
                outbox.c.recipient == draft.to,
                outbox.c.type == draft.type,
            )
        )
    ).first()
    if row is None:
        raise NotFound(where=("replaces",))
    if row.state not in NEVER_ARRIVED:
        raise NotPermitted("it may have arrived", where=("replaces",))
    return UUID(str(row.business_id))


def sealed_parts(message: Message, recipient: Participant, core: Core) -> dict[Compartment, bytes]:
    """Each section into the part of its compartment; the casework part always.

    Raises:
        SchemaRefused: The recipient has no key for a compartment that has content.
    """
    keys = recipient.sealing_keys(core.now(), core.settings.suite)
    sections: dict[Compartment, dict[str, dict[str, Any]]] = {}
    files: dict[Compartment, list[AttachmentKey]] = {}
    for name, content in message.sections.items():
        sections.setdefault(compartment_of(name), {})[name] = content
    for file in message.attachments:
        files.setdefault(compartment_of(file.section), []).append(file)
    missing = {*sections, *files} - {*keys, Compartment.CASEWORK}
    if missing:
        raise SchemaRefused(
            "the recipient has no key for a compartment", where=tuple(sorted(map(str, missing)))
        )
    parts = {
        compartment: CompartmentPart(
            sections=sections.get(compartment, {}), attachments=tuple(files.get(compartment, ()))
        ).to_json()
        for compartment in {*sections, *files} - {Compartment.CASEWORK}
    }
    parts[Compartment.CASEWORK] = CaseworkPart(
        type=message.type,
        business_id=message.business_id,
        case_ref=message.case_ref,
        recipient_case_ref=message.recipient_case_ref,
        language=message.language,
        body=message.body,
        grant_key=message.grant_key,
        scopes=message.scopes,
        exception=message.exception,
        sections=sections.get(Compartment.CASEWORK, {}),
        attachments=tuple(files.get(Compartment.CASEWORK, ())),
        derived_from=message.derived_from,
        not_to=message.not_to,
    ).to_json()
    return parts


async def _thread(
    connection: AsyncConnection,
    draft: MessageDraft,
    row: MessageType,
    *,
    business_id: UUID,
) -> tuple[threads.ThreadState, bool, str | None]:
    """The thread that the message belongs to or opens, before the message; True if it opens it.

    Raises:
        NotPermitted: It continues none, or another's.
        NotFound: No such thread.
    """
    recipient_case_ref = draft.recipient_case_ref
    if not threads.has_states(row):
        raise NotPermitted("the gateway says this itself, when a consent is recorded or taken back")
    before = None if draft.thread is None else await threads.load(connection, draft.thread)
    if before is None:
        if not row.opens:
            if draft.thread is not None:
                raise NotFound("no such thread")
            raise NotPermitted("this type continues a thread: say which")
        if draft.in_reply_to is not None:
            raise NotPermitted("what answers belongs into the thread of what it answers")
        fresh = threads.new_thread(
            row,
            thread_id=draft.thread or uuid4(),
            partner=draft.to,
            role=threads.SENDER,
            case_ref=draft.case_ref,
            business_id=business_id,
        )
        return fresh, True, recipient_case_ref
    if before.partner != draft.to:
        raise NotPermitted("the thread is with another participant")
    if before.role == threads.RECIPIENT and recipient_case_ref is None:
        recipient_case_ref = before.case_ref
    return before, False, recipient_case_ref


def _with_urgency(draft: MessageDraft, row: MessageType) -> dict[str, Any]:
    """The draft's body with its urgency in it: whoever opens it can hold lane and clock against it.

    Raises:
        SchemaRefused: This type has no urgency, or the body says another one.
    """
    if draft.urgency is None:
        return draft.body
    stated = draft.body.get("urgency", draft.urgency.value)
    if "urgency" not in row.body.model_fields or stated != draft.urgency.value:
        raise SchemaRefused(where=("urgency",))
    return {**draft.body, "urgency": draft.urgency.value}


def _grant(
    core: Core,
    known: Known,
    draft: MessageDraft,
    row: MessageType,
    *,
    has_content: bool,
) -> KnownGrant | None:
    """The grant that the draft names, if it may be used for this.

    Raises:
        ConsentMissing, ConsentRecipient, ConsentWithdrawn: As they say.
    """
    if row.kind is Kind.RIGHTS:
        return None  # it names no consent, and so passes the end of every one
    needed = row.needs_consent or has_content or bool(draft.attachments)
    if draft.grant is None:
        if needed and not row.exceptions:
            raise ConsentMissing("sections travel under a grant")
        return None
    found = known.grants.get(draft.grant)
    if found is None:
        raise ConsentMissing("no such grant here")
    pair = (found.state.sender, found.state.recipient)
    forth, back = (core.participant, draft.to), (draft.to, core.participant)
    if pair != forth and not (pair == back and (not row.opens or row.passes_agreement)):
        raise ConsentRecipient
    if found.state.withdrawn and not row.passes_agreement:
        raise ConsentWithdrawn
    return found


def _scope(grant_key: bytes | None, draft: MessageDraft, section: str) -> str | None:
    if grant_key is None or draft.purpose is None:
        return None
    return blind_scope(grant_key, draft.purpose, section)


def _scope_entries(
    core: Core,
    draft: MessageDraft,
    carried: set[str],
    grant: GrantState | None,
    grant_key: bytes | None,
    agreement: KnownAgreement | None,
    recipient: Participant,
    exception: ExceptionUse | None,
) -> tuple[ScopeEntry, ...]:
    """The table that opens the header's scopes: one line per section that travels.

    Raises:
        SchemaRefused: Sections without a purpose.
        ConsentScope: The grant does not cover a section for this purpose.
    """
    if not carried:
        return ()
    purpose = draft.purpose
    if purpose is None:
        raise SchemaRefused(where=("purpose: missing",))
    live = None if grant is None else grant.live()
    entries = []
    for section in [name for name in SECTION_INDEX if name in carried]:
        scope = _scope(grant_key, draft, section)
        if live is not None and scope not in live:
            raise ConsentScope(where=(f"sections.{section}",))
        processing, transfer = bases_for(
            section,
            core.self_entry(),
            recipient,
            None if agreement is None else agreement.content,
            on=core.now().date(),
            exception=None if exception is None else exception.code,
            hosts=(host_of(core, core.self_entry()), host_of(core, recipient)),
        )
        entries.append(
            ScopeEntry(
                scope=scope,
                section=section,
                purpose=purpose,
                processing_basis=processing,
                transfer_basis=transfer,
            )
        )
    return tuple(entries)


def _tag(grant: GrantState | None, scopes: tuple[ScopeEntry, ...]) -> ConsentTag | None:
    if grant is None:
        return None
    return ConsentTag(
        grant=grant.id,
        scopes=tuple(entry.scope for entry in scopes if entry.scope is not None),
        until=grant.until,
    )


def _check_header(
    core: Core,
    draft: MessageDraft,
    row: MessageType,
    tag: ConsentTag | None,
    in_reply_to: UUID | None,
    grant: GrantView | None,
) -> None:
    """Ask what the hub would refuse for good, whatever it knows; so nothing is stored, or moves.

    Raises:
        ConsentMissing: It answers nothing that was heard here, and names no grant.
        Refused: As the header rules say.
    """
    now = core.now()
    header = Header(
        sender=core.participant,
        recipient=draft.to,
        suite=core.settings.suite,
        version=WIRE_VERSION,
        lane=row.lane,
        kind=row.kind,
        reply=in_reply_to is not None,
        issued_at=now,
        expires_at=now,
        agreement=None,
        grant=None if tag is None else tag.grant,
        scopes=frozenset(() if tag is None else tag.scopes),
        until=None if tag is None else tag.until,
        to_keys=(),
        attachments=bool(draft.attachments),
    )
    found = judge(Question(header, None, None, None, None, grant, now), AS_WRITTEN)
    if ConsentMissing.code in found:
        raise ConsentMissing(
            "the other side has said nothing here that this answers: name the grant, or wait",
            where=("grant",),
        )
    if found:
        raise refusal(found)
