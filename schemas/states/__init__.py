"""Every state machine of an exchange, as tables. The domain's rules are the edges.

Five laws hold in all of them, and tests try to break them with random histories:

* An event that comes late or twice is recorded and never moves the state back.
* The person's withdrawal ends every exchange that has not ended, from either side, at once.
* A cancellation is a request; an outcome that crosses it wins.
* A case has one owner. It is the sender until the sender has signed `complete` *and* the
  recipient has signed after it. The order matters: were the recipient to sign first, there would
  be a time in which the sender has let go and the recipient does not know it yet.
* A return can be left at any point before departure, and no deadline and no name of a state holds
  it against anyone.

The machines of referral, transfer and return are those of the mechanism; `INQUIRY`, `DIALOGUE` and
`NOTICE` serve all the types that need no more than to be asked, talked over or told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from schemas.machine import By, Effect, Machine, Outcome, next_state, step
from schemas.states.asking import DIALOGUE, INQUIRY, NOTICE, SAFETY
from schemas.states.consent import CONSENT, ERASURE
from schemas.states.delivery import DELIVERY
from schemas.states.referral import REFERRAL
from schemas.states.returning import BEFORE_DEPARTURE, RETURN
from schemas.states.transfer import TRANSFER, add_signature, owner

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
    "destroys",
    "next_state",
    "owner",
    "step",
]

_OF_THREADS = (REFERRAL, TRANSFER, RETURN, INQUIRY, DIALOGUE, NOTICE, SAFETY)
THREADED = frozenset(machine.name for machine in _OF_THREADS)
"""Machines whose state is a thread's; the others' belong to a grant or to an envelope."""

MACHINES: Mapping[str, Machine] = MappingProxyType(
    {machine.name: machine for machine in (*_OF_THREADS, CONSENT, ERASURE, DELIVERY)}
)


_DESTROYING = frozenset({"declined", "withdrawn", "cancelled", "expired", "recalled"})


def destroys(machine: Machine, state: str) -> bool:
    """True if on reaching this state the recipient must destroy its copies, or justify them."""
    return machine is REFERRAL and state in _DESTROYING
