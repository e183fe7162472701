"""Every state machine of an exchange, as tables. The domain's rules are the edges.

Five laws hold in all of them, and tests try to break them with random histories:

* An event that comes late or twice is recorded and never moves the state back.
* The person's withdrawal ends every exchange that has not ended, from either side, at once.
* A cancellation is a request; an outcome that crosses it wins.
* A case has one owner. It is the sender until the sender has signed `complete` *and* the
  recipient has signed after it. The order matters: were the recipient to sign first, there would
  be a time in which the sender has let go and the recipient does not know it yet.
* A return can be left at any point before departure. The states that this leads to are
  `uncounted`: no statistic, no deadline and no name of a state holds it against anyone.

The machines of referral, transfer and return are those of the mechanism; `INQUIRY`, `DIALOGUE` and
`NOTICE` serve all the types that need no more than to be asked, talked over or told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from schemas.consent import ConsentStatus
from schemas.evidence import GATEWAY_FACTS, PRECEDENCE, Fact
from schemas.machine import By, Edge, Effect, Machine, Outcome, edges_from, next_state, step

__all__ = [
    "BEFORE_DEPARTURE",
    "CONSENT",
    "DELIVERY",
    "DIALOGUE",
    "ERASURE",
    "INQUIRY",
    "MACHINES",
    "NOTICE",
    "REFERRAL",
    "RETURN",
    "SAFETY",
    "THREADED",
    "TRANSFER",
    "By",
    "Effect",
    "Machine",
    "Outcome",
    "add_signature",
    "counts",
    "deadline",
    "destroys",
    "next_state",
    "owner",
    "step",
]

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_PARTIES = (_S, _R)
_ANYONE = (_S, _R, _B)

# --- Referral ------------------------------------------------------------------------------
# Who decides has taken it over: `accept`, `decline`, `redirect` and a question also leave the
# states before `received`, so that no second message is needed to say so.

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

# --- Before anybody leaves --------------------------------------------------------------------

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

# --- Case transfer -------------------------------------------------------------------------
# A transfer may have a return in it: what is said of the return in the transfer's own thread moves
# it, and nobody signs before the handover on arrival is confirmed. Whoever wants a case asks for it
# in an inquiry; the offer that answers opens a transfer.

_TRANSFER_EARLY = ("offered", "received", "accepted", "accepted_conditional")
_FILE = ("file_sent", "file_acknowledged")
_TRAVEL = ("return_pending", "travelled", "arrived")
_TRANSFER_UNSIGNED = (*_TRANSFER_EARLY, *_FILE, *_TRAVEL, "stalled")
_TRANSFER_OPEN = ("none", *_TRANSFER_UNSIGNED, "met_person")

TRANSFER = Machine(
    name="transfer",
    initial="none",
    terminal=frozenset({"declined", "revoked", "withdrawn", "completed", "returned_back"}),
    edges={
        ("none", "offer", _S): "offered",
        # An owner that cannot go on does not let go: she offers the case, and keeps it until then.
        ("none", "return_back", _S): "offered",
        ("offered", "received", _R): "received",
        **edges_from(("offered", "received"), "accept", (_R,), "accepted"),
        **edges_from(("offered", "received"), "accept_conditional", (_R,), "accepted_conditional"),
        **edges_from((*_TRANSFER_EARLY, "stalled"), "decline", (_R,), "declined"),
        # To send the file is to agree to the conditions.
        **edges_from(
            ("accepted", "accepted_conditional", "file_sent"), "casefile", (_S,), "file_sent"
        ),
        ("file_sent", "casefile_missing", _R): "accepted",
        ("file_sent", "casefile_ack", _R): "file_acknowledged",
        **edges_from(("file_acknowledged",), "plan_return", _PARTIES, "return_pending"),
        ("return_pending", "leave_return", _S): "file_acknowledged",
        **edges_from(("file_acknowledged", "return_pending"), "depart", (_S,), "travelled"),
        **edges_from(("return_pending", "travelled"), "arrive", (_R,), "arrived"),
        # The first signature says that the person has met her new worker.
        **edges_from(("file_acknowledged", "arrived"), "complete", (_S,), "met_person"),
        ("met_person", "complete", _R): "completed",
        **edges_from((*_TRANSFER_EARLY, "file_sent"), "overdue", (_B,), "stalled"),
        # What was overdue may still come; then the transfer goes on where it would have gone.
        ("stalled", "accept", _R): "accepted",
        ("stalled", "accept_conditional", _R): "accepted_conditional",
        ("stalled", "casefile", _S): "file_sent",
        ("stalled", "casefile_ack", _R): "file_acknowledged",
        ("stalled", "casefile_missing", _R): "accepted",
        # Who took it cannot go on: the case never left the sender, who offers it anew.
        **edges_from(
            ("accepted", "accepted_conditional", *_FILE, *_TRAVEL, "stalled"),
            "return_back",
            (_R,),
            "returned_back",
        ),
        # Having signed, the sender cannot take it back: the countersignature may be on its way.
        **edges_from(_TRANSFER_UNSIGNED, "revoke", (_S,), "revoked"),
        **edges_from(_TRANSFER_OPEN, "withdraw", _ANYONE, "withdrawn"),
    },
    guards=MappingProxyType({"complete": frozenset({"met_person"}), "depart": BEFORE_DEPARTURE}),
)


def owner(state: str, signed_by: Iterable[By]) -> By:
    """Who is responsible for a case under transfer: always exactly one party.

    It depends on the signatures alone. A withdrawal that crosses the countersignature stops the
    flow of data (`state` is then `withdrawn`) but cannot leave the person without anyone.
    """
    if state not in TRANSFER.states:
        raise ValueError("transfer has no such state")
    return _R if {_S, _R} <= set(signed_by) else _S


def add_signature(
    state: str, signed_by: frozenset[By], by: By, *, given: Collection[str] = ("met_person",)
) -> tuple[Outcome, frozenset[By]]:
    """Apply `transfer.complete` signed by one party: the new state, and who has signed now.

    The recipient's signature counts only on top of the sender's. A refused one counts for nothing.
    """
    outcome = step(TRANSFER, state, "complete", by, given=given)
    if outcome.effect is Effect.REFUSED:
        return outcome, signed_by
    if by is _R and _S not in signed_by:
        return Outcome(state, Effect.REFUSED), signed_by
    return outcome, signed_by | {by}


# --- Return ----------------------------------------------------------------------------------
# An option, never a condition: every state before `departed` leads back to `option_open` and to
# `stay_chosen`, by the person's word alone, and neither is counted anywhere.

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
    uncounted=frozenset({"option_open", "stay_chosen", "withdrawn"}),
    backwards=frozenset({"undecided"}),
)

# --- What is asked, talked over, told -----------------------------------------------------------

INQUIRY = Machine(
    name="inquiry",
    initial="draft",
    terminal=frozenset({"answered", "refused", "withdrawn", "expired"}),
    edges={
        ("draft", "ask", _S): "asked",
        ("asked", "take_up", _R): "asked",
        ("asked", "set_conditions", _R): "conditions_set",
        ("conditions_set", "accept_conditions", _S): "conditions_accepted",
        ("conditions_set", "reject_conditions", _S): "refused",
        **edges_from(("asked", "conditions_accepted"), "answer", (_R,), "answered"),
        **edges_from(
            ("asked", "conditions_set", "conditions_accepted"), "refuse", (_R,), "refused"
        ),
        # A contribution of both sides, before the common result.
        **edges_from(("asked",), "contribute", _PARTIES, "asked"),
        ("asked", "answer", _S): "answered",
        **edges_from(
            ("asked", "conditions_set", "conditions_accepted"), "expire", (_B,), "expired"
        ),
        **edges_from(
            ("draft", "asked", "conditions_set", "conditions_accepted"),
            "withdraw",
            _ANYONE,
            "withdrawn",
        ),
    },
    paused=frozenset({"conditions_set"}),
)

DIALOGUE = Machine(
    name="dialogue",
    initial="draft",
    terminal=frozenset({"closed", "withdrawn"}),
    edges={
        ("draft", "begin", _S): "running",
        **edges_from(("running",), "say", _PARTIES, "running"),
        **edges_from(("running",), "end", _PARTIES, "closed"),
        **edges_from(("draft", "running"), "withdraw", _ANYONE, "withdrawn"),
    },
)

NOTICE = Machine(
    name="notice",
    initial="draft",
    terminal=frozenset({"acknowledged", "withdrawn"}),
    edges={
        ("draft", "tell", _S): "told",
        ("told", "tell", _S): "told",
        ("told", "lift", _S): "told",
        ("told", "acknowledge", _R): "acknowledged",
        **edges_from(("draft", "told"), "withdraw", _ANYONE, "withdrawn"),
    },
)

# --- Consent (names of W3C DPV) --------------------------------------------------------------

_VALID = (ConsentStatus.GIVEN, ConsentStatus.RENEWED)
_CONSENT_OPEN = (
    ConsentStatus.UNKNOWN,
    ConsentStatus.REQUESTED,
    ConsentStatus.DEFERRED,
    *_VALID,
    ConsentStatus.EXPIRED,
)

CONSENT = Machine(
    name="consent",
    initial=ConsentStatus.UNKNOWN,
    terminal=frozenset(
        {
            ConsentStatus.REFUSED,
            ConsentStatus.INVALIDATED,
            ConsentStatus.REVOKED,
            ConsentStatus.WITHDRAWN,
        }
    ),
    edges={
        (ConsentStatus.UNKNOWN, "ask", _S): ConsentStatus.REQUESTED,
        **edges_from(
            (ConsentStatus.UNKNOWN, ConsentStatus.REQUESTED, ConsentStatus.DEFERRED),
            "give",
            (_S,),
            ConsentStatus.GIVEN,
        ),
        **edges_from(
            (ConsentStatus.REQUESTED, ConsentStatus.DEFERRED),
            "refuse",
            (_S,),
            ConsentStatus.REFUSED,
        ),
        (ConsentStatus.REQUESTED, "defer", _S): ConsentStatus.DEFERRED,
        **edges_from((*_VALID, ConsentStatus.EXPIRED), "renew", (_S,), ConsentStatus.RENEWED),
        # Narrowing leaves the status; what remains of the scopes is the grant's own business.
        **{(status, "narrow", by): str(status) for status in _VALID for by in _PARTIES},
        **edges_from(_VALID, "expire", (_B,), ConsentStatus.EXPIRED),
        **edges_from(_VALID, "invalidate", _ANYONE, ConsentStatus.INVALIDATED),
        **edges_from(_CONSENT_OPEN, "revoke", _ANYONE, ConsentStatus.REVOKED),
        **edges_from(_CONSENT_OPEN, "withdraw", _ANYONE, ConsentStatus.WITHDRAWN),
    },
)

# --- Erasure after a withdrawal: who was told, who has attested -------------------------------

ERASURE = Machine(
    name="erasure",
    initial="none",
    terminal=frozenset(),
    edges={
        **edges_from(("none", "told"), "tell", _PARTIES, "told"),
        # An attestation may be followed by a fuller one, when onward recipients have answered.
        **edges_from(("told", "attested"), "acknowledge", _PARTIES, "attested"),
    },
)

# --- Safety ----------------------------------------------------------------------------------

SAFETY = Machine(
    name="safety",
    initial="draft",
    terminal=frozenset({"resolved", "withdrawn"}),
    edges={
        ("draft", "alert", _S): "raised",
        ("raised", "ack", _R): "taken_over",
        **edges_from(("raised", "taken_over"), "act", _PARTIES, "taken_over"),
        **edges_from(("raised", "taken_over"), "resolve", _PARTIES, "resolved"),
        # A person cannot withdraw from danger; this is an alert that proved to be an error.
        **edges_from(("draft", "raised"), "withdraw", (_S,), "withdrawn"),
    },
)

# --- Delivery of one envelope, as the sender's gateway sees it --------------------------------
# The table follows `PRECEDENCE`: a stronger fact moves from any weaker state, a weaker one is late.


def _delivery_edges() -> dict[Edge, str]:
    edges: dict[Edge, str] = {}
    strongest_last = tuple(reversed(PRECEDENCE))
    for rank, fact in enumerate(strongest_last):
        parties = {_R} if fact in GATEWAY_FACTS else {_B}
        if fact is Fact.REFUSED:
            parties = {_R, _B}
        weaker = ("created", *(str(other) for other in strongest_last[:rank]))
        edges |= edges_from(weaker, str(fact), parties, str(fact))
    # Our own gateway stops what it has not handed to the hub yet.
    edges["created", "withdraw", _S] = str(Fact.STOPPED)
    return edges


DELIVERY = Machine(
    name="delivery",
    initial="created",
    terminal=frozenset({str(Fact.READ)}),
    edges=_delivery_edges(),
)

_OF_THREADS = (REFERRAL, TRANSFER, RETURN, INQUIRY, DIALOGUE, NOTICE, SAFETY)
THREADED = frozenset(machine.name for machine in _OF_THREADS)
"""Machines whose state is a thread's; the others' belong to a grant or to an envelope."""

MACHINES: Mapping[str, Machine] = MappingProxyType(
    {machine.name: machine for machine in (*_OF_THREADS, CONSENT, ERASURE, DELIVERY)}
)


def counts(machine: Machine, state: str) -> bool:
    """True if statistics and deadlines may count an exchange in this state."""
    return state not in machine.uncounted


_DESTROYING = frozenset({"declined", "withdrawn", "cancelled", "expired", "recalled"})


def destroys(machine: Machine, state: str) -> bool:
    """True if on reaching this state the recipient must destroy its copies, or justify them."""
    return machine is REFERRAL and state in _DESTROYING


def deadline(
    asked_at: datetime,
    within: timedelta,
    pauses: Iterable[tuple[datetime, datetime | None]],
    now: datetime,
) -> datetime:
    """When the answer is due, given when questions were open; a pause without an end is still open.

    Overlapping pauses count once, so that a question asked twice buys no extra time.
    """
    due = asked_at + within
    covered_until = asked_at
    for start, end in sorted(pauses, key=lambda pause: pause[0]):
        start = max(start, covered_until)
        stop = now if end is None else end
        if stop > start:
            due += stop - start
            covered_until = stop
    return due
