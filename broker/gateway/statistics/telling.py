"""Telling a rapporteur what was published: `stats.aggregate`, corridor by corridor."""

from __future__ import annotations

from uuid import UUID, uuid5

from broker.gateway.parts import Parts
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Stored
from broker.gateway.statistics.people import UNKNOWN
from broker.gateway.statistics.tables import Published
from schemas.bodies.oversight import Aggregate, Cell

MESSAGE = "stats.aggregate"
_MESSAGES = UUID("c1b54a5e-5f0e-5c55-9c1c-2c3f4b0a7d10")
"""Namespace of the messages' business ids (RFC 9562, version 5)."""


async def tell(parts: Parts, made: Published, to: str) -> list[Stored]:
    """Send what was published to one participant, corridor by corridor. Repeating it sends nothing
    anew: each message is named by its period and corridor."""
    sent = []
    for corridor in sorted({place.corridor for place in made.counts if place.corridor} - {UNKNOWN}):
        origin, _, destination = corridor.partition("-")
        body = Aggregate(
            first=made.quarters[0].first,
            last=made.quarters[-1].last,
            origin=origin,
            destination=destination,
            cells=tuple(
                Cell(exploitation=place.exploitation, age=place.age, sex=place.sex, count=count)
                for place, count in made.counts.items()
                if place.corridor == corridor
            ),
        )
        await parts.agreements.look_for(to)
        draft = MessageDraft(
            type=MESSAGE,
            to=to,
            case_ref=f"STATISTICS-{body.first}-{corridor}",
            body=body.to_dict(),
            business_id=uuid5(_MESSAGES, f"{body.first} {body.last} {corridor} {to}"),
        )
        sent.append(await parts.sender.send(await parts.composer(draft)))
    return sent
