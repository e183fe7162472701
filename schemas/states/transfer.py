"""The case transfer, and who is responsible for the case.

A transfer may have a return in it: what is said of the return in the transfer's own thread moves
it, and nobody signs before the handover on arrival is confirmed. Whoever wants a case asks for it
in an inquiry; the offer that answers opens a transfer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import MappingProxyType

from schemas.machine import By, Effect, Machine, Outcome, edges_from, step
from schemas.states.returning import BEFORE_DEPARTURE

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER
_PARTIES = (_S, _R)
_ANYONE = (_S, _R, _B)

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
