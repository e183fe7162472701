"""Case transfer: a case changes hands. Consent to transfer is separate from any other."""

from __future__ import annotations

from functools import partial

from schemas.bodies import transfer as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    ANY_SECTION,
    CONSENTED,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    Precondition,
    sections,
    under,
)
from schemas.families.deadline import BY_URGENCY, days, hours

_row = partial(
    MessageType,
    chapter=Chapter.TRANSFER,
    machine="transfer",
    purposes=frozenset({Purpose.CASE_TRANSFER}),
)
_ANSWERS = (
    "referral.received",
    "transfer.accept",
    "transfer.accept_conditional",
    "transfer.decline",
)
_agreed = partial(_row, replies=("transfer.casefile",), deadline=hours(72), overdue="overdue")

TYPES: tuple[MessageType, ...] = (
    _row(
        "transfer.offer",
        Kind.REQUEST,
        bodies.Offer,
        Direction.FORWARD,
        "offer",
        opens=True,
        preconditions=under(Precondition.CONSENT, Precondition.GUARDIAN, Precondition.RISK_CURRENT),
        # The rest of the case belongs into the case file, once the offer is accepted.
        required_sections=sections("ADM"),
        permitted_sections=ANY_SECTION,
        replies=_ANSWERS,
        deadline=BY_URGENCY,
        overdue="overdue",
    ),
    _row(
        "transfer.pull.request",
        Kind.REQUEST,
        bodies.Pull,
        Direction.FORWARD,
        "ask",
        machine="inquiry",
        opens=True,
        preconditions=CONSENTED,
        required_sections=sections("IDC"),
        replies=("transfer.accept", "transfer.decline"),
        deadline=BY_URGENCY,
    ),
    _agreed(
        "transfer.accept",
        Kind.ANSWER,
        bodies.Accept,
        Direction.BACK,
        "accept",
        also={"inquiry": "answer"},
    ),
    _agreed(
        "transfer.accept_conditional",
        Kind.ANSWER,
        bodies.AcceptConditional,
        Direction.BACK,
        "accept_conditional",
    ),
    _row(
        "transfer.decline",
        Kind.ANSWER,
        bodies.Decline,
        Direction.BACK,
        "decline",
        also={"inquiry": "refuse"},
    ),
    _row(
        "transfer.casefile",
        Kind.REQUEST,
        bodies.Casefile,
        Direction.FORWARD,
        "casefile",
        preconditions=CONSENTED,
        permitted_sections=ANY_SECTION,
        replies=("transfer.casefile.ack",),
        deadline=hours(72),
        overdue="overdue",
        filed=True,
    ),
    _row(
        "transfer.casefile.ack",
        Kind.ANSWER,
        bodies.CasefileAck,
        Direction.BACK,
        "casefile_ack",
    ),
    _row(
        "transfer.complete",
        Kind.PROGRESS,
        bodies.Complete,
        Direction.EITHER,
        "complete",
        replies=("transfer.complete",),
    ),
    _row("transfer.revoke", Kind.NOTICE, bodies.Revoke, Direction.FORWARD, "revoke"),
    _row(
        "transfer.return_back",
        Kind.NOTICE,
        bodies.ReturnBack,
        Direction.EITHER,
        "return_back",
        opens=True,
        permitted_sections=sections("ADM"),
        replies=_ANSWERS,
        deadline=days(30),
    ),
    _row(
        "exit.handover",
        Kind.NOTICE,
        bodies.ExitHandover,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        corridor=Corridor.TO_DESTINATION,
        preconditions=CONSENTED,
        permitted_sections=sections("ADM MON"),
        purposes=frozenset({Purpose.CASE_TRANSFER, Purpose.MONITORING}),
    ),
)
