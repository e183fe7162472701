"""Which change of which exchange is told to the person, and in which sentence.

The sentences are in `words/`; what stands behind a change (a reason, an organisation's trouble) is
for the worker to say. No sentence blames her for anything, staying least of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import uuid4

SAID: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "referral": {
            "sent": "sent",
            "received": "taken_up",
            "clarifying": "question",
            "accepted": "accepted",
            "scheduled": "appointment",
            "no_show": "appointment_off",
            "appointment_cancelled": "appointment_off",
            "in_progress": "running",
            "on_hold": "waiting",
            "declined": "not_taken",
            "redirected": "not_taken",
            "failed": "not_taken",
            "expired": "not_taken",
            "undeliverable": "not_taken",
            "cancelled": "stopped",
            "withdrawn": "stopped",
            "recalled": "stopped",
            "completed": "done",
        },
        "transfer": {
            "offered": "hand_over_asked",
            "accepted": "hand_over_agreed",
            "completed": "handed_over",
            "declined": "not_taken",
            "revoked": "stopped",
            "withdrawn": "stopped",
            "returned_back": "back_with_us",
        },
        "return": {
            "early_notified": "option",
            "plan_proposed": "plan",
            "plan_agreed": "plan_agreed",
            "travel_scheduled": "travel",
            "stay_chosen": "stays",
            "arrived": "arrived",
            "handed_over": "arrived",
            "withdrawn": "stopped",
        },
    }
)
"""Machine and state to the sentence."""


def due(changes: Sequence[tuple[Any, str, str, str]], now: datetime) -> list[dict[str, object]]:
    """Rows of `notice` for (thread, machine, state, case number) that have just come about."""
    return [
        {
            "id": uuid4(),
            "thread": thread,
            "machine": machine,
            "state": state,
            "case_ref": case_ref,
            "at": now,
            "done_at": None,
            "how": None,
            "worker": None,
        }
        for thread, machine, state, case_ref in changes
        if state in SAID.get(machine, {})
    ]
