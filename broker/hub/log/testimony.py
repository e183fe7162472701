"""What the hub itself says, signed, with the leaf that records that it said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from broker.audit.log.leaves import new_leaf
from broker.hub.state import Hub
from keys.binding import subject_of, uuid7
from keys.jws import sign_jws
from schemas.audit import Event
from schemas.evidence import EVIDENCE_TYP, Evidence, FactStatement


@dataclass(frozen=True, slots=True)
class Testimony:
    """Evidence that is about to be recorded."""

    id: UUID
    raw: bytes
    row: dict[str, Any]
    """For `store.evidence.record`."""


def testify(
    hub: Hub,
    facts: Sequence[FactStatement],
    *,
    to: str | None,
    event: Event,
    now: datetime,
) -> Testimony:
    """Sign facts, and make the leaf of that.

    Raises:
        CustodyLocked: The hub cannot sign; so it must not decide either.
    """
    content = Evidence(id=uuid7(now), by=hub.id, to=to, issued_at=now, facts=tuple(facts))
    raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=hub.signer())
    return recorded(hub, content, raw, event=event, now=now)


def recorded(hub: Hub, content: Evidence, raw: bytes, *, event: Event, now: datetime) -> Testimony:
    """Evidence, the hub's or a gateway's, with its leaf, ready to be recorded."""
    leaf, opening = new_leaf(event, now, subject_of(raw))
    return Testimony(
        id=content.id,
        raw=raw,
        row={
            "id": content.id,
            "by": content.by,
            "to": content.to,
            "raw": raw,
            "recorded_at": now,
            "directory_version": hub.directory.current().version,
            "leaf": leaf,
            "salt": opening.salt,
        },
    )
