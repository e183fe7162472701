"""Finds what protects the person of a message, whichever way the message goes.

One case has several names: our case number, the business id of a referral that came, a partner's
case number, a thread. What is known under one of them holds under all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.content_check import excluded
from broker.gateway.core import Core
from broker.gateway.safeguards.words import TELLING, Safeguards, person_of, told_by
from broker.gateway.store.bulk import padded
from broker.gateway.store.tables import inbox, inbox_section, safeguard, thread
from broker.gateway.store.tables import vault as vault_tables
from broker.rules.content import Exclusions, Person
from schemas.errors import NotFound

GONE = ("stopped", "erased")
NOTHING = ""
"""A place in the vault where nothing ever lies: looked up where nothing is known of a person."""
_Case = tuple[str, str]
"""(partner, that partner's case number)"""


@dataclass(frozen=True, slots=True)
class About:
    """The names under which one message's person may be known here."""

    case_refs: frozenset[str] = frozenset()
    """Ours."""
    business_ids: frozenset[UUID] = frozenset()
    threads: frozenset[UUID] = frozenset()
    partner_cases: frozenset[_Case] = frozenset()


@dataclass(slots=True)
class _Found:
    """What the names of one message lead to."""

    names: set[str] = field(default_factory=set)
    cases: set[_Case] = field(default_factory=set)


async def persons(core: Core, connection: AsyncConnection, wanted: Sequence[About]) -> list[Person]:
    """What is known of each of these messages' persons, in their order.

    The same statements for everybody: how many are asked does not tell that somebody is protected.
    """
    found = await _resolve(connection, wanted)
    names = set().union(*(item.names for item in found))
    written_at = await _written(connection, names)
    told_at = await _told(connection, set().union(*(item.cases for item in found)))
    plain = await _read(
        core, connection, [*written_at.values(), *(ref for _, _, ref in told_at)] or [NOTHING]
    )
    written = {
        name: Safeguards.from_json(plain[ref]) for name, ref in written_at.items() if ref in plain
    }
    told = _said(told_at, plain)
    excludes = await excluded(connection, sorted(names))
    country, today = core.self_entry().country, core.now().date()
    return [
        person_of(
            [written[name] for name in sorted(item.names & written.keys())],
            [told[case] for case in sorted(item.cases & told.keys())],
            exclusions=Exclusions.of(
                entry for name in item.names for entry in excludes.get(name, ())
            ),
            country=country,
            today=today,
        )
        for item in found
    ]


async def _resolve(connection: AsyncConnection, wanted: Sequence[About]) -> list[_Found]:
    """All names of each, by way of the messages that already came."""
    found = [
        _Found(
            {*item.case_refs, *(str(business) for business in item.business_ids)},
            set(item.partner_cases),
        )
        for item in wanted
    ]
    refs = sorted(set().union(*(item.case_refs for item in wanted)))
    business_ids = sorted(set().union(*(item.business_ids for item in wanted)))
    threads = sorted(set().union(*(item.threads for item in wanted)))
    if threads:
        ours = {
            row.id: row.case_ref
            for row in await connection.execute(
                select(thread.c.id, thread.c.case_ref).where(
                    thread.c.id.in_(padded(threads)), thread.c.role == "sender"
                )
            )
        }
        for item, result in zip(wanted, found, strict=True):
            result.names |= {ours[key] for key in item.threads & ours.keys()}
    which = [
        column.in_(padded(values))
        for column, values in (
            (inbox.c.reference, refs),
            (inbox.c.recipient_case_ref, refs),
            (inbox.c.business_id, business_ids),
            (inbox.c.thread, threads),
        )
        if values
    ]
    if not which:
        return found
    rows = await connection.execute(
        select(
            inbox.c.sender,
            inbox.c.case_ref,
            inbox.c.business_id,
            inbox.c.thread,
            inbox.c.reference,
            inbox.c.recipient_case_ref,
        )
        .where(or_(*which))
        .distinct()
    )
    for row in rows:
        for item, result in zip(wanted, found, strict=True):
            if (
                row.business_id in item.business_ids
                or row.thread in item.threads
                or {row.reference, row.recipient_case_ref} & item.case_refs
            ):
                result.cases.add((row.sender, row.case_ref))
                names = (str(row.business_id), row.reference, row.recipient_case_ref)
                result.names |= {name for name in names if name is not None}
    return found


async def written_for(core: Core, connection: AsyncConnection, about: About) -> list[Safeguards]:
    """What workers wrote down under any name of one message's person."""
    [found] = await _resolve(connection, [about])
    places = await _written(connection, found.names)
    plain = await _read(core, connection, places.values())
    return [Safeguards.from_json(plain[ref]) for ref in places.values() if ref in plain]


async def written_about(core: Core, connection: AsyncConnection, about: str) -> Safeguards | None:
    """What workers wrote down under one name."""
    found = await _written(connection, [about])
    plain = await _read(core, connection, found.values())
    return Safeguards.from_json(plain[found[about]]) if plain else None


async def _written(connection: AsyncConnection, names: Collection[str]) -> dict[str, str]:
    """Where it lies in the vault, by name."""
    if not names:
        return {}
    item = vault_tables.item
    rows = await connection.execute(
        select(safeguard.c.about, safeguard.c.item)
        .join(item, item.c.ref == safeguard.c.item)  # not what was erased since
        .where(safeguard.c.about.in_(padded(sorted(names))))
    )
    return {row.about: row.item for row in rows}


_Told = tuple[_Case, str, str]
"""(case, section, where it lies in the vault)"""


async def _told(connection: AsyncConnection, cases: set[_Case]) -> list[_Told]:
    """What partners' sections say, the newest of each kind."""
    if not cases:
        return []
    rows = (
        await connection.execute(
            select(
                inbox.c.sender, inbox.c.case_ref, inbox_section.c.section, inbox_section.c.content
            )
            .join(inbox, inbox.c.id == inbox_section.c.message)
            .where(
                inbox.c.case_ref.in_(padded(sorted({ref for _, ref in cases}))),
                inbox.c.state.not_in(GONE),
                inbox_section.c.section.in_(TELLING),
                inbox_section.c.content.is_not(None),
            )
            .order_by(inbox.c.position)
        )
    ).all()
    newest = {
        ((row.sender, row.case_ref), row.section): row.content
        for row in rows
        if (row.sender, row.case_ref) in cases
    }
    return [(case, section, ref) for (case, section), ref in newest.items()]


def _said(told: Sequence[_Told], plain: Mapping[str, bytes]) -> dict[_Case, Safeguards]:
    sections: dict[_Case, dict[str, dict[str, object]]] = {}
    for case, section, ref in told:
        if ref in plain:
            sections.setdefault(case, {})[section] = json.loads(plain[ref])
    return {case: told_by(said) for case, said in sections.items()}


async def _read(core: Core, connection: AsyncConnection, refs: Iterable[str]) -> dict[str, bytes]:
    wanted = list(refs)
    if not wanted:
        return {}
    try:
        return await core.vault.read_many(connection, wanted)
    except NotFound:  # an erasure came between: what is left still protects
        if len(wanted) == 1:
            return {}
        found = {}
        for ref in wanted:
            try:
                found[ref] = await core.vault.read(connection, ref)
            except NotFound:
                continue
        return found
