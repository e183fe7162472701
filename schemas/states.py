"""Every state machine of an exchange, as tables. The domain's rules are the edges.

Four laws hold in all of them, and tests try to break them with random histories:

* An event that comes late or twice is recorded and never moves the state back.
* The person's withdrawal ends every exchange that has not ended, from either side, at once.
* A cancellation is a request; an outcome that crosses it wins.
* A case has one owner. It is the sender until the sender has signed `complete` *and* the
  recipient has signed after it. The order matters: were the recipient to sign first, there would
  be a time in which the sender has let go and the recipient does not know it yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from schemas.consent import ConsentStatus
from schemas.evidence import GATEWAY_FACTS, PRECEDENCE, Fact
from schemas.machine import By, Edge, Effect, Machine, Outcome, edges_from, next_state, step

__all__ = [
    "CONSENT",
    "DELIVERY",
    "ERASURE",
    "MACHINES",
    "REFERRAL",
    "SAFETY",
    "TRANSFER",
    "By",
    "Effect",
    "Machine",
    "Outcome",
    "add_signature",
    "deadline",
    "next_state",
    "owner",
    "step",
]

_PARTIES = (By.SENDER, By.RECIPIENT)
_ANYONE = (By.SENDER, By.RECIPIENT, By.BROKER)

# --- Referral ------------------------------------------------------------------------------
# `accept`, `decline` and `outcome` also leave the states before `received`: the signal that a
# person took it over may be lost or overtaken, and what the recipient decided is then still true.

_UNDECIDED = ("sent", "delivered", "received", "clarifying")
_AGREED = ("accepted", "in_progress")
_REFERRAL_OPEN = ("draft", *_UNDECIDED, *_AGREED, "cancel_requested")

REFERRAL = Machine(
    name="referral",
    initial="draft",
    terminal=frozenset(
        {
            "declined",
            "cancelled",
            "withdrawn",
            "expired",
            "undeliverable",
            "completed",
            "failed",
        }
    ),
    edges={
        ("draft", "request", By.SENDER): "sent",
        ("sent", "delivered", By.BROKER): "delivered",
        **edges_from(("sent", "delivered"), "received", (By.RECIPIENT,), "received"),
        **edges_from(
            ("sent", "delivered", "received"), "clarify_request", (By.RECIPIENT,), "clarifying"
        ),
        ("clarifying", "clarify_reply", By.SENDER): "received",
        **edges_from(_UNDECIDED, "accept", (By.RECIPIENT,), "accepted"),
        **edges_from(
            (*_UNDECIDED, *_AGREED, "cancel_requested"), "decline", (By.RECIPIENT,), "declined"
        ),
        **edges_from((*_UNDECIDED, *_AGREED), "interim", (By.RECIPIENT,), "in_progress"),
        **edges_from(
            (*_UNDECIDED, *_AGREED, "cancel_requested"), "outcome", (By.RECIPIENT,), "completed"
        ),
        **edges_from(
            (*_UNDECIDED, *_AGREED, "cancel_requested"), "fail", (By.RECIPIENT,), "failed"
        ),
        **edges_from((*_UNDECIDED, *_AGREED), "cancel_request", (By.SENDER,), "cancel_requested"),
        ("cancel_requested", "cancel_confirm", By.RECIPIENT): "cancelled",
        **edges_from(_UNDECIDED, "expire", (By.BROKER,), "expired"),
        **edges_from(("sent", "delivered"), "undeliverable", (By.BROKER,), "undeliverable"),
        **edges_from(_REFERRAL_OPEN, "withdraw", _ANYONE, "withdrawn"),
    },
    paused=frozenset({"clarifying"}),
)

# --- Case transfer -------------------------------------------------------------------------

_TRANSFER_UNSIGNED = ("offered", "accepted", "file_sent", "file_acknowledged")
_TRANSFER_OPEN = ("draft", *_TRANSFER_UNSIGNED, "sender_signed")

TRANSFER = Machine(
    name="transfer",
    initial="draft",
    terminal=frozenset({"declined", "revoked", "withdrawn", "completed"}),
    edges={
        ("draft", "offer", By.SENDER): "offered",
        ("offered", "accept", By.RECIPIENT): "accepted",
        **edges_from(("offered", "accepted"), "decline", (By.RECIPIENT,), "declined"),
        ("accepted", "casefile", By.SENDER): "file_sent",
        ("file_sent", "casefile", By.SENDER): "file_sent",
        ("file_sent", "casefile_missing", By.RECIPIENT): "accepted",
        ("file_sent", "casefile_ack", By.RECIPIENT): "file_acknowledged",
        ("file_acknowledged", "complete", By.SENDER): "sender_signed",
        ("sender_signed", "complete", By.RECIPIENT): "completed",
        # Having signed, the sender cannot take it back: the countersignature may be on its way.
        **edges_from(_TRANSFER_UNSIGNED, "revoke", (By.SENDER,), "revoked"),
        **edges_from(_TRANSFER_OPEN, "withdraw", _ANYONE, "withdrawn"),
    },
)


def owner(state: str, signed_by: Iterable[By]) -> By:
    """Who is responsible for a case under transfer: always exactly one party.

    It depends on the signatures alone. A withdrawal that crosses the countersignature stops the
    flow of data (`state` is then `withdrawn`) but cannot leave the person without anyone.
    """
    if state not in TRANSFER.states:
        raise ValueError("transfer has no such state")
    return By.RECIPIENT if {By.SENDER, By.RECIPIENT} <= set(signed_by) else By.SENDER


def add_signature(state: str, signed_by: frozenset[By], by: By) -> tuple[Outcome, frozenset[By]]:
    """Apply `transfer.complete` signed by one party: the new state, and who has signed now.

    The recipient's signature counts only on top of the sender's. A refused one counts for nothing.
    """
    outcome = step(TRANSFER, state, "complete", by)
    if outcome.effect is Effect.REFUSED:
        return outcome, signed_by
    if by is By.RECIPIENT and By.SENDER not in signed_by:
        return Outcome(state, Effect.REFUSED), signed_by
    return outcome, signed_by | {by}


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
        (ConsentStatus.UNKNOWN, "ask", By.SENDER): ConsentStatus.REQUESTED,
        **edges_from(
            (ConsentStatus.UNKNOWN, ConsentStatus.REQUESTED, ConsentStatus.DEFERRED),
            "give",
            (By.SENDER,),
            ConsentStatus.GIVEN,
        ),
        **edges_from(
            (ConsentStatus.REQUESTED, ConsentStatus.DEFERRED),
            "refuse",
            (By.SENDER,),
            ConsentStatus.REFUSED,
        ),
        (ConsentStatus.REQUESTED, "defer", By.SENDER): ConsentStatus.DEFERRED,
        **edges_from(
            (*_VALID, ConsentStatus.EXPIRED), "renew", (By.SENDER,), ConsentStatus.RENEWED
        ),
        # Narrowing leaves the status; what remains of the scopes is the grant's own business.
        **{(status, "narrow", by): str(status) for status in _VALID for by in _PARTIES},
        **edges_from(_VALID, "expire", (By.BROKER,), ConsentStatus.EXPIRED),
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
    terminal=frozenset({"taken_over", "withdrawn"}),
    edges={
        ("draft", "alert", By.SENDER): "raised",
        ("raised", "ack", By.RECIPIENT): "taken_over",
        # A person cannot withdraw from danger; this is an alert that proved to be an error.
        **edges_from(("draft", "raised"), "withdraw", (By.SENDER,), "withdrawn"),
    },
)

# --- Delivery of one envelope, as the sender's gateway sees it --------------------------------
# The table follows `PRECEDENCE`: a stronger fact moves from any weaker state, a weaker one is late.


def _delivery_edges() -> dict[Edge, str]:
    edges: dict[Edge, str] = {}
    strongest_last = tuple(reversed(PRECEDENCE))
    for rank, fact in enumerate(strongest_last):
        parties = {By.RECIPIENT} if fact in GATEWAY_FACTS else {By.BROKER}
        if fact is Fact.REFUSED:
            parties = {By.RECIPIENT, By.BROKER}
        weaker = ("created", *(str(other) for other in strongest_last[:rank]))
        edges |= edges_from(weaker, str(fact), parties, str(fact))
    # Our own gateway stops what it has not handed to the hub yet.
    edges["created", "withdraw", By.SENDER] = str(Fact.STOPPED)
    return edges


DELIVERY = Machine(
    name="delivery",
    initial="created",
    terminal=frozenset({str(Fact.READ)}),
    edges=_delivery_edges(),
)

MACHINES: Mapping[str, Machine] = MappingProxyType(
    {machine.name: machine for machine in (REFERRAL, TRANSFER, CONSENT, ERASURE, SAFETY, DELIVERY)}
)


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
