"""Finds what protects the person of a message, whichever way the message goes.

One case has several names: our case number, the business id of a referral that came, a partner's
case number, a thread. What is known under one of them holds under all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.safeguards.told import entries_of
from broker.gateway.safeguards.words import JOINT, Safeguards, person_of, told_by
from broker.gateway.store.known import Case, Names, Stored, Told, known, written_under
from broker.rules.content import Exclusions, Person
from schemas.errors import NotFound

NOTHING = ""
"""A place in the vault where nothing ever lies: looked up where nothing is known of a person."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class About:
    """The names under which one message's person may be known here."""

    case_refs: frozenset[str] = frozenset()
    """Ours."""
    business_ids: frozenset[UUID] = frozenset()
    threads: frozenset[UUID] = frozenset()
    partner_cases: frozenset[Case] = frozenset()


async def persons(core: Core, connection: AsyncConnection, wanted: Sequence[About]) -> list[Person]:
    """What is known of each of these messages' persons, in their order."""
    return (await look(core, connection, wanted))[0]


async def look(
    core: Core, connection: AsyncConnection, wanted: Sequence[About]
) -> tuple[list[Person], Stored]:
    """The same, and what is stored under all their names.

    The same statements for everybody: how many are asked does not tell that somebody is protected.
    """
    stored = await known(connection, _names_of(wanted))
    told_at = _newest(stored.told)
    refs = [*stored.written.values(), *told_at.values(), *stored.kept_away.values()]
    plain = await _read(core, connection, refs or [NOTHING])
    written = {
        name: Safeguards.from_json(plain[ref])
        for name, ref in stored.written.items()
        if ref in plain
    }
    told = _said(told_at, plain)
    kept_away = {
        case: entries_of(plain[ref]) for case, ref in stored.kept_away.items() if ref in plain
    }
    country, today = core.self_entry().country, core.now().date()
    people = []
    for item in wanted:
        names, cases = _names(item, stored)
        people.append(
            person_of(
                [written[name] for name in sorted(names & written.keys())],
                [told[case] for case in sorted(cases & told.keys())],
                exclusions=Exclusions.of(
                    chain(
                        (who for name, who in stored.excluded if name in names),
                        *(kept_away[case] for case in cases & kept_away.keys()),
                    )
                ),
                country=country,
                today=today,
            )
        )
    return people, stored


async def names_of(connection: AsyncConnection, about: About) -> tuple[set[str], set[Case]]:
    """All names of one case: ours, and (partner, its number) for each partner who sent of it."""
    return _names(about, await known(connection, _names_of([about])))


def _names_of(wanted: Sequence[About]) -> Names:
    return Names(
        case_refs=_all(item.case_refs for item in wanted),
        business_ids=_all(item.business_ids for item in wanted),
        threads=_all(item.threads for item in wanted),
        partner_cases=_all(item.partner_cases for item in wanted),
    )


def _all(sets: Iterable[frozenset[_T]]) -> frozenset[_T]:
    return frozenset().union(*sets)


def _names(item: About, stored: Stored) -> tuple[set[str], set[Case]]:
    """All names of one case here and at partners, by way of the messages that already came."""
    names = {*item.case_refs, *(str(business) for business in item.business_ids)}
    names |= {stored.ours[key] for key in item.threads & stored.ours.keys()}
    cases = set(item.partner_cases)
    for met in stored.met:
        if (
            met.business_id in item.business_ids
            or met.thread in item.threads
            or {met.reference, met.recipient_case_ref} & item.case_refs
        ):
            cases.add((met.sender, met.case_ref))
            names |= met.names()
    return names, cases


async def written_for(core: Core, connection: AsyncConnection, about: About) -> list[Safeguards]:
    """What workers wrote down under any name of one message's person."""
    stored = await known(connection, _names_of([about]))
    plain = await _read(core, connection, stored.written.values())
    return [Safeguards.from_json(plain[ref]) for ref in stored.written.values() if ref in plain]


async def written_about(core: Core, connection: AsyncConnection, about: str) -> Safeguards | None:
    """What workers wrote down under one name."""
    ref = await written_under(connection, about)
    plain = {} if ref is None else await _read(core, connection, [ref])
    return None if ref is None or ref not in plain else Safeguards.from_json(plain[ref])


_Section = tuple[Case, str]
"""A section of one case, or `JOINT`."""


def _newest(told: Iterable[Told]) -> dict[_Section, str]:
    """Where the newest of each kind lies, in the vault."""
    return {((one.sender, one.case_ref), one.section): one.content for one in told}


def _said(told: Mapping[_Section, str], plain: Mapping[str, bytes]) -> dict[Case, Safeguards]:
    sections: dict[Case, dict[str, dict[str, object]]] = {}
    assessed: dict[Case, str] = {}
    for (case, section), ref in told.items():
        if ref not in plain:
            continue
        said = sections.setdefault(case, {})
        if section == JOINT:
            assessed[case] = str(json.loads(plain[ref])["body"]["valid_until"])
        else:
            said[section] = json.loads(plain[ref])
    return {
        case: told_by(said, assessed_until=assessed.get(case)) for case, said in sections.items()
    }


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
