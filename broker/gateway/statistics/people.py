"""Who is counted: those who agreed to it, and who still do. The only part that reads records.

Counted is what reached this gateway in the section `statistics_research`, for the purpose
`statistics`, under a grant that is in force today: explicit consent (GDPR Art 9(2)(a)). EU law would
let some bodies count more (Art 5(1)(b), Art 9(2)(j) and Art 89(1) with a national law), but not every
participant has such a law, and a person who said no to statistics is owed that no is no. So a case
that travelled for any other purpose, or under an exception, is not counted, and who withdraws is gone
from every later count. What is restricted (Art 18) is not used, so it is not counted either.

One person counts once: the newest record of each partner's case, in the quarter in which it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.statistics.periods import Quarter
from broker.gateway.store.grants import GrantState, load_grants
from broker.gateway.store.tables import inbox, inbox_section, restriction
from schemas.consent import Purpose
from schemas.sections.record import StatisticsResearch

SECTION = "statistics_research"
_GONE = ("stopped", "erased")

_EXPLOITATION = {
    "isForcedLabour": "forced_labour",
    "isSexualExploit": "sexual",
    "isSexAndLabour": "several",
    "isForcedMarriage": "forced_marriage",
    "isForcedMilitary": "forced_military",
    "isOrganRemoval": "organ_removal",
    "isSlaveryAndPractices": "slavery_like",
    "isOtherExploit": "other",
}
UNKNOWN = "unknown"
_SEX = {"Feminine": "female", "Masculine": "male", "NonSpecifiedUnknown": UNKNOWN, None: UNKNOWN}


@dataclass(frozen=True, slots=True, repr=False)
class Record:
    """One person's variables, and when they came. Holds plaintext."""

    quarter: Quarter
    content: StatisticsResearch


@dataclass(frozen=True, slots=True, order=True)
class Headings:
    """Where a person stands in the tables: one category under each heading."""

    quarter: Quarter
    corridor: str
    """`AL-IT`, from the citizenship to the country of exploitation, or `unknown`."""
    exploitation: str
    age: str
    sex: str


async def read_records(
    core: Core, connection: AsyncConnection, *, lock: bool = False
) -> list[Record]:
    """Every record that may be counted today. With `lock`, nobody of them withdraws before the
    transaction ends."""
    rows = (
        await connection.execute(
            select(
                inbox.c.sender,
                inbox.c.case_ref,
                inbox.c.business_id,
                inbox.c.grant,
                inbox.c.received_at,
                inbox_section.c.scope,
                inbox_section.c.content,
            )
            .join(inbox_section, inbox_section.c.message == inbox.c.id)
            .where(
                inbox_section.c.section == SECTION,
                inbox_section.c.purpose == Purpose.STATISTICS.value,
                inbox_section.c.content.is_not(None),
                inbox.c.grant.is_not(None),
                inbox.c.state.not_in(_GONE),
            )
            .order_by(inbox.c.position)
        )
    ).all()
    grants = await load_grants(connection, {row.grant for row in rows}, lock=lock)
    frozen = {
        (row.by, row.case_ref, row.about)
        for row in await connection.execute(
            select(restriction.c.by, restriction.c.case_ref, restriction.c.about).where(
                restriction.c.lifted_at.is_(None)
            )
        )
    }
    today = core.now().date()
    newest = {
        (row.sender, row.case_ref): row
        for row in rows
        if row.grant in grants
        and _covers(grants[row.grant], row.scope, today)
        and not frozen & {(row.sender, row.case_ref, about) for about in (None, row.business_id)}
    }
    contents = await core.vault.read_many(connection, [row.content for row in newest.values()])
    return [
        Record(
            Quarter.of(row.received_at.date()),
            StatisticsResearch.from_json(contents[row.content]),
        )
        for row in newest.values()
    ]


def _covers(grant: GrantState, scope: str | None, today: date) -> bool:
    return scope in grant.live() and grant.valid_from <= today <= grant.until


def headings(records: Sequence[Record]) -> list[Headings]:
    """Each person under her categories. Several forms of exploitation are a form of their own, so
    that nobody is counted twice and a table adds up."""
    return [
        Headings(
            record.quarter,
            _corridor(record.content),
            _exploitation(record.content),
            (record.content.age_band or UNKNOWN).replace("--", "-"),
            _SEX.get(record.content.gender, "other"),
        )
        for record in records
    ]


def _corridor(content: StatisticsResearch) -> str:
    if content.citizenship is None or content.country_of_exploitation is None:
        return UNKNOWN
    return f"{content.citizenship}-{content.country_of_exploitation}"


def _exploitation(content: StatisticsResearch) -> str:
    forms = {_EXPLOITATION[form] for form in content.forms_of_exploitation}
    return UNKNOWN if not forms else forms.pop() if len(forms) == 1 else "several"
