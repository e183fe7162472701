"""What a person asks for, told to everyone who has her data, and followed until the last answers.

A correction goes to those who got the section (GDPR Art 19), under the consent that it went under;
erasure, restriction and the request for her data (Art 15) to everyone. Whoever passed it on asks further in the same way. An answer
that does not come is overdue like any other: `broker.gateway.deadlines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.api.views import moment
from broker.gateway.core import Core
from broker.gateway.rights import restriction
from broker.gateway.rights.ledger import Disclosed, of_case
from broker.gateway.send.composer import Composer
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.sender import Sender
from broker.gateway.store.tables import inbox, outbox, right_told
from schemas.base import ProtectedModel
from schemas.consent import Purpose
from schemas.errors import NotFound, Refused, SchemaRefused
from schemas.message import CaseRef, EachObject, Message, SectionId

ACCEPTED = {"rectify.ack", "erase.ack", "referral.received", "access.reply"}


class RightDraft(ProtectedModel):
    """What she asks for, about a case of ours."""

    kind: Literal["access", "rectify", "erase", "restrict", "lift"]
    case: CaseRef
    ours: bool = False
    """It is our case number, although a partner has used the same."""
    ground: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None
    """Of an erasure or a restriction."""
    sections: Annotated[dict[SectionId, dict[str, Any]], EachObject] = Field(default_factory=dict)
    """The right version of what was wrong."""
    identity_proved: bool = False
    """Of a request for her data: somebody made sure, safely, that it is she who asks."""
    delivery: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] = "handed_over"
    """How she wants to get it (code list `access_delivery`)."""


class Asking:
    """Asks everyone."""

    def __init__(self, core: Core, composer: Composer, sender: Sender) -> None:
        self._core = core
        self._composer = composer
        self._sender = sender

    async def ask(self, wanted: RightDraft, *, worker: str) -> UUID:
        """Tell everyone who has it, each on the record; what cannot be sent is recorded with why.

        Raises:
            NotFound: Nobody got anything of this case from here.
            SchemaRefused: A correction without sections; her data for somebody who is not known
                to be her.
        """
        core, asked, now = self._core, uuid4(), self._core.now()
        if (wanted.kind == "rectify") != bool(wanted.sections):
            raise SchemaRefused(where=("sections",))
        if wanted.kind == "access" and not wanted.identity_proved:
            raise SchemaRefused(where=("identity_proved",))
        async with core.database.begin() as connection:
            sent = [one for one in await of_case(connection, wanted.case) if one.way == "sent"]
            drafts = await self._drafts(connection, wanted, sent)
            if wanted.kind == "restrict":
                await restriction.freeze(
                    connection,
                    message=asked,
                    by=core.participant,
                    case_ref=wanted.case,
                    about=None,
                    now=now,
                )
            elif wanted.kind == "lift":
                await restriction.thaw(
                    connection, by=core.participant, case_ref=wanted.case, about=None, now=now
                )
        if not drafts and wanted.kind in ("access", "rectify", "erase"):
            raise NotFound("nobody got this from here")
        rows = []
        for number, draft in enumerate(drafts):
            message, code = None, None
            try:
                message = (await self._sender.send(await self._composer(draft))).id
            except Refused as error:
                code = error.code
            rows.append(
                {
                    "asked": asked,
                    "partner": draft.to,
                    "number": number,
                    "kind": wanted.kind,
                    "own_case": wanted.case,
                    "message": message,
                    "code": code,
                    "worker": worker,
                    "at": now,
                }
            )
        if rows:
            async with core.database.begin() as connection:
                await connection.execute(insert(right_told), rows)
        return asked

    async def _drafts(
        self, connection: AsyncConnection, wanted: RightDraft, sent: Sequence[Disclosed]
    ) -> list[MessageDraft]:
        partners = list(dict.fromkeys(one.partner for one in sent))
        if wanted.kind == "rectify":
            return _corrections(wanted, sent)
        if wanted.kind == "lift":
            return [
                MessageDraft(type="restrict.lift", to=to, case_ref=wanted.case, thread=thread)
                for to, thread in await self._restricted(connection, wanted.case)
            ]
        word = f"{wanted.kind}.notice"
        body: dict[str, Any] = {"ground": wanted.ground} if wanted.ground else {}
        if wanted.kind == "access":
            word, body = "access.request", {"identity_proved": True, "delivery": wanted.delivery}
        return [MessageDraft(type=word, to=to, case_ref=wanted.case, body=body) for to in partners]

    async def _restricted(self, connection: AsyncConnection, case: str) -> list[tuple[str, UUID]]:
        """Whom we asked to freeze it, and in which exchange."""
        rows = await connection.execute(
            select(right_told.c.partner, outbox.c.thread)
            .join(outbox, outbox.c.id == right_told.c.message)
            .where(right_told.c.own_case == case, right_told.c.kind == "restrict")
            .order_by(right_told.c.at)
        )
        return list({row.partner: (row.partner, row.thread) for row in rows}.values())

    async def status(self, case: str) -> list[dict[str, Any]]:
        """Of everyone who was asked: what they answered, or that they have not."""
        core = self._core
        async with core.database.read() as connection:
            told = (
                await connection.execute(
                    select(right_told, outbox.c.state, outbox.c.answer_by)
                    .outerjoin(outbox, outbox.c.id == right_told.c.message)
                    .where(right_told.c.own_case == case)
                    .order_by(right_told.c.at, right_told.c.number)
                )
            ).all()
            answers = await self._answers(connection, [row.message for row in told])
        return [
            {
                "asked": str(row.asked),
                "kind": row.kind,
                "partner": row.partner,
                "at": moment(row.at),
                "message": None if row.message is None else str(row.message),
                "sent": row.state or row.code,
                "answer": answers.get(row.message, {}).get("outcome"),
                "basis": answers.get(row.message, {}).get("basis"),
                "due_at": moment(row.answer_by),
                "open": row.message not in answers and row.kind != "lift",
            }
            for row in told
        ]

    async def _answers(
        self, connection: AsyncConnection, messages: Sequence[UUID | None]
    ) -> dict[UUID | None, dict[str, Any]]:
        wanted = [message for message in messages if message is not None]
        if not wanted:
            return {}
        rows = (
            await connection.execute(
                select(inbox.c.in_reply_to, inbox.c.content).where(
                    inbox.c.in_reply_to.in_(wanted),
                    inbox.c.type.in_(sorted(ACCEPTED)),
                    inbox.c.content.is_not(None),
                )
            )
        ).all()
        plain = await self._core.vault.read_many(connection, [row.content for row in rows])
        found: dict[UUID | None, dict[str, Any]] = {}
        for row in rows:
            body = Message.from_json(plain[row.content]).body
            if not body.get("more_follow"):
                found[row.in_reply_to] = {"outcome": _outcome(body), **body}
        return found


def _outcome(body: dict[str, Any]) -> str:
    return "partly" if body.get("withheld") else "done"


def _corrections(wanted: RightDraft, sent: Sequence[Disclosed]) -> list[MessageDraft]:
    """For each recipient: the sections that it got, under the consent that they went under."""
    newest: dict[tuple[str, str], Disclosed] = {
        (one.partner, one.section): one for one in sent if one.section in wanted.sections
    }
    groups: dict[tuple[str, UUID | None, str, UUID], list[str]] = {}
    for (partner, section), one in newest.items():
        groups.setdefault((partner, one.grant, one.purpose, one.business_id), []).append(section)
    return [
        MessageDraft(
            type="rectify.notice",
            to=partner,
            case_ref=wanted.case,
            grant=grant,
            purpose=Purpose(purpose),
            sections={name: wanted.sections[name] for name in names},
            body={"corrects": str(business_id), "sections": sorted(names)},
        )
        for (partner, grant, purpose, business_id), names in groups.items()
    ]
