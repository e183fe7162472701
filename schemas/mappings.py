"""Our states in the words of others, and back: FHIR Task, 360X, Primero, HTCDS.

Each table says what is lost. Two of our states may have one word there (`sent` and `delivered` are
both `requested`); the way back then gives the first of them, and `lost` names the others. A word
that has no state here gives None: whoever reads it must ask, and never guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.states import REFERRAL, TRANSFER


@dataclass(frozen=True)
class Words:
    """One standard's words for the states of one machine."""

    standard: str
    machine: str
    word: Mapping[str, str]
    """State to word; a state that is not there has no word there."""

    def state(self, word: str) -> str | None:
        """The first of our states that this word stands for."""
        return next((state for state, known in self.word.items() if known == word), None)

    def lost(self) -> frozenset[str]:
        """States that do not come back as themselves."""
        return frozenset(state for state, word in self.word.items() if self.state(word) != state)


FHIR_TASK = Words(
    "FHIR R4 Task.status, with Gravity's transitions",
    REFERRAL.name,
    MappingProxyType(
        {
            "draft": "draft",
            "consent_pending": "draft",
            "sent": "requested",
            "delivered": "requested",
            "received": "received",
            "accepted": "accepted",
            "in_progress": "in-progress",
            "scheduled": "in-progress",
            "no_show": "in-progress",
            "appointment_cancelled": "in-progress",
            "cancel_requested": "in-progress",
            "on_hold": "on-hold",
            "clarifying": "on-hold",
            "declined": "rejected",
            "redirected": "rejected",
            "cancelled": "cancelled",
            "withdrawn": "cancelled",
            "failed": "failed",
            "expired": "failed",
            "undeliverable": "failed",
            "completed": "completed",
            "recalled": "entered-in-error",
        }
    ),
)

GRAVITY_TASK = Words(
    "Gravity SDOH referral task, which has no `received`",
    REFERRAL.name,
    MappingProxyType({**FHIR_TASK.word, "received": "requested"}),
)

NEEDS_STATUS_REASON = frozenset({"rejected", "cancelled", "on-hold", "failed"})
"""Gravity: Task.statusReason is required with these."""

IHE_360X = Words(
    "IHE 360X and BSeR business status",
    REFERRAL.name,
    MappingProxyType(
        {
            "received": "2.0",
            "delivered": "2.0",
            "accepted": "3.0",
            "declined": "4.0",
            "redirected": "4.0",
            "scheduled": "5.1.1",
            "no_show": "5.1.2",
            "appointment_cancelled": "5.1.3",
            "in_progress": "5.1.4",
            "cancel_requested": "5.2",
            "cancelled": "6.0",
            "withdrawn": "6.0",
            "completed": "7.0",
        }
    ),
)

PRIMERO_REFERRAL = Words(
    "Primero referral status",
    REFERRAL.name,
    MappingProxyType(
        {
            "delivered": "in_progress",
            "sent": "in_progress",
            "received": "in_progress",
            "accepted": "accepted",
            "in_progress": "accepted",
            "declined": "rejected",
            "redirected": "rejected",
            "cancelled": "revoked",
            "withdrawn": "revoked",
            "completed": "done",
            "failed": "done",
        }
    ),
)

PRIMERO_TRANSFER = Words(
    "Primero transfer status: there an accepted transfer has moved the case; here only a completed one",
    TRANSFER.name,
    MappingProxyType(
        {
            "offered": "in_progress",
            "received": "in_progress",
            "accepted_conditional": "in_progress",
            "accepted": "in_progress",
            "file_sent": "in_progress",
            "file_acknowledged": "in_progress",
            "return_pending": "in_progress",
            "travelled": "in_progress",
            "arrived": "in_progress",
            "met_person": "in_progress",
            "stalled": "in_progress",
            "completed": "accepted",
            "declined": "rejected",
            "revoked": "revoked",
            "withdrawn": "revoked",
            "returned_back": "revoked",
        }
    ),
)

HTCDS_CASE = Words(
    "HTCDS 2.0 cas_Status",
    REFERRAL.name,
    MappingProxyType({"in_progress": "Active", "completed": "ClosedReferred"}),
)

WORDS = (FHIR_TASK, GRAVITY_TASK, IHE_360X, PRIMERO_REFERRAL, PRIMERO_TRANSFER, HTCDS_CASE)
