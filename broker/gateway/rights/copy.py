"""A person's copy of her data (GDPR Art 15): what is held, who got what, on which basis.

For a machine and for a reader. What is others' is left out as the sections declare it, and said to
be. Nothing of it is kept here: it is made anew each time that she asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.cases.naming import require_known
from broker.gateway.consent.receipt import Line, Receipt, isolated, words_of
from broker.gateway.consent.record import Party
from broker.gateway.core import Core
from broker.gateway.rights.ledger import Disclosed, of_case
from broker.gateway.store.bulk import padded
from broker.gateway.store.tables import inbox, inbox_section, right_told
from schemas.base import instant_text
from schemas.bodies.rights import DisclosureList
from schemas.codes.labels import place_label, section_label
from schemas.message import Message
from schemas.sections import section_content, validate_section
from schemas.sections.others import own_data
from schemas.sections.words import in_words

_BASES = {
    "eu-gdpr:A45": "adequate",
    "eu-gdpr:A46": "agreement",
    "eu-gdpr:A49-1-a": "consent",
    "eu-gdpr:A49": "last_resort",
    "national-law": "national",
    "none-needed": "none",
}


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """One section as it lies here."""

    section: str
    source: str
    """The participant that it came from; our own case system if it is ours."""
    at: datetime | None
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Further:
    """Somebody got something from a partner, as that partner answered when she asked."""

    told_by: str
    recipient: str
    sections: tuple[str, ...]
    purpose: str | None
    on: date
    basis: str


@dataclass(frozen=True, slots=True, repr=False)
class Copy:
    """What she is given. Holds plaintext."""

    case: str
    made_at: datetime
    held: tuple[Held, ...]
    left_out: tuple[str, ...]
    disclosed: tuple[Disclosed, ...]
    further: tuple[Further, ...]
    parties: Mapping[str, Party]


async def copy_of(
    core: Core,
    case: str,
    *,
    ours: Mapping[str, Mapping[str, Any]],
    texts_read: bool,
) -> Copy:
    """Her copy, as of now.

    Args:
        case: Our case number, or `partner:number`.
        ours: Sections as our own case system has them, which the gateway does not keep.
        texts_read: A worker has read what people wrote, and it names nobody else.

    Raises:
        NotFound: Nothing is here of a case of this number, nor given from our case system.
        SchemaRefused: A section of ours is none.
    """
    async with core.database.read() as connection:
        if not ours:
            await require_known(core, connection, case)
        disclosed = await of_case(connection, case)
        received = await _received(core, connection, disclosed)
        further = await _further(core, connection, case)
    own = [
        Held(name, core.participant, None, section_content(validate_section(name, content)))
        for name, content in ours.items()
    ]
    held, left_out = [], set()
    for one in [*own, *received]:
        content, gone = own_data(one.section, one.content, texts_read=texts_read)
        left_out |= set(gone)
        held.append(Held(one.section, one.source, one.at, content))
    trusted = core.trusted()
    partners = {one.partner for one in disclosed} | {core.participant}
    partners |= {name for one in further for name in (one.told_by, one.recipient)}
    return Copy(
        case=case,
        made_at=core.now(),
        held=tuple(held),
        left_out=tuple(sorted(left_out)),
        disclosed=tuple(disclosed),
        further=tuple(further),
        parties={name: Party.of(trusted.participant(name), name) for name in sorted(partners)},
    )


async def _received(
    core: Core, connection: AsyncConnection, disclosed: Sequence[Disclosed]
) -> list[Held]:
    """What partners sent and is still here, the newest of each section and partner."""
    ids = list(dict.fromkeys(one.message for one in disclosed if one.way == "received"))
    if not ids:
        return []
    rows = (
        await connection.execute(
            select(inbox_section.c.section, inbox_section.c.content, inbox.c.sender)
            .add_columns(inbox.c.received_at)
            .join(inbox, inbox.c.id == inbox_section.c.message)
            .where(
                inbox_section.c.message.in_(padded(ids)),
                inbox_section.c.content.is_not(None),
                inbox.c.state.not_in(("stopped", "erased")),
            )
            .order_by(inbox.c.position)
        )
    ).all()
    newest = {(row.sender, row.section): row for row in rows}
    plain = await core.vault.read_many(connection, [row.content for row in newest.values()])
    return [
        Held(row.section, row.sender, row.received_at, json.loads(plain[row.content]))
        for row in newest.values()
    ]


async def _further(core: Core, connection: AsyncConnection, case: str) -> list[Further]:
    """What partners answered to our own questions for her: the newest list of each."""
    rows = (
        await connection.execute(
            select(inbox.c.sender, inbox.c.content)
            .join(right_told, right_told.c.message == inbox.c.in_reply_to)
            .where(
                right_told.c.own_case == case,
                right_told.c.kind == "access",
                inbox.c.type == "disclosure.list",
                inbox.c.content.is_not(None),
                inbox.c.state.not_in(("stopped", "erased")),
            )
            .order_by(inbox.c.position)
        )
    ).all()
    newest = {row.sender: row.content for row in rows}
    plain = await core.vault.read_many(connection, list(newest.values()))
    return [
        Further(
            told_by=partner,
            recipient=one.recipient,
            sections=one.sections,
            purpose=one.purpose,
            on=one.on,
            basis=one.basis,
        )
        for partner, ref in newest.items()
        for one in DisclosureList.model_validate_json(
            json.dumps(Message.from_json(plain[ref]).body)
        ).disclosures
    ]


def as_json(copy: Copy) -> dict[str, Any]:
    """For a machine; the names of sections, fields and codes are the wire's."""
    return {
        "case": copy.case,
        "made_at": instant_text(copy.made_at),
        "data": [
            {
                "section": one.section,
                "from": one.source,
                "at": None if one.at is None else instant_text(one.at),
                "content": dict(one.content),
            }
            for one in copy.held
        ],
        "left_out": list(copy.left_out),
        "disclosures": [as_row(one) for one in copy.disclosed],
        "further": [
            {
                "told_by": one.told_by,
                "recipient": one.recipient,
                "sections": list(one.sections),
                "purpose": one.purpose,
                "on": one.on.isoformat(),
                "basis": one.basis,
            }
            for one in copy.further
        ],
        "parties": {name: asdict(party) for name, party in copy.parties.items()},
    }


