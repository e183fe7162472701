"""Publishing: what may be seen is written down first, then told. The ledger is never corrected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4, uuid5

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.parts import Parts
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Stored
from broker.gateway.statistics.people import UNKNOWN, headings, read_records
from broker.gateway.statistics.periods import quarters
from broker.gateway.statistics.tables import Place, Published, tabulate
from broker.gateway.store.tables import identity, publication
from schemas.bodies.oversight import Aggregate, Cell
from schemas.errors import SchemaRefused

MESSAGE = "stats.aggregate"


async def tables_of(core: Core, first: date, last: date) -> Published:
    """The tables of a period: as they were published, or as they would be if it were done now.

    Raises:
        SchemaRefused: Not whole quarters.
        PolicyRefused: See `tabulate`.
    """
    asked = quarters(first, last)
    async with core.database.read() as connection:
        ledger = await _ledger(connection)
        for one in ledger:
            if one.quarters == asked:
                return one
        people = headings(await read_records(core, connection))
    return tabulate(people, asked, ledger)


async def publish(core: Core, first: date, last: date) -> Published:
    """Write the tables of a period into the ledger; the same period again changes nothing.

    Raises:
        SchemaRefused: Not whole quarters, or not over yet.
        PolicyRefused: See `tabulate`.
    """
    asked = quarters(first, last)
    if asked[-1].last >= core.now().date():
        raise SchemaRefused("the period is not over", where=("last",))
    async with core.database.begin() as connection:
        # One at a time: what two publications give away together, neither could know.
        await connection.execute(select(identity.c.participant).with_for_update())
        ledger = await _ledger(connection)
        for one in ledger:
            if one.quarters == asked:
                return one
        people = headings(await read_records(core, connection))
        made = tabulate(people, asked, ledger)
        await connection.execute(
            insert(publication).values(
                id=uuid4(), first=first, last=last, figures=_written(made), at=core.now()
            )
        )
    return made


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


async def history(connection: AsyncConnection) -> list[tuple[UUID, date, date, str]]:
    """Every publication: id, period, moment."""
    rows = await connection.execute(select(publication).order_by(publication.c.at))
    return [(row.id, row.first, row.last, row.at.isoformat()) for row in rows]


async def _ledger(connection: AsyncConnection) -> Sequence[Published]:
    rows = await connection.execute(select(publication).order_by(publication.c.first))
    return [
        Published(
            quarters(row.first, row.last),
            {
                Place(
                    *(figure[name] for name in ("corridor", "exploitation", "age", "sex"))
                ): figure["count"]
                for figure in json.loads(row.figures)
            },
        )
        for row in rows
    ]


def rows_of(made: Published) -> list[dict[str, str | int | None]]:
    """The figures one by one, as the ledger and the API have them."""
    return [
        {
            "corridor": place.corridor,
            "exploitation": place.exploitation,
            "age": place.age,
            "sex": place.sex,
            "count": count,
        }
        for place, count in made.counts.items()
    ]


def _written(made: Published) -> str:
    return json.dumps(rows_of(made), separators=(",", ":"))
