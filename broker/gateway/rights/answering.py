"""A partner's person asks for her data (`access.request`): the answer, made of what is held here.

Made of two things: the list of who else got something of hers from here, and the sections that are
here, without what is others'. A section goes back under the consent that it came under, or under
another one that stands between the two; what no consent covers, or a rule holds back, is not sent
but named, and reaches her as a copy of our own (`copy`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.core import Core
from broker.gateway.rights.copy import Copy, Held, copy_of
from broker.gateway.rights.ledger import Disclosed
from broker.gateway.send.composer import Composer
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Sender, Stored
from broker.gateway.store import grants as grant_store
from broker.gateway.store.dialect import AnyRow
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import grant as grant_table
from broker.gateway.store.tables import inbox, outbox
from schemas.consent import Purpose
from schemas.errors import NotFound, NotPermitted, Refused
from schemas.states import MACHINES

REQUEST, LIST, REPLY = "access.request", "disclosure.list", "access.reply"
MOST_DISCLOSURES = 512
_ANSWERS = UUID("5b3f2a62-2d5e-5f0c-9f57-5d2a5b0f6a11")
"""Namespace of the answers' business ids: answered again, what was sent is not sent twice."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was sent, and which sections were not."""

    messages: tuple[Stored, ...]
    sections: tuple[str, ...]
    withheld: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Covered:
    """Sections that may go together: one consent, one purpose."""

    grant: UUID
    purpose: Purpose
    sections: dict[str, Mapping[str, Any]]


class Answering:
    """Answers what was asked of us."""

    def __init__(self, core: Core, composer: Composer, sender: Sender) -> None:
        self._core = core
        self._composer = composer
        self._sender = sender

    async def answer(
        self, request: UUID, *, ours: Mapping[str, Mapping[str, Any]], texts_read: bool
    ) -> Answered:
        """Answer one request, whole. If we died in between, only what is missing is sent.

        Args:
            ours: Sections as our own case system has them.
            texts_read: A worker has read what people wrote, and it names nobody else.

        Raises:
            NotFound: No such request here.
            NotPermitted: It was answered.
            Refused: Nothing may be answered; nothing was sent.
        """
        core = self._core
        async with core.database.read() as connection:
            asked = await _request(connection, request)
            exchange = await threads.require(connection, asked.thread)
            grants = await _between(core, connection, asked)
        if exchange.state in MACHINES[exchange.machine].terminal:
            raise NotPermitted("answered already")
        made = await copy_of(
            core, f"{asked.sender}:{asked.case_ref}", ours=ours, texts_read=texts_read
        )
        groups, withheld = _covered(made.held, grants)
        usable: list[_Covered] = []
        for group in groups:
            left, held_back = await self._permitted(asked, group)
            withheld |= held_back
            if left.sections:
                usable.append(left)
        given = {name for group in usable for name in group.sections}
        withheld -= given
        drafts = [self._list(asked, made), *self._replies(asked, made, usable, withheld)]
        sent = await self._sent(drafts)
        stored = [
            await self._sender.send(await self._composer(draft))
            for draft in drafts
            if draft.business_id not in sent
        ]
        return Answered(tuple(stored), tuple(sorted(given)), tuple(sorted(withheld)))

    async def _permitted(self, asked: AnyRow, group: _Covered) -> tuple[_Covered, set[str]]:
        """What the content rules let go back, and what they hold back."""
        sections = dict(group.sections)
        while sections:
            draft = _draft(asked, REPLY, number=0, body=_body(), group=group, sections=sections)
            try:
                decision = await self._composer.why_not(draft)
            except Refused:  # before the rules were asked, and so about all of them
                sections = {}
                break
            if decision.allowed:
                break
            said = {part for refusal in decision.refusals for part in refusal.where.split(".")}
            # A refusal that names no section is about all of them.
            for name in sections.keys() & said or set(sections):
                del sections[name]
        return (
            _Covered(group.grant, group.purpose, sections),
            group.sections.keys() - sections.keys(),
        )

    def _list(self, asked: AnyRow, made: Copy) -> MessageDraft:
        """Who else got something from here."""
        onward = [
            one for one in made.disclosed if one.way == "sent" and one.partner != asked.sender
        ]
        rows = _grouped(onward)
        body = {
            "disclosures": rows[:MOST_DISCLOSURES],
            "complete": len(rows) <= MOST_DISCLOSURES and all(one.recorded for one in onward),
        }
        return _draft(asked, LIST, number=0, body=body)

    def _replies(
        self, asked: AnyRow, made: Copy, groups: Sequence[_Covered], withheld: set[str]
    ) -> list[MessageDraft]:
        """One message for each consent and purpose; the last says what is not in any of them."""
        redacted = bool(made.left_out)
        drafts = [
            _draft(
                asked,
                REPLY,
                number=number,
                body=_body(redacted=redacted, purposes=[group.purpose], more=True),
                group=group,
                sections=group.sections,
            )
            for number, group in enumerate(groups[:-1], start=1)
        ]
        last = groups[-1] if groups else None
        purposes = [] if last is None else [last.purpose]
        body = _body(redacted=redacted, purposes=purposes, withheld=sorted(withheld))
        drafts.append(
            _draft(
                asked,
                REPLY,
                number=len(groups) or 1,
                body=body,
                group=last,
                sections={} if last is None else last.sections,
            )
        )
        return drafts

    async def _sent(self, drafts: Sequence[MessageDraft]) -> set[UUID]:
        """Those that went before."""
        ids = [draft.business_id for draft in drafts]
        async with self._core.database.read() as connection:
            return set(
                await connection.scalars(
                    select(outbox.c.business_id).where(outbox.c.business_id.in_(ids))
                )
            )


