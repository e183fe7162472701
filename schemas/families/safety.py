"""The safety family: danger passes every gate but the second worker."""

from __future__ import annotations

from datetime import timedelta

from schemas.bodies import safety as bodies
from schemas.envelope import Kind, Lane
from schemas.families.base import Direction, MessageType, always

TYPES: tuple[MessageType, ...] = (
    MessageType(
        name="safety.alert",
        family="safety",
        kind=Kind.SAFETY,
        body=bodies.Alert,
        direction=Direction.FORWARD,
        machine="safety",
        event="alert",
        filed=True,
        opens=True,
        lane=Lane.URGENT,
        needs_exception=True,
        exceptions=frozenset(
            {
                "vital_interest_life",
                "child_best_interest",
                "missing_child",
                "legal_obligation",
                "staff_safety",
            }
        ),
        passes_agreement=True,
        permitted_sections=frozenset(
            {"case_admin", "contact_location", "guardian_child", "identity_core", "risk_security"}
        ),
        replies=("safety.ack",),
        answer_within=always(timedelta(hours=1)),
    ),
    MessageType(
        name="safety.ack",
        family="safety",
        kind=Kind.SAFETY,
        body=bodies.Ack,
        direction=Direction.BACK,
        machine="safety",
        event="ack",
        lane=Lane.URGENT,
        passes_agreement=True,
    ),
)
