"""The delivery of one envelope, as the sender's gateway sees it.

The table follows `PRECEDENCE`: a stronger fact moves from any weaker state, a weaker one is late.
"""

from __future__ import annotations

from schemas.evidence import GATEWAY_FACTS, PRECEDENCE, Fact
from schemas.machine import By, Edge, Machine, edges_from

_S, _R, _B = By.SENDER, By.RECIPIENT, By.BROKER


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
