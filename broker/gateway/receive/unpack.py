"""From bytes to a message, believing nothing on the way. CPU work only: no I/O, no database.

Verification stands before unsealing, and unsealing before parsing; each step has its own type, so
none can be skipped: bytes -> `VerifiedEnvelope` -> `Unpacked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from broker.gateway.network.agreements import KnownAgreement
from keys import strict_json
from keys.binding import blind_scope, record_digest
from keys.signing import parse_envelope, verify_envelope, verify_grant
from keys.unsealing import Keyring, unseal_envelope
from schemas.base import KeyId, ParticipantId
from schemas.bodies.common import Body, urgency_of
from schemas.bodies.consent import Record
from schemas.catalogue import answer_by, check_message, message_type
from schemas.directory import Compartment, Participant, TrustedDirectory
from schemas.envelope import BARE, BUCKETS, Kind, VerifiedEnvelope
from schemas.errors import (
    CannotOpen,
    RecipientUnknown,
    SchemaRefused,
    ScopeMismatch,
)
from schemas.families.base import MessageType
from schemas.message import AttachmentKey, CaseworkPart, CompartmentPart, Message
from schemas.sections import validate_section
from schemas.sections.index import SECTION_INDEX, compartment_of
from schemas.sections.whole import check_together


@dataclass(frozen=True, slots=True, repr=False)
class Unpacked:
    """A message that is what its header says. Holds plaintext: memory only, never logged."""

    envelope: VerifiedEnvelope
    row: MessageType
    message: Message
    body: Body

    def __repr__(self) -> str:
        return f"<Unpacked {self.row.name}>"


def verify(
    raw: bytes, directory: TrustedDirectory, *, ourselves: ParticipantId, now: datetime
) -> VerifiedEnvelope:
    """Who sent this, and is it for us?

    Raises:
        Refused, Suspect: Not by whom it says, or not for us. There is no sender to answer then.
    """
    verified = verify_envelope(parse_envelope(raw), directory, now=now)
    if verified.content.to != ourselves:
        raise RecipientUnknown("addressed to somebody else")
    return verified


def unpack(
    envelope: VerifiedEnvelope,
    keyring: Keyring,
    ourselves: Participant,
    agreement: KnownAgreement | None = None,
) -> Unpacked:
    """Open the seal and hold what is inside against the header.

    1. The parts open under the signed header.
    2. Each is the JSON of its compartment, and each section lies in its own compartment.
    3. Type and kind agree, and so do what the hub did by the header: lane and clock. A kind that
       needs no agreement and no consent carries nothing that would need them.
    4. Every blinded scope of the header stands for what is inside, and nothing inside is without.
    5. Every attachment of the header has its key inside, under the scope of its section.
    6. Body and sections fit their models.

    Args:
        agreement: The one that the header names: the two may have promised to answer sooner.

    Deceit is looked for before mistakes, so that a message that is both is treated as deceit.

    Raises:
        CannotOpen: Step 1.
        SchemaRefused, MalformedJson, UnknownType: Step 2 and 6.
        ScopeMismatch: Step 3 to 5: the header, which the hub judged, was not the truth.
    """
    opened = unseal_envelope(envelope, keyring, ourselves)  # 1
    casework, others = _parse_parts(opened, ourselves)  # 2
    if envelope.content.kind in BARE and _carries_something(casework, others):
        raise ScopeMismatch("it carries what its kind may not")
    message = _join(casework, others)
    row = message_type(casework.type)
    if row.kind is not envelope.content.kind:  # 3
        raise ScopeMismatch("the kind is not the type's")
    if row.pauses_clock is not envelope.content.pauses_clock:
        raise ScopeMismatch("it stops a clock that its type does not, or the other way round")
    urgency = urgency_of(message.body)
    if row.lane_for(urgency) is not envelope.content.lane:
        raise ScopeMismatch("the lane is not the type's")
    asked_at = envelope.content.issued_at
    due = {answer_by(message, asked_at)}
    if agreement is not None:
        due |= {agreement.answer_by(row.name, usual, asked_at) for usual in due}
    if envelope.content.answer_by not in due:
        raise ScopeMismatch("the answer is due at another time than the type says")
    if row.kind is not Kind.WITHDRAWAL:
        _check_scopes(envelope, message)  # 4
    _check_attachments(envelope, message)  # 5
    for name, content in message.sections.items():
        validate_section(name, content)  # 6
    check_together(message.sections)
    return Unpacked(envelope, row, message, check_message(message))


def check_record(
    opened: Unpacked, body: Record, directory: TrustedDirectory, *, now: datetime
) -> None:
    """Hold a consent record against the statement that the hub enforces.

    Raises:
        ScopeMismatch: The person agreed to something else than what was registered in her name.
        BadSignature, KeyUnknown, KeyRevoked: The statement is not its giver's.
    """
    statement = verify_grant(body.statement, directory, now=now).content
    tag, key, record = opened.envelope.content.consent, opened.message.grant_key, body.record
    if tag is None or key is None or statement.grant != tag.grant:
        raise ScopeMismatch("a record without its grant")
    blinded = {blind_scope(key, scope.purpose, scope.section) for scope in record.scopes}
    if (
        statement.record_digest != record_digest(key, record)
        or blinded != set(statement.scopes)
        or (record.controller, record.recipient) != (statement.from_, statement.to)
        or record.valid_until < statement.until
    ):
        raise ScopeMismatch("the record is not what was registered")


def _parse_parts(
    opened: Mapping[KeyId, bytes], ourselves: Participant
) -> tuple[CaseworkPart, dict[Compartment, CompartmentPart]]:
    compartments = {key.kid: key.compartment for key in ourselves.keys}
    casework: CaseworkPart | None = None
    others: dict[Compartment, CompartmentPart] = {}
    for kid, content in opened.items():
        compartment = compartments.get(kid)
        strict_json.parse_object(content, limit=BUCKETS[-1])
        if compartment is Compartment.CASEWORK:
            casework = CaseworkPart.from_json(content)
        elif compartment is not None:
            others[compartment] = CompartmentPart.from_json(content)
    if casework is None:
        raise CannotOpen("the casework part")
    return casework, others


def _carries_something(
    casework: CaseworkPart, others: Mapping[Compartment, CompartmentPart]
) -> bool:
    """True if anything of a case is in any part, whatever it is called."""
    return (
        bool(casework.scopes or casework.sections or casework.attachments)
        or casework.exception is not None
        or any(part.sections or part.attachments for part in others.values())
    )


def _join(casework: CaseworkPart, others: Mapping[Compartment, CompartmentPart]) -> Message:
    sections = dict(casework.sections)
    files: list[AttachmentKey] = list(casework.attachments)
    parts = {
        Compartment.CASEWORK: CompartmentPart(
            sections=casework.sections, attachments=casework.attachments
        ),
        **others,
    }
    for compartment, part in parts.items():
        for name in (*part.sections, *(file.section for file in part.attachments)):
            if name not in SECTION_INDEX:
                raise SchemaRefused(where=("sections.?: unknown",))
            if compartment_of(name) is not compartment:
                raise SchemaRefused(where=(f"sections.{name}: compartment",))
        if compartment is not Compartment.CASEWORK:
            sections.update(part.sections)
            files.extend(part.attachments)
    return Message(
        type=casework.type,
        business_id=casework.business_id,
        case_ref=casework.case_ref,
        recipient_case_ref=casework.recipient_case_ref,
        language=casework.language,
        body=casework.body,
        sections=sections,
        scopes=casework.scopes,
        exception=casework.exception,
        attachments=tuple(files),
        grant_key=casework.grant_key,
        derived_from=casework.derived_from,
        not_to=casework.not_to,
    )


def _check_scopes(envelope: VerifiedEnvelope, message: Message) -> None:
    tag = envelope.content.consent
    claimed = set() if tag is None else set(tag.scopes)
    found = set()
    for entry in message.scopes:
        if entry.scope is None:
            if tag is not None or message.exception is None:
                raise ScopeMismatch("a section without its scope")
            continue
        if message.grant_key is None or entry.scope != blind_scope(
            message.grant_key, entry.purpose, entry.section
        ):
            raise ScopeMismatch("a scope that stands for something else")
        found.add(entry.scope)
    if found != claimed:
        raise ScopeMismatch("the header's scopes are not those inside")


def _check_attachments(envelope: VerifiedEnvelope, message: Message) -> None:
    announced = {ref.digest: ref.scope for ref in envelope.content.attachments}
    scopes = {entry.section: set[str | None]() for entry in message.scopes}
    for entry in message.scopes:
        scopes[entry.section].add(entry.scope)
    if announced.keys() != {file.digest for file in message.attachments}:
        raise ScopeMismatch("the header's attachments are not those inside")
    for file in message.attachments:
        if announced[file.digest] not in scopes.get(file.section, set()):
            raise ScopeMismatch("an attachment under another section's scope")
