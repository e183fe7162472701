"""The referral family: a closed loop between two participants. It never moves ownership."""

from __future__ import annotations

from datetime import timedelta

from schemas.bodies import referral as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    ANY_SECTION,
    BY_URGENCY,
    Direction,
    MessageType,
    always,
)

_PURPOSES = frozenset(Purpose) - {Purpose.CASE_TRANSFER, Purpose.STATISTICS}
_PROGRESS_SECTIONS = frozenset({"case_admin", "services_support"})

TYPES: tuple[MessageType, ...] = (
    MessageType(
        name="referral.request",
        family="referral",
        kind=Kind.REQUEST,
        body=bodies.Request,
        direction=Direction.FORWARD,
        machine="referral",
        event="request",
        filed=True,
        opens=True,
        needs_consent=True,
        required_sections=frozenset({"case_admin"}),
        child_sections=frozenset({"guardian_child"}),
        permitted_sections=ANY_SECTION,
        purposes=_PURPOSES,
        replies=(
            "referral.received",
            "referral.clarify.request",
            "referral.accept",
            "referral.decline",
            "referral.interim",
            "referral.outcome",
        ),
        answer_within=BY_URGENCY,
    ),
    MessageType(
        name="referral.received",
        family="referral",
        kind=Kind.PROGRESS,
        body=bodies.Received,
        direction=Direction.BACK,
        machine="referral",
        event="received",
    ),
    MessageType(
        name="referral.clarify.request",
        family="referral",
        kind=Kind.REQUEST,
        body=bodies.ClarifyRequest,
        direction=Direction.BACK,
        machine="referral",
        event="clarify_request",
        replies=("referral.clarify.reply",),
        answer_within=always(timedelta(hours=72)),
        pauses_clock=True,
    ),
    MessageType(
        name="referral.clarify.reply",
        family="referral",
        kind=Kind.ANSWER,
        body=bodies.ClarifyReply,
        direction=Direction.FORWARD,
        machine="referral",
        event="clarify_reply",
        permitted_sections=ANY_SECTION,
        purposes=_PURPOSES,
    ),
    MessageType(
        name="referral.accept",
        family="referral",
        kind=Kind.ANSWER,
        body=bodies.Accept,
        direction=Direction.BACK,
        machine="referral",
        event="accept",
        permitted_sections=_PROGRESS_SECTIONS,
        purposes=_PURPOSES,
    ),
    MessageType(
        name="referral.decline",
        family="referral",
        kind=Kind.ANSWER,
        body=bodies.Decline,
        direction=Direction.BACK,
        machine="referral",
        event="decline",
    ),
    MessageType(
        name="referral.interim",
        family="referral",
        kind=Kind.PROGRESS,
        body=bodies.Interim,
        direction=Direction.BACK,
        machine="referral",
        event="interim",
        permitted_sections=_PROGRESS_SECTIONS,
        purposes=_PURPOSES,
    ),
    MessageType(
        name="referral.outcome",
        family="referral",
        kind=Kind.ANSWER,
        body=bodies.Outcome,
        direction=Direction.BACK,
        machine="referral",
        event="outcome",
        permitted_sections=_PROGRESS_SECTIONS,
        purposes=_PURPOSES,
    ),
    MessageType(
        # A notice and not a request: the hub lets requests through only under a live grant, and
        # taking something back must not need one.
        name="referral.cancel.request",
        family="referral",
        kind=Kind.NOTICE,
        body=bodies.CancelRequest,
        direction=Direction.FORWARD,
        machine="referral",
        event="cancel_request",
        replies=("referral.cancel.confirm", "referral.outcome"),
        answer_within=always(timedelta(hours=72)),
    ),
    MessageType(
        name="referral.cancel.confirm",
        family="referral",
        kind=Kind.ANSWER,
        body=bodies.CancelConfirm,
        direction=Direction.BACK,
        machine="referral",
        event="cancel_confirm",
    ),
)
