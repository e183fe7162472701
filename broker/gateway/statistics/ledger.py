"""Publishing: what may be seen is written down first, then told. The ledger is never corrected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import date
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.knowing import KnownGrants
from broker.gateway.core import Core
from broker.gateway.statistics.people import Headings, Record, headings, read_records
from broker.gateway.statistics.periods import Quarter, quarters
from broker.gateway.statistics.tables import Place, Published, tabulate
from broker.gateway.store.alarms import clear_alarms_of
from broker.gateway.store.tables import identity, publication
from schemas.errors import Conflict, ConsentStale, SchemaRefused

DUE = "statistics-due"
"""The alarm about a quarter that is over and not published."""
ATTEMPTS = 5


async def tables_of(core: Core, grants: KnownGrants, first: date, last: date) -> Published:
    """The tables of a period: as they were published, or as they would be if it were done now.

    Raises:
        SchemaRefused: Not whole quarters.
        PolicyRefused: See `tabulate`.
        ConsentStale: Who has withdrawn is not known well enough to count anybody.
    """
    asked = quarters(first, last)
    async with core.database.read() as connection:
        told = await published(connection)
        for one in told:
            if one.quarters == asked:
                return one
        people = headings(await countable(core, grants, connection))
    return await _tabulated(people, asked, told)


async def publish(core: Core, grants: KnownGrants, first: date, last: date) -> Published:
    """Write the tables of a period into the ledger; the same period again changes nothing.

    Raises:
        SchemaRefused: Not whole quarters, or not over yet.
        PolicyRefused: See `tabulate`.
        ConsentStale: Who has withdrawn is not known well enough to count anybody.
        Conflict: Somebody withdraws or publishes all the while; try again.
    """
    asked = quarters(first, last)
    if asked[-1].last >= core.now().date():
        raise SchemaRefused("the period is not over", where=("last",))
    for _ in range(ATTEMPTS):
        async with core.database.read() as connection:
            told = await published(connection)
            people = headings(await countable(core, grants, connection))
        for one in told:
            if one.quarters == asked:
                return one
        made = await _tabulated(people, asked, told)
        async with core.database.begin() as connection:
            # One at a time: what two publications give away together, neither could know. And what
            # was reckoned meanwhile counts only if nobody withdrew meanwhile; who does so from here
            # on does it after the publication.
            await connection.execute(select(identity.c.participant).with_for_update())
            now = await countable(core, grants, connection, lock=True)
            if told != await published(connection) or people != headings(now):
                continue
            await connection.execute(
                insert(publication).values(
                    id=uuid4(), first=first, last=last, figures=_written(made), at=core.now()
                )
            )
            await clear_alarms_of(connection, asked, DUE, now=core.now())
        return made
    raise Conflict("the records change all the while")


async def countable(
    core: Core, grants: KnownGrants, connection: AsyncConnection, *, lock: bool = False
) -> list[Record]:
    """Records of those who agree at this moment, as the hub has it, not as we last heard.

    Raises:
        ConsentStale: The hub was not asked for too long: somebody may have withdrawn.
    """
    if not grants.is_fresh():
        raise ConsentStale
    return await read_records(core, connection, lock=lock)


async def _tabulated(
    people: Sequence[Headings], asked: Sequence[Quarter], told: Sequence[Published]
) -> Published:
    """Beside the event loop: the search for what must be held back takes seconds, and messages
    do not wait for it."""
    return await asyncio.to_thread(tabulate, people, asked, told)


async def history(connection: AsyncConnection) -> list[tuple[UUID, date, date, str]]:
    """Every publication: id, period, moment."""
    rows = await connection.execute(select(publication).order_by(publication.c.at))
    return [(row.id, row.first, row.last, row.at.isoformat()) for row in rows]


async def published(connection: AsyncConnection) -> Sequence[Published]:
    """Every publication so far, in the order of time."""
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
