"""Bodies of the safety family: immediate danger, with the fewest words that help."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from schemas.base import FreeText, Instant, ShortText
from schemas.bodies.common import Body, Code, Note
from schemas.codes import EXCHANGE


class Danger(StrEnum):
    """What threatens."""

    THREAT_TO_LIFE = "threat_to_life"
    RE_TRAFFICKING = "re_trafficking"
    VIOLENCE = "violence"
    MISSING_CHILD = "missing_child"
    MISSING_PERSON = "missing_person"
    SELF_HARM = "self_harm"
    MEDICAL_EMERGENCY = "medical_emergency"
    THREAT_TO_STAFF = "threat_to_staff"


class Action(StrEnum):
    """What the recipient is asked to do."""

    LOCATE = "locate"
    PROTECT = "protect"
    WARN_PERSON = "warn_person"
    MEDICAL_CARE = "medical_care"
    WARN_STAFF = "warn_staff"
    CALL_BACK = "call_back"


class Alert(Body):
    """Says that somebody is in danger in the other country. Only under an exception of two workers."""

    danger: Danger
    facts: Annotated[FreeText, Field(max_length=2000)]
    """The minimum that makes the action possible."""
    action: Action
    emergency_contact: ShortText
    """Role and telephone number on the sender's side, reachable now."""
    known_until: Instant | None = None
    """When these facts were last known to be true."""


class Ack(Body):
    """A person took the alert over."""

    taken_over_by: ShortText
    """Role, not a name."""
    action_taken: Note | None = None
    call_back: ShortText | None = None


class Acted(Body):
    """What was done."""

    actions: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "safety_action")], ...],
        Field(min_length=1, max_length=8),
    ]
    at: Instant
    note: Note | None = None


class Missing(Alert):
    """Somebody is missing, a child above all (CETS 197, Art 33(2))."""

    last_seen_at: Instant | None = None
    is_child: bool


class MissingResolved(Body):
    """The search is over."""

    result: Annotated[str, *Code(EXCHANGE, "missing_end")]
    at: Instant


class StaffAlert(Body):
    """Danger to workers or to a shelter; no word about the person is needed."""

    danger: Danger
    facts: Annotated[FreeText, Field(max_length=2000)]
    emergency_contact: ShortText


class Breach(Body):
    """Data that was exchanged is at risk: which messages, never what was in them."""

    nature: Annotated[
        tuple[Annotated[str, *Code(EXCHANGE, "breach")], ...], Field(min_length=1, max_length=3)
    ]
    noticed_at: Instant
    messages: Annotated[tuple[UUID, ...], Field(max_length=512)] = ()
    authority_told_at: Instant | None = None
