"""The return: an option, never a condition.

Every state before `departed` leads back to `option_open` and to `stay_chosen`, by the person's word
alone, and neither is counted anywhere.
"""

from __future__ import annotations

from types import MappingProxyType

from schemas.machine import By, Machine, edges_from

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_PARTIES = (_S, _R)
_ANYONE = (_S, _R, _B)

BEFORE_DEPARTURE = frozenset(
    {
        "informed_decision",
        "guardian_and_best_interests",
        "risk_current",
        "no_protection_obstacle",
        "recovery_over",
        "identification_complete",
        "proceedings_considered",
        "travel_document",
        "reception_named",
    }
)
"""What the sender attests, always all of it, before the person leaves. `guardian_and_best_interests`
also stands for an adult, and `no_protection_obstacle` for one who never sought asylum: a list that
differed from person to person would tell what it must not."""

_BEFORE_DECISION = ("option_open", "early_notified", "assessing", "assessed")
_BEFORE_DEPARTURE = (
    *_BEFORE_DECISION,
    "informed_decision",
    "plan_proposed",
    "plan_countered",
    "plan_agreed",
    "documents_ready",
    "travel_scheduled",
)
_ON_THE_WAY = ("departed", "transit")
_AFTER_DEPARTURE = (*_ON_THE_WAY, "missing_alert", "arrived", "handed_over", "follow_up")

RETURN = Machine(
    name="return",
    initial="option_open",
    terminal=frozenset({"stay_chosen", "closed", "withdrawn"}),
    edges={
        ("option_open", "early_notice", _S): "early_notified",
        ("early_notified", "noted", _R): "early_notified",
        **edges_from(_BEFORE_DECISION, "assess", _PARTIES, "assessing"),
        **{
            (state, "result", by): state
            for state in ("assessing", "assessed", "informed_decision")
            for by in _PARTIES
        },
        **edges_from(("early_notified", "assessing"), "joint", _PARTIES, "assessed"),
        ("assessed", "decide_return", _S): "informed_decision",
        **edges_from(
            ("option_open", "informed_decision", "plan_countered"),
            "propose",
            (_S,),
            "plan_proposed",
        ),
        ("informed_decision", "propose", _R): "plan_countered",
        ("plan_proposed", "amend", _R): "plan_countered",
        **edges_from(("plan_countered",), "amend", (_S,), "plan_proposed"),
        **edges_from(
            ("plan_agreed", "documents_ready", "travel_scheduled"), "amend", (_S,), "plan_proposed"
        ),
        **edges_from(
            ("plan_agreed", "documents_ready", "travel_scheduled"), "amend", (_R,), "plan_countered"
        ),
        ("plan_proposed", "agree", _R): "plan_agreed",
        ("plan_countered", "agree", _S): "plan_agreed",
        ("plan_proposed", "reject", _R): "informed_decision",
        ("plan_countered", "reject", _S): "informed_decision",
        ("plan_agreed", "ask_documents", _S): "plan_agreed",
        ("plan_agreed", "documents", _R): "documents_ready",
        **edges_from(
            ("plan_agreed", "documents_ready", "travel_scheduled"),
            "schedule_travel",
            (_S,),
            "travel_scheduled",
        ),
        ("travel_scheduled", "cancel_departure", _S): "plan_agreed",
        ("travel_scheduled", "depart", _S): "departed",
        ("departed", "in_transit", _S): "transit",
        **edges_from((*_ON_THE_WAY, "missing_alert"), "arrive", (_R,), "arrived"),
        **edges_from((*_ON_THE_WAY, "arrived", "missing_alert"), "hand_over", (_R,), "handed_over"),
        **edges_from(_ON_THE_WAY, "arrival_failed", (_R,), "missing_alert"),
        **edges_from(_ON_THE_WAY, "arrival_overdue", (_B,), "missing_alert"),
        **edges_from(("missing_alert",), "resolve", _PARTIES, "follow_up"),
        ("handed_over", "complete", _R): "follow_up",
        **edges_from(("handed_over", "follow_up"), "close", _PARTIES, "closed"),
        # Left at any point, by the person's word; the window of an early notice closes silently.
        **edges_from(_BEFORE_DEPARTURE, "decide_stay", (_S,), "stay_chosen"),
        **edges_from(_BEFORE_DEPARTURE, "undecided", (_S,), "option_open"),
        **edges_from(
            ("early_notified", "assessing", "assessed"), "window_closed", (_B,), "option_open"
        ),
        **edges_from(("early_notified",), "undeliverable", (_B,), "option_open"),
        **edges_from((*_BEFORE_DEPARTURE, *_AFTER_DEPARTURE), "withdraw", _ANYONE, "withdrawn"),
    },
    guards=MappingProxyType(
        {
            "propose": frozenset({"informed_decision", "risk_current"}),
            "depart": BEFORE_DEPARTURE,
        }
    ),
    backwards=frozenset({"undecided"}),
)
