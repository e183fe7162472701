"""One thing to erase, and because of what. Values only: `orders` writes them down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from broker.gateway.store.dialect import AnyRow
from schemas.base import ParticipantId


class Cause(StrEnum):
    """Why something is erased."""

    WITHDRAWAL = "withdrawal"
    """The person took her consent back, whole or in part."""
    NOTICE = "notice"
    """Whoever sent it asks for its erasure (GDPR Art 17, 19)."""
    RECALL = "recall"
    """It was sent in error."""
    ENDED = "ended"
    """The referral ended without becoming ours."""
    RETENTION = "retention"
    """The day until which she was told that it is kept is over."""


UNDER_GRANT = frozenset({Cause.WITHDRAWAL, Cause.RETENTION})
BY_NAME = frozenset({Cause.NOTICE, Cause.RECALL})


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to erase."""

    message: UUID
    """What ordered it: an envelope, a thread that ended, a grant whose time is over."""
    cause: Cause
    by: ParticipantId
    """Whose data it is."""
    issued_at: datetime
    digest: str = ""
    """Of the envelope that ordered it, if its sender is to be told about that one."""
    grant: UUID | None = None
    case_ref: str | None = None
    """By the sender's numbering."""
    ground: str = "no_longer_needed"
    business_ids: tuple[UUID, ...] = ()
    """Only these; everything else that is named, if there are none."""
    sections: tuple[str, ...] = ()
    """Only these; everything, if there are none. Under a grant the grant says it."""

    @property
    def about(self) -> UUID:
        """What attestations are kept under."""
        return self.grant if self.cause in UNDER_GRANT and self.grant else self.message

    @classmethod
    def of(cls, row: AnyRow) -> Order:
        """As it was stored."""
        return cls(
            message=row.message,
            cause=Cause(row.cause),
            by=row.by,
            issued_at=row.issued_at,
            digest=row.digest,
            grant=row.grant,
            case_ref=row.case_ref,
            ground=row.ground or "no_longer_needed",
            business_ids=tuple(UUID(item) for item in json.loads(row.business_ids)),
            sections=tuple(json.loads(row.sections)),
        )

    @property
    def of_whole_case(self) -> bool:
        """True if nothing of the sender's case stays."""
        return self.cause is Cause.NOTICE and not self.business_ids and not self.sections


def order_row(order: Order, *, now: datetime) -> dict[str, Any]:
    """A row of the table."""
    return {
        "message": order.message,
        "cause": order.cause.value,
        "about": order.about,
        "by": order.by,
        "digest": order.digest,
        "grant": order.grant,
        "case_ref": order.case_ref,
        "ground": order.ground,
        "business_ids": json.dumps([str(item) for item in order.business_ids]),
        "sections": json.dumps(list(order.sections)),
        "refs": "[]",
        "onward_due": False,
        "state": "stopped",
        "attempts": 0,
        "next_attempt_at": now,
        "issued_at": order.issued_at,
        "at": now,
    }


def rows_of_ended(
    ended: list[tuple[UUID, ParticipantId]], *, now: datetime
) -> list[dict[str, Any]]:
    """Orders to erase what came in exchanges that have ended, by thread and partner: for whoever
    stores the threads' new states, in the same transaction."""
    return [
        order_row(Order(thread, Cause.ENDED, partner, now), now=now) for thread, partner in ended
    ]
