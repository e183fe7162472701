"""From an event to a leaf of the log, and the opening that alone can link the two.

A leaf holds an event code, a time and a salted commitment. Whoever holds the opening (the hub,
and the parties to the event) can show what the leaf is about; when the opening's salt is
destroyed nobody can, and the log verifies as before.
"""

from __future__ import annotations

import hmac
from datetime import datetime

import rfc8785

from keys.binding import commitment, new_salt
from schemas.audit import Event, Leaf, Opening


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
    opening = Opening(salt=new_salt(), subject=subject)
    leaf = Leaf(event=event, time=now, commitment=commitment(opening.salt, opening.subject))
    return rfc8785.dumps(leaf.to_dict()), opening


PUBLIC_SALT = bytes(32)
"""Of what is published anyway: whoever has the thing can find its leaf, and nobody is given away."""


def public_leaf(event: Event, now: datetime, subject: bytes) -> tuple[bytes, Opening]:
    """Make the leaf of something that everybody may see, as a version of the directory."""
    leaf = Leaf(event=event, time=now, commitment=commitment(PUBLIC_SALT, subject))
    return rfc8785.dumps(leaf.to_dict()), Opening(salt=PUBLIC_SALT, subject=subject)


def opens(leaf: Leaf, opening: Opening) -> bool:
    """True if the leaf is about the opening's subject."""
    return hmac.compare_digest(leaf.commitment, commitment(opening.salt, opening.subject))
