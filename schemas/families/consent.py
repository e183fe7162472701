"""The consent family. Giving is recorded before any data travels; taking back needs nothing."""

from __future__ import annotations

from datetime import timedelta

from schemas.bodies import consent as bodies
from schemas.envelope import Kind, Lane
from schemas.families.base import Direction, MessageType, always

TYPES: tuple[MessageType, ...] = (
    MessageType(
        name="consent.record",
        family="consent",
        kind=Kind.NOTICE,
        body=bodies.Record,
        direction=Direction.EITHER,
        machine="consent",
        event="give",
        opens=True,
    ),
    MessageType(
        name="consent.update",
        family="consent",
        kind=Kind.WITHDRAWAL,
        body=bodies.Update,
        direction=Direction.EITHER,
        machine="consent",
        event="narrow",
        opens=True,
        lane=Lane.URGENT,
        passes_agreement=True,
        replies=("consent.withdraw.ack",),
        answer_within=always(timedelta(hours=72)),
    ),
    MessageType(
        name="consent.withdraw",
        family="consent",
        kind=Kind.WITHDRAWAL,
        body=bodies.Withdraw,
        direction=Direction.EITHER,
        machine="consent",
        event="withdraw",
        opens=True,
        lane=Lane.URGENT,
        passes_agreement=True,
        replies=("consent.withdraw.ack",),
        answer_within=always(timedelta(hours=72)),
    ),
    MessageType(
        name="consent.withdraw.ack",
        family="consent",
        kind=Kind.ANSWER,
        body=bodies.WithdrawAck,
        direction=Direction.EITHER,
        machine="erasure",
        event="acknowledge",
        lane=Lane.URGENT,
        passes_agreement=True,
    ),
)
