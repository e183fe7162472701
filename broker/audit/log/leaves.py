"""From an event to a leaf of the log, and the opening that alone can link the two.

A leaf holds an event code, a time and a salted commitment. Whoever holds the opening (the hub,
and the parties to the event) can show what the leaf is about; when the opening's salt is
destroyed nobody can, and the log verifies as before.
"""

from __future__ import annotations

import hmac
import json
from datetime import datetime

from keys.binding import commitment, new_salt
from schemas.audit import Event, Leaf, Opening
from schemas.base import b64u, instant_text


def new_leaf(event: Event, now: datetime, subject: bytes) -> tuple[bytes, Opening]:
    """Make the leaf of one event.

    Args:
        event: What happened.
        now: When; written to the millisecond.
        subject: `keys.binding.subject_of` the signed object that the event is about. For an event
            that evidence states, this is the evidence (the whole JWS): `broker.audit.proofs.verify`
            refuses a proof whose leaf is about anything else.

    Returns:
        The leaf's bytes (RFC 8785) for `add_leaves`, and its opening, which the caller stores
        where it can be erased, never beside the log.
    """
    # Every message makes ten leaves on its way, and nothing in them is for a model to judge.
    opening = Opening.model_construct(salt=new_salt(), subject=subject)
    return _leaf(event, now, opening), opening


PUBLIC_SALT = bytes(32)
"""Of what is published anyway: whoever has the thing can find its leaf, and nobody is given away."""


def public_leaf(event: Event, now: datetime, subject: bytes) -> tuple[bytes, Opening]:
    """Make the leaf of something that everybody may see, as a version of the directory."""
    opening = Opening.model_construct(salt=PUBLIC_SALT, subject=subject)
    return _leaf(event, now, opening), opening


def _leaf(event: Event, now: datetime, opening: Opening) -> bytes:
    """The RFC 8785 bytes of a `Leaf`: sorted, without spaces, and of ASCII alone."""
    made = {
        "commitment": b64u(commitment(opening.salt, opening.subject)),
        "event": event.value,
        "time": instant_text(now),
        "v": 1,
    }
    return json.dumps(made, separators=(",", ":")).encode()


def opens(leaf: Leaf, opening: Opening) -> bool:
    """True if the leaf is about the opening's subject."""
    return hmac.compare_digest(leaf.commitment, commitment(opening.salt, opening.subject))
