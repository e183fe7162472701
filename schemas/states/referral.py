"""The referral: a closed loop. Who decides has taken it over.

`accept`, `decline`, `redirect` and a question also leave the states before `received`, so that no
second message is needed to say so.
"""

from __future__ import annotations

from schemas.machine import By, Machine, edges_from

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_ANYONE = (_S, _R, _B)

_NEW = ("sent", "delivered", "received")
_UNDECIDED = (*_NEW, "clarifying")
_APPOINTMENT = ("scheduled", "no_show", "appointment_cancelled")
_AGREED = ("accepted", *_APPOINTMENT, "in_progress", "on_hold")
_RUNNING = ("accepted", *_APPOINTMENT, "in_progress")
_REFERRAL_OPEN = ("draft", "consent_pending", *_UNDECIDED, *_AGREED, "cancel_requested")
_REFERRAL_ENDS = frozenset(
    {
        "declined",
        "redirected",
        "cancelled",
        "withdrawn",
        "expired",
        "undeliverable",
        "completed",
        "failed",
        "recalled",
    }
)

REFERRAL = Machine(
    name="referral",
    initial="draft",
    terminal=_REFERRAL_ENDS,
    edges={
        ("draft", "consent_missing", _S): "consent_pending",
        ("consent_pending", "consent_given", _S): "draft",
        ("draft", "request", _S): "sent",
        ("sent", "delivered", _B): "delivered",
        **edges_from(("sent", "delivered"), "received", (_R,), "received"),
        **edges_from(_NEW, "clarify_request", (_R,), "clarifying"),
        ("clarifying", "clarify_reply", _S): "received",
        **edges_from(_NEW, "accept", (_R,), "accepted"),
        **edges_from(_NEW, "redirect", (_R,), "redirected"),
        **edges_from((*_UNDECIDED, *_RUNNING), "decline", (_R,), "declined"),
        ("cancel_requested", "decline", _R): "declined",
        **edges_from(("accepted", "in_progress", *_APPOINTMENT), "schedule", (_R,), "scheduled"),
        **edges_from(_APPOINTMENT, "no_show", (_R,), "no_show"),
        **edges_from(_APPOINTMENT, "appointment_cancel", (_R,), "appointment_cancelled"),
        **edges_from(_AGREED, "interim", (_R,), "in_progress"),
        **edges_from(("accepted", "in_progress"), "hold", (_R,), "on_hold"),
        **edges_from((*_AGREED, "cancel_requested"), "outcome", (_R,), "completed"),
        **edges_from(("accepted", "in_progress", "on_hold"), "fail", (_R,), "failed"),
        **edges_from((*_APPOINTMENT, "cancel_requested"), "fail", (_R,), "failed"),
        **edges_from((*_NEW, "accepted", "in_progress"), "not_possible", (_R,), "failed"),
        **edges_from((*_UNDECIDED, *_AGREED), "cancel_request", (_S,), "cancel_requested"),
        ("cancel_requested", "cancel_confirm", _R): "cancelled",
        ("cancel_requested", "cancel_refuse", _R): "in_progress",
        **{(state, "amend", _S): state for state in (*_UNDECIDED, *_AGREED)},
        **edges_from(_UNDECIDED, "expire", (_B,), "expired"),
        **edges_from(("sent", "delivered"), "undeliverable", (_B,), "undeliverable"),
        **edges_from(_REFERRAL_OPEN, "withdraw", _ANYONE, "withdrawn"),
        **edges_from(
            ({*_REFERRAL_OPEN} - {"draft", "consent_pending"}) | (_REFERRAL_ENDS - {"recalled"}),
            "recall",
            (_S,),
            "recalled",
        ),
        ("recalled", "attest", _R): "recalled",
    },
    paused=frozenset({"clarifying"}),
    last_word="recalled",
)
