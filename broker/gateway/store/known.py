"""What is stored about the persons of messages, under whichever of their names.

Each message asks this before it leaves and when it comes, so that on PostgreSQL it is one statement
instead of seven. SQLite, which has no network between, gets the seven.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.database import fetch
from broker.gateway.safeguards.words import JOINT, TELLING
from broker.gateway.store.bulk import among, padded
from broker.gateway.store.lookup import Lookup, given
from broker.gateway.store.tables import (
    exclusion,
    inbox,
    inbox_section,
    restriction,
    safeguard,
    thread,
    told_exclusion,
)
from broker.gateway.store.tables import vault as vault_tables

GONE = ("stopped", "erased")
Case = tuple[str, str]
"""(partner, that partner's case number)"""


class Met(NamedTuple):
    """A message that came, by all the names that lead to its case."""

    sender: str
    case_ref: str
    business_id: UUID
    thread: UUID
    reference: str | None
    recipient_case_ref: str | None

    def names(self) -> set[str]:
        """What something may be written down under, here."""
        found = (str(self.business_id), self.reference, self.recipient_case_ref)
        return {name for name in found if name is not None}


class Told(NamedTuple):
    """Where a section lies in the vault that tells of a person, or the message that is `JOINT`."""

    sender: str
    case_ref: str
    section: str
    content: str


class Frozen(NamedTuple):
    """A case that is kept and not used, by whose numbering; one referral of it, or all."""

    by: str
    case_ref: str
    about: UUID | None


@dataclass(frozen=True, slots=True)
class Names:
    """The names that are asked for, of several messages at once."""

    case_refs: Collection[str] = ()
    """Ours."""
    business_ids: Collection[UUID] = ()
    threads: Collection[UUID] = ()
    partner_cases: Collection[Case] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What was found, under the names asked for and those that they lead to."""

    ours: dict[UUID, str] = field(default_factory=dict)
    """Our case number of each thread that we opened."""
    met: list[Met] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    """Name to where in the vault it lies what a worker wrote down."""
    told: list[Told] = field(default_factory=list)
    """In the order in which they came."""
    excluded: list[tuple[str, str]] = field(default_factory=list)
    """A name, and whom nothing about it may reach."""
    kept_away: dict[Case, str] = field(default_factory=dict)
    """A partner's case, and where in the vault it lies whom the person keeps away, as they say."""
    frozen: list[Frozen] = field(default_factory=list)
    """Of cases that have such a number, whoever's it is."""


_KNOWN = f"""
WITH ours AS (
    SELECT id, case_ref FROM thread WHERE id = ANY({given(3, "uuid")}) AND role = 'sender'
), met AS (
    SELECT DISTINCT sender, case_ref, business_id, thread, reference, recipient_case_ref FROM inbox
    WHERE reference = ANY({given(1, "text")}) OR recipient_case_ref = ANY({given(1, "text")})
        OR business_id = ANY({given(2, "uuid")}) OR thread = ANY({given(3, "uuid")})
), named AS (
    SELECT unnest({given(1, "text")}) AS name UNION SELECT unnest({given(2, "uuid")})::text
    UNION SELECT case_ref FROM ours UNION SELECT business_id::text FROM met
    UNION SELECT reference FROM met UNION SELECT recipient_case_ref FROM met
), held AS (
    SELECT * FROM unnest({given(4, "text")}, {given(5, "text")}) AS given(sender, case_ref)
    UNION SELECT sender, case_ref FROM met
)
SELECT (SELECT array_agg(ours) FROM ours), (SELECT array_agg(met) FROM met),
    (SELECT array_agg(ROW(s.about, s.item)) FROM named JOIN safeguard s ON s.about = named.name
        JOIN vault_item v ON v.ref = s.item),
    (SELECT array_agg(ROW(t.sender, t.case_ref, t.section, t.content) ORDER BY t.position) FROM (
        SELECT i.sender, i.case_ref, i.position, s.section, s.content
        FROM held JOIN inbox i ON i.case_ref = held.case_ref AND i.sender = held.sender
        JOIN inbox_section s ON s.message = i.id
        WHERE i.state NOT IN ({", ".join(f"'{state}'" for state in GONE)})
            AND s.section IN ({", ".join(f"'{section}'" for section in TELLING)})
            AND s.content IS NOT NULL
        UNION ALL SELECT i.sender, i.case_ref, i.position, i.type, i.content
        FROM held JOIN inbox i ON i.case_ref = held.case_ref AND i.sender = held.sender
        WHERE i.state NOT IN ({", ".join(f"'{state}'" for state in GONE)})
            AND i.type = '{JOINT}' AND i.content IS NOT NULL) t),
    (SELECT array_agg(ROW(e.about, e.participant)) FROM named JOIN exclusion e
        ON e.about = named.name),
    (SELECT array_agg(ROW(t.partner, t.case_ref, t.item)) FROM held JOIN told_exclusion t
        ON t.partner = held.sender AND t.case_ref = held.case_ref WHERE t.item IS NOT NULL),
    (SELECT array_agg(ROW(r.by, r.case_ref, r.about)) FROM (
            SELECT name FROM named UNION SELECT case_ref FROM held) AS numbered
        JOIN restriction r ON r.case_ref = numbered.name WHERE r.lifted_at IS NULL)
"""  # noqa: S608 (our own words)


async def known(connection: AsyncConnection, names: Names) -> Stored:
    """Everything under these names."""
    if connection.dialect.name != "postgresql":
        return await _one_by_one(connection, names)
    cases = [[case[part] for case in names.partner_cases] for part in range(2)]
    arguments = (list(names.case_refs), list(names.business_ids), list(names.threads), *cases)
    [row] = await fetch(connection, _KNOWN, arguments)
    return Stored(
        ours=dict(row[0] or ()),
        met=[Met(*one) for one in row[1] or ()],
        written=dict(row[2] or ()),
        told=[Told(*one) for one in row[3] or ()],
        excluded=[(one[0], one[1]) for one in row[4] or ()],
        kept_away={(one[0], one[1]): one[2] for one in row[5] or ()},
        frozen=[Frozen(*one) for one in row[6] or ()],
    )


async def _one_by_one(connection: AsyncConnection, names: Names) -> Stored:
    ours = {
        row.id: row.case_ref
        for row in await connection.execute(_OURS, {"ids": padded(list(names.threads))})
    }
    met = await _met(connection, names)
    every = {*names.case_refs, *map(str, names.business_ids), *ours.values()}
    for one in met:
        every |= one.names()
    abouts = {"ids": padded(sorted(every))}
    held = {*names.partner_cases, *((one.sender, one.case_ref) for one in met)}
    of_cases = {"ids": padded(sorted({ref for _, ref in held}))}
    told = await connection.execute(_TOLD, of_cases)
    lists = await connection.execute(_KEPT_AWAY, of_cases)
    return Stored(
        ours=ours,
        met=met,
        written={row.about: row.item for row in await connection.execute(_WRITTEN, abouts)},
        told=[Told(*row[:4]) for row in told if (row.sender, row.case_ref) in held],
        excluded=[(row[0], row[1]) for row in await connection.execute(_EXCLUDED, abouts)],
        kept_away={
            (row.partner, row.case_ref): row.item
            for row in lists
            if (row.partner, row.case_ref) in held
        },
        frozen=await frozen(connection, sorted({*every, *(ref for _, ref in held)})),
    )


async def frozen(connection: AsyncConnection, case_refs: Sequence[str]) -> list[Frozen]:
    """What is not used of the cases with these numbers."""
    return [Frozen(*row) for row in await _FROZEN(connection, case_refs)]


_FROZEN = Lookup(
    select(restriction.c.by, restriction.c.case_ref, restriction.c.about).where(
        restriction.c.lifted_at.is_(None)
    ),
    restriction.c.case_ref,
)


async def _met(connection: AsyncConnection, names: Names) -> list[Met]:
    which = [
        column.in_(padded(list(values)))
        for column, values in (
            (inbox.c.reference, names.case_refs),
            (inbox.c.recipient_case_ref, names.case_refs),
            (inbox.c.business_id, names.business_ids),
            (inbox.c.thread, names.threads),
        )
        if values
    ]
    if not which:
        return []
    columns = [inbox.c[name] for name in Met._fields]
    rows = await connection.execute(select(*columns).where(or_(*which)).distinct())
    return [Met(*row) for row in rows]


_OURS = select(thread.c.id, thread.c.case_ref).where(among(thread.c.id), thread.c.role == "sender")
_WRITTEN = (
    select(safeguard.c.about, safeguard.c.item)
    # Not what was erased since.
    .join(vault_tables.item, vault_tables.item.c.ref == safeguard.c.item)
    .where(among(safeguard.c.about))
)
_FROM_CASE = (among(inbox.c.case_ref), inbox.c.state.not_in(GONE))
_TOLD = (
    select(inbox.c.sender, inbox.c.case_ref, inbox_section.c.section, inbox_section.c.content)
    .add_columns(inbox.c.position)
    .join(inbox, inbox.c.id == inbox_section.c.message)
    .where(*_FROM_CASE, inbox_section.c.section.in_(TELLING), inbox_section.c.content.is_not(None))
    .union_all(
        select(inbox.c.sender, inbox.c.case_ref, inbox.c.type, inbox.c.content)
        .add_columns(inbox.c.position)
        .where(*_FROM_CASE, inbox.c.type == JOINT, inbox.c.content.is_not(None))
    )
    .order_by("position")
)
_KEPT_AWAY = select(
    told_exclusion.c.partner, told_exclusion.c.case_ref, told_exclusion.c.item
).where(among(told_exclusion.c.case_ref), told_exclusion.c.item.is_not(None))
_EXCLUDED = select(exclusion.c.about, exclusion.c.participant).where(among(exclusion.c.about))


async def written_under(connection: AsyncConnection, name: str) -> str | None:
    """Where in the vault it lies what a worker wrote down under one name."""
    rows = await connection.execute(_WRITTEN, {"ids": [name]})
    return next((str(row.item) for row in rows), None)
