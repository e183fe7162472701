"""Consent: giving is recorded before any data travels; taking back needs nothing at all.

The gateway itself says these, when a worker records or takes back a consent: `broker/gateway/consent`.
"""

from __future__ import annotations

from functools import partial

from schemas.bodies import consent as bodies
from schemas.envelope import Kind, Lane
from schemas.families.base import NOTHING, CarriedElsewhere, Chapter, Direction, MessageType
from schemas.families.deadline import hours

_row = partial(MessageType, chapter=Chapter.CONSENT, machine="consent", opens=True)
_less = partial(
    _row,
    lane=Lane.URGENT,
    preconditions=NOTHING,
    replies=("consent.withdraw.ack",),
    deadline=hours(72),
)

TYPES: tuple[MessageType, ...] = (
    _row("consent.record", Kind.NOTICE, bodies.Record, Direction.EITHER, "give"),
    _row("consent.renew", Kind.NOTICE, bodies.Renewal, Direction.EITHER, "renew"),
    _less("consent.update", Kind.WITHDRAWAL, bodies.Update, Direction.EITHER, "narrow"),
    _less("consent.withdraw", Kind.WITHDRAWAL, bodies.Withdraw, Direction.EITHER, "withdraw"),
    _less(
        "consent.revoke_by_other",
        Kind.WITHDRAWAL,
        bodies.RevokedByOther,
        Direction.EITHER,
        "revoke",
    ),
    _less("consent.majority", Kind.WITHDRAWAL, bodies.Majority, Direction.EITHER, "invalidate"),
    _row(
        "consent.withdraw.ack",
        Kind.RIGHTS,
        bodies.WithdrawAck,
        Direction.EITHER,
        "acknowledge",
        machine="erasure",
        opens=False,
        lane=Lane.URGENT,
        preconditions=NOTHING,
    ),
)

ELSEWHERE: tuple[CarriedElsewhere, ...] = (
    CarriedElsewhere(
        name="consent.expire",
        chapter=Chapter.CONSENT,
        carrier="the grant's own date",
        says="the last day of a grant is over; what was not handed over is destroyed",
        done_by="broker/rules/header.py",
    ),
)