async def _request(connection: AsyncConnection, request: UUID) -> AnyRow:
    row: AnyRow | None = (
        await connection.execute(
            select(inbox).where(
                inbox.c.id == request,
                inbox.c.type == REQUEST,
                inbox.c.state.not_in(("stopped", "erased")),
            )
        )
    ).first()
    if row is None:
        raise NotFound("no such request for access")
    return row


async def _between(core: Core, connection: AsyncConnection, asked: AnyRow) -> list[GrantState]:
    """Consents of this person between the two, theirs to us first."""
    known = await connection.execute(
        select(inbox.c.reference, inbox.c.recipient_case_ref).where(
            inbox.c.sender == asked.sender, inbox.c.case_ref == asked.case_ref
        )
    )
    ours = {name for row in known for name in row if name is not None}
    theirs_to_us = and_(
        grant_table.c.sender == asked.sender,
        grant_table.c.recipient == core.participant,
        grant_table.c.case_ref == asked.case_ref,
    )
    ours_to_them = and_(
        grant_table.c.sender == core.participant,
        grant_table.c.recipient == asked.sender,
        grant_table.c.case_ref.in_(sorted(ours)),
    )
    ids = await connection.scalars(select(grant_table.c.id).where(or_(theirs_to_us, ours_to_them)))
    found = await grant_store.load_grants(connection, ids)
    today = core.now().date()
    standing = [one for one in found.values() if one.valid_from <= today <= one.until]
    return sorted(standing, key=lambda one: (one.sender != asked.sender, str(one.id)))


def _covered(held: Sequence[Held], grants: Sequence[GrantState]) -> tuple[list[_Covered], set[str]]:
    """What is held, by the consents that let it go back; and what none of them covers."""
    groups: dict[tuple[UUID, Purpose, int], _Covered] = {}
    withheld: set[str] = set()
    met: dict[str, int] = {}
    for one in held:
        number = met[one.section] = met.get(one.section, -1) + 1
        found = next(
            (
                (grant.id, Purpose(names[0]))
                for grant in grants
                for names in sorted(filter(None, grant.live().values()))
                if names[1] == one.section
            ),
            None,
        )
        if found is None:
            withheld.add(one.section)
            continue
        # A section that came from several is said several times: one of each in a message.
        group = groups.setdefault((*found, number), _Covered(*found, {}))
        group.sections[one.section] = one.content
    return list(groups.values()), withheld


def _grouped(disclosed: Sequence[Disclosed]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for one in disclosed:
        basis = one.processing_basis if one.consent == "consent" else one.consent
        key = (one.partner, one.purpose, one.at.date().isoformat(), basis or "none")
        rows.setdefault(key, []).append(one.section)
    return [
        {
            "recipient": recipient,
            "sections": sorted({name for name in names if name}),
            "purpose": purpose or None,
            "on": on,
            "basis": basis,
        }
        for (recipient, purpose, on, basis), names in rows.items()
    ]


def _body(
    *,
    redacted: bool = True,
    purposes: Sequence[Purpose] = (),
    withheld: Sequence[str] = (),
    more: bool = False,
) -> dict[str, Any]:
    return {
        "third_parties_redacted": redacted,
        "purposes": [purpose.value for purpose in purposes],
        "withheld": list(withheld),
        "more_follow": more,
    }


def _draft(
    asked: AnyRow,
    word: str,
    *,
    number: int,
    body: dict[str, Any],
    group: _Covered | None = None,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
) -> MessageDraft:
    return MessageDraft(
        type=word,
        to=asked.sender,
        case_ref=asked.recipient_case_ref or asked.reference or asked.case_ref,
        recipient_case_ref=asked.case_ref,
        thread=asked.thread,
        in_reply_to=asked.id,
        business_id=uuid5(_ANSWERS, f"{asked.id} {word} {number}"),
        grant=None if group is None else group.grant,
        purpose=None if group is None else group.purpose,
        sections={name: dict(content) for name, content in (sections or {}).items()},
        body=body,
    )
