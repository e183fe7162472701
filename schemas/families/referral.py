"""The referral: a closed loop between two participants. It never moves ownership."""

from __future__ import annotations

from functools import partial

from schemas.bodies import referral as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind, Lane
from schemas.families.base import (
    ANY_SECTION,
    NOTHING,
    TOWARDS_ORIGIN,
    WITH_GUARDIAN,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    sections,
)
from schemas.families.deadline import BY_URGENCY, EARLY_WINDOW, hours

_row = partial(
    MessageType,
    chapter=Chapter.REFERRAL,
    machine="referral",
    purposes=frozenset(Purpose) - {Purpose.CASE_TRANSFER, Purpose.STATISTICS},
)
_answer = partial(_row, permitted_sections=sections("ADM SVC"))

TYPES: tuple[MessageType, ...] = (
    _row(
        "referral.early_notice",
        Kind.NOTICE,
        bodies.EarlyNotice,
        Direction.FORWARD,
        "early_notice",
        machine="return",
        opens=True,
        corridor=Corridor.TO_ORIGIN,
        preconditions=TOWARDS_ORIGIN,
        required_sections=sections("ADM"),
        permitted_sections=sections("DEM VUL SVC"),
        replies=("referral.received",),
        deadline=EARLY_WINDOW,
        overdue="window_closed",
        alarm="",
    ),
    _row(
        "referral.request",
        Kind.REQUEST,
        bodies.Request,
        Direction.FORWARD,
        "request",
        opens=True,
        preconditions=WITH_GUARDIAN,
        # IDC, DEM, SVC, RSK and STA belong into a full one, but each is the person's to give.
        required_sections=sections("ADM"),
        permitted_sections=ANY_SECTION,
        replies=(
            "referral.received",
            "referral.clarify.request",
            "referral.accept",
            "referral.decline",
            "referral.redirect",
            "referral.scheduled",
            "referral.no_show",
            "referral.appointment_cancelled",
            "referral.interim",
            "referral.outcome",
            "referral.not_possible",
        ),
        deadline=BY_URGENCY,
        filed=True,
    ),
    _row(
        "referral.received",
        Kind.PROGRESS,
        bodies.Received,
        Direction.BACK,
        "received",
        also={"return": "noted", "transfer": "received", "notice": "acknowledge"},
    ),
    _row(
        "referral.clarify.request",
        Kind.REQUEST,
        bodies.ClarifyRequest,
        Direction.BACK,
        "clarify_request",
        replies=("referral.clarify.reply",),
        deadline=hours(72),
        pauses_clock=True,
    ),
    _row(
        "referral.clarify.reply",
        Kind.ANSWER,
        bodies.ClarifyReply,
        Direction.FORWARD,
        "clarify_reply",
        permitted_sections=ANY_SECTION,
    ),
    _answer("referral.accept", Kind.ANSWER, bodies.Accept, Direction.BACK, "accept"),
    _row("referral.decline", Kind.ANSWER, bodies.Decline, Direction.BACK, "decline"),
    _row("referral.redirect", Kind.ANSWER, bodies.Redirect, Direction.BACK, "redirect"),
    _row(
        "referral.amend",
        Kind.NOTICE,
        bodies.Amend,
        Direction.FORWARD,
        "amend",
        preconditions=WITH_GUARDIAN,
        permitted_sections=ANY_SECTION,
        filed=True,
    ),
    _row(
        # A notice and not a request: the hub lets requests through only under a live grant, and
        # taking something back must not need one.
        "referral.cancel.request",
        Kind.NOTICE,
        bodies.CancelRequest,
        Direction.FORWARD,
        "cancel_request",
        replies=("referral.cancel.confirm", "referral.cancel.refuse", "referral.outcome"),
        deadline=hours(72),
    ),
    _row(
        "referral.cancel.confirm",
        Kind.ANSWER,
        bodies.CancelConfirm,
        Direction.BACK,
        "cancel_confirm",
    ),
    _row(
        "referral.cancel.refuse", Kind.ANSWER, bodies.CancelRefuse, Direction.BACK, "cancel_refuse"
    ),
    _row(
        "referral.recall",
        Kind.RIGHTS,
        bodies.Recall,
        Direction.FORWARD,
        "recall",
        lane=Lane.URGENT,
        preconditions=NOTHING,
        replies=("erase.ack",),
        deadline=hours(24),
    ),
    _answer("referral.scheduled", Kind.PROGRESS, bodies.Scheduled, Direction.BACK, "schedule"),
    _row("referral.no_show", Kind.PROGRESS, bodies.NoShow, Direction.BACK, "no_show"),
    _row(
        "referral.appointment_cancelled",
        Kind.PROGRESS,
        bodies.AppointmentCancelled,
        Direction.BACK,
        "appointment_cancel",
    ),
    _answer("referral.interim", Kind.PROGRESS, bodies.Interim, Direction.BACK, "interim"),
    _answer("referral.outcome", Kind.ANSWER, bodies.Outcome, Direction.BACK, "outcome"),
    _row("referral.not_possible", Kind.ANSWER, bodies.NotPossible, Direction.BACK, "not_possible"),
)
