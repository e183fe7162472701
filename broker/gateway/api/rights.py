"""`/v1/rights`: the ledger of a person's disclosures, and her copy of her data.

Case numbers are no part of a URL, so each of these is asked for in a body.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from broker.gateway.api.guard import Worker
from broker.gateway.api.messages import parse, stored_view
from broker.gateway.api.views import moment
from broker.gateway.cases.naming import BY_NOTHING, BY_PARTNER, require_known, require_named
from broker.gateway.consent.receipt import as_html, as_text
from broker.gateway.erasure import holds
from broker.gateway.parts import Parts
from broker.gateway.rights.asking import RightDraft
from broker.gateway.rights.copy import as_json, as_paper, as_row, copy_of
from broker.gateway.rights.ledger import of_case
from schemas.base import ProtectedModel
from schemas.errors import NotFound
from schemas.evidence import KEPT_BASIS
from schemas.message import SectionId

Case = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,66}:)?[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]
"""Our case number, or `partner:number` of a case that has none here."""


class CaseRequest(ProtectedModel):
    """About whom."""

    case: Case


class HoldRequest(ProtectedModel):
    """What is to be kept, and why."""

    about: Case
    """A case as above, or the business id of one referral."""
    basis: Annotated[str, Field(pattern=KEPT_BASIS)]
    ours: bool = False
    """It is our case number, although a partner has used the same."""


class CopyRequest(CaseRequest):
    """A copy of her data."""

    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"
    sections: dict[SectionId, dict[str, Any]] = Field(default_factory=dict)
    """As our case system has them: the gateway keeps what came, not what is ours."""
    texts_read: bool = False
    """A worker has read what people wrote, and nobody else is named in it."""


class AnswerRequest(ProtectedModel):
    """Which request for access to answer."""

    message: UUID
    sections: dict[SectionId, dict[str, Any]] = Field(default_factory=dict)
    """As our case system has them."""
    texts_read: bool = False
    """A worker has read what people wrote, and nobody else is named in it."""


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.post("/rights/ledger")
    async def ledger(request: Request) -> dict[str, Any]:
        """Who got which section of hers, when, on which basis: sent, received and passed on."""
        wanted = await parse(request, CaseRequest)
        async with core.database.read() as connection:
            await require_known(core, connection, wanted.case)
            found = await of_case(connection, wanted.case)
        return {"disclosures": [as_row(one) for one in found]}

    @routes.post("/rights/copy")
    async def copy(request: Request) -> dict[str, Any]:
        """Her copy: for a machine, and to be printed or read out in her language."""
        wanted = await parse(request, CopyRequest)
        made = await copy_of(core, wanted.case, ours=wanted.sections, texts_read=wanted.texts_read)
        paper = as_paper(made, wanted.language)
        return {"copy": as_json(made), "html": as_html(paper), "text": as_text(paper)}

    @routes.post("/rights/ask")
    async def ask(request: Request, worker: Worker) -> dict[str, Any]:
        """Tell everyone who has it: give her a copy, correct it, erase it, freeze it, use it again."""
        wanted = await parse(request, RightDraft)
        await require_named(core, wanted.case, ours=wanted.ours, otherwise=BY_NOTHING)
        asked = await parts.asking.ask(wanted, worker=worker)
        return {"asked": str(asked)}

    @routes.post("/rights/answer")
    async def answer(request: Request) -> dict[str, Any]:
        """Answer a partner whose person asked for her data: made of what is held here, without
        what is others'. Answered again, only what is missing is sent."""
        wanted = await parse(request, AnswerRequest)
        made = await parts.answering.answer(
            wanted.message, ours=wanted.sections, texts_read=wanted.texts_read
        )
        return {
            "messages": [stored_view(one) for one in made.messages],
            "sections": list(made.sections),
            "withheld": list(made.withheld),
        }

    @routes.post("/rights/status")
    async def status(request: Request) -> dict[str, Any]:
        """Who was asked for what, what they answered, who has not."""
        case = (await parse(request, CaseRequest)).case
        async with core.database.read() as connection:
            await require_known(core, connection, case)
        found = await parts.asking.status(case)
        return {"told": found, "open": sum(row["open"] for row in found)}

    @routes.post("/rights/holds")
    async def hold(request: Request, worker: Worker) -> dict[str, Any]:
        """Keep a case, or one referral, on a ground, whoever asks for its erasure."""
        wanted = await parse(request, HoldRequest)
        await require_named(core, wanted.about, ours=wanted.ours, otherwise=BY_PARTNER)
        await holds.place(core, wanted.about, wanted.basis, worker=worker)
        return {"about": wanted.about, "basis": wanted.basis}

    @routes.post("/rights/holds/take-off")
    async def take_off(request: Request, worker: Worker) -> dict[str, Any]:
        """It need not be kept any more: what was asked for meanwhile is erased."""
        about = (await parse(request, CaseRequest)).case
        if not await holds.take_off(core, about, worker=worker):
            raise NotFound
        return {"about": about}

    @routes.get("/rights/holds")
    async def held() -> dict[str, Any]:
        """What is kept here on a ground."""
        async with core.database.read() as connection:
            rows = await holds.all_holds(connection)
        return {
            "holds": [
                {
                    "about": row.about,
                    "basis": row.basis,
                    "worker": row.worker,
                    "since": moment(row.since),
                }
                for row in rows
            ]
        }

    return routes
