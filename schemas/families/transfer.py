"""The transfer family: a case changes hands. Consent to transfer is separate from any other."""

from __future__ import annotations

from datetime import timedelta

from schemas.bodies import transfer as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import ANY_SECTION, BY_URGENCY, Direction, MessageType, always

_TRANSFER_ONLY = frozenset({Purpose.CASE_TRANSFER})

TYPES: tuple[MessageType, ...] = (
    MessageType(
        name="transfer.offer",
        family="transfer",
        kind=Kind.REQUEST,
        body=bodies.Offer,
        direction=Direction.FORWARD,
        machine="transfer",
        event="offer",
        opens=True,
        needs_consent=True,
        required_sections=frozenset({"case_admin"}),
        permitted_sections=ANY_SECTION,
        purposes=_TRANSFER_ONLY,
        replies=("transfer.accept", "transfer.decline"),
        answer_within=BY_URGENCY,
    ),
    MessageType(
        name="transfer.accept",
        family="transfer",
        kind=Kind.ANSWER,
        body=bodies.Accept,
        direction=Direction.BACK,
        machine="transfer",
        event="accept",
        replies=("transfer.casefile",),
        answer_within=always(timedelta(hours=72)),
    ),
    MessageType(
        name="transfer.decline",
        family="transfer",
        kind=Kind.ANSWER,
        body=bodies.Decline,
        direction=Direction.BACK,
        machine="transfer",
        event="decline",
    ),
    MessageType(
        name="transfer.casefile",
        family="transfer",
        kind=Kind.REQUEST,
        body=bodies.Casefile,
        direction=Direction.FORWARD,
        machine="transfer",
        event="casefile",
        filed=True,
        needs_consent=True,
        permitted_sections=ANY_SECTION,
        purposes=_TRANSFER_ONLY,
        replies=("transfer.casefile.ack",),
        answer_within=always(timedelta(hours=72)),
    ),
    MessageType(
        name="transfer.casefile.ack",
        family="transfer",
        kind=Kind.ANSWER,
        body=bodies.CasefileAck,
        direction=Direction.BACK,
        machine="transfer",
        event="casefile_ack",
    ),
    MessageType(
        name="transfer.complete",
        family="transfer",
        kind=Kind.PROGRESS,
        body=bodies.Complete,
        direction=Direction.EITHER,
        machine="transfer",
        event="complete",
        replies=("transfer.complete",),
    ),
    MessageType(
        name="transfer.revoke",
        family="transfer",
        kind=Kind.NOTICE,
        body=bodies.Revoke,
        direction=Direction.FORWARD,
        machine="transfer",
        event="revoke",
    ),
)
