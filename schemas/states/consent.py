"""Consent by the names of W3C DPV, and the erasure that follows its end."""

from __future__ import annotations

from schemas.consent import ConsentStatus
from schemas.machine import By, Machine, edges_from

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_PARTIES = (_S, _R)
_ANYONE = (_S, _R, _B)

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