def as_row(one: Disclosed) -> dict[str, Any]:
    """One disclosure for a machine."""
    return {
        "at": instant_text(one.at),
        "way": "onward" if one.onward else one.way,
        "partner": one.partner,
        "section": one.section or None,
        "purpose": one.purpose or None,
        "consent": one.consent,
        "processing_basis": one.processing_basis or None,
        "transfer_basis": one.transfer_basis or None,
        "type": one.type,
        "message": str(one.message),
        "grant": None if one.grant is None else str(one.grant),
        "recorded": one.recorded,
    }


def as_paper(copy: Copy, language: str) -> Receipt:
    """For her: in plain words of one of our languages.

    Raises:
        NotFound: Not one of them.
    """
    words = words_of(language, __package__)
    usual = words_of(language)

    def who(name: str) -> str:
        party = copy.parties[name]
        return f"{isolated(party.name)} ({place_label(party.country, language)})"

    parts: list[tuple[str, tuple[Line, ...]]] = []
    for one in copy.held:
        lines = [
            Line(f"{label}: {isolated(text)}", listed=True)
            for label, text in in_words(one.section, one.content, language)
        ]
        if one.at is not None:
            day = isolated(one.at.date().isoformat())
            lines.insert(0, Line(words["came_from"].format(who=who(one.source), day=day)))
        heading = words["held"].format(section=section_label(one.section, language))
        parts.append((heading, tuple(lines)))
    if not copy.held:
        parts.append((words["title"], (Line(words["nothing_held"]),)))
    told = []
    for item in copy.disclosed:
        said = {"sent": "passed" if item.onward else "given"}.get(item.way, "received")
        told.append(
            Line(
                words[said].format(
                    day=isolated(item.at.date().isoformat()),
                    who=who(item.partner),
                    section=section_label(item.section, language) if item.section else "–",
                    purpose=usual["purpose"][item.purpose] if item.purpose else "–",
                ),
                listed=True,
            )
        )
        if item.consent != "consent":
            told.append(Line(words["without_consent"]))
    told += [
        Line(
            words["further"].format(
                day=isolated(item.on.isoformat()),
                by=who(item.told_by),
                who=who(item.recipient),
                section=", ".join(section_label(name, language) for name in item.sections) or "–",
                purpose=usual["purpose"][item.purpose] if item.purpose else "–",
            ),
            listed=True,
        )
        for item in copy.further
    ]
    parts.append((words["who"], tuple(told) or (Line(words["nobody"]),)))
    bases = {(item.partner, item.transfer_basis) for item in copy.disclosed if item.way == "sent"}
    abroad = [
        Line(
            words["safeguard"].format(who=who(partner), how=words["basis"][_basis(basis)]),
            listed=True,
        )
        for partner, basis in sorted(bases)
        if basis and basis != "none-needed"
    ]
    if abroad:
        parts.append((words["abroad"], tuple(abroad)))
    left = words["left_out_why"] if copy.left_out else words["nothing_left_out"]
    parts.append((words["left_out"], (Line(left),)))
    rights = tuple(Line(right, listed=True) for right in usual["rights"])
    parts.append((words["rights_title"], rights))
    return Receipt(
        language=language,
        title=words["title"],
        safe=words["safe"],
        state=words["state"],
        parts=tuple(parts),
        number=isolated(copy.made_at.date().isoformat()),
    )


def _basis(basis: str) -> str:
    return next(word for start, word in _BASES.items() if basis.startswith(start))
