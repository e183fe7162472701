"""What the log records: an event code, a time, and a salted commitment. Never a person.

A leaf is linkable only through its `Opening`, which the parties to the event hold. Destroying
the salt unlinks the leaf and leaves the log verifiable.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.base import B64Bytes, Instant, WireModel


class Event(StrEnum):
    """Every event of the log. Documented in `docs/audit-events.md`; a test keeps the two equal."""

    ENVELOPE_SUBMITTED = "envelope:submitted"
    ENVELOPE_REFUSED = "envelope:refused"
    ENVELOPE_RELAYED = "envelope:relayed"
    ENVELOPE_STOPPED = "envelope:stopped"
    ENVELOPE_EXPIRED = "envelope:expired"
    ENVELOPE_UNDELIVERED = "envelope:undelivered"
    ENVELOPE_QUARANTINED = "envelope:quarantined"
    EVIDENCE_RECEIVED = "evidence:received"
    GRANT_REGISTERED = "grant:registered"
    GRANT_NARROWED = "grant:narrowed"
    GRANT_WITHDRAWN = "grant:withdrawn"
    AGREEMENT_REGISTERED = "agreement:registered"
    AGREEMENT_SUSPENDED = "agreement:suspended"
    DIRECTORY_PUBLISHED = "directory:published"
    KEY_REVOKED = "key:revoked"
    LOG_CONTINUED = "log:continued"
    PARTICIPANT_CHANGED = "participant:changed"
    ADMIN_ACTION = "admin:action"
    MESSAGE_SENT = "message:sent"
    MESSAGE_RECEIVED = "message:received"
    MESSAGE_FILED = "message:filed"
    MESSAGE_OPENED = "message:opened"
    QUESTION_ANSWERED = "question:answered"
    CONSENT_DECIDED = "consent:decided"
    CASE_ERASED = "case:erased"
    EXCLUSION_SET = "exclusion:set"
    EXCLUSION_LIFTED = "exclusion:lifted"
    HOLD_PLACED = "hold:placed"
    HOLD_TAKEN_OFF = "hold:taken-off"
    SAFEGUARDS_CHANGED = "safeguards:changed"
    EXCEPTION_USED = "exception:used"
    DISCLOSURE_RECORDED = "disclosure:recorded"
    DEADLINE_BREACHED = "deadline:breached"
    MESSAGE_QUARANTINED = "message:quarantined"


class Leaf(WireModel):
    """One entry of the log; stored as its RFC 8785 bytes, which are the leaf's data."""

    v: Annotated[int, Field(ge=1, le=1)] = 1
    event: Event
    time: Instant
    commitment: B64Bytes
    """SHA-256(label ‖ salt ‖ subject): see `keys.binding.commitment`."""


class Opening(WireModel):
    """What links a leaf to the thing it is about; held by the parties, never by the log."""

    salt: B64Bytes
    """32 random bytes."""
    subject: B64Bytes
    """SHA-256 of the signed object (envelope payload, evidence JWS, statement JWS)."""
