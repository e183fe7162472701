"""`/v1/consents`, `/v1/erasures`, `/v1/exceptions`, `/v1/exclusions`: what a person said."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from sqlalchemy import select

from broker.gateway.api import views
from broker.gateway.api.guard import Worker
from broker.gateway.api.messages import parse, stored_view
from broker.gateway.cases.naming import BY_BUSINESS_ID, require_named
from broker.gateway.consent import reading
from broker.gateway.consent.receipt import as_html, as_text, receipt
from broker.gateway.consent.record import as_json_ld
from broker.gateway.parts import Parts
from broker.gateway.send.drafts import ConsentDraft, ExceptionDraft, RenewalDraft, WithdrawalDraft
from broker.gateway.store import grants as store
from broker.gateway.store.tables import erasure, erasure_order, exception_request, outbox
from broker.rules.content import is_exclusion
from schemas.base import ParticipantId, ProtectedModel
from schemas.errors import NotFound
from schemas.message import CaseRef


class ConsentSearch(ProtectedModel):
    """Which of these cases may already be told to whom. In a body, since case numbers are no part
    of a URL."""

    to: ParticipantId
    case_refs: Annotated[tuple[CaseRef, ...], Field(min_length=1, max_length=1000)]


_PARTICIPANT = re.compile(r"[a-z]{2,3}\.[a-z0-9-]{1,63}")


def _whom(text: str) -> str:
    if _PARTICIPANT.fullmatch(text) is None and not is_exclusion(text):
        raise ValueError("neither a participant nor words for several")
    return text


class ExclusionRequest(ProtectedModel):
    """Whom nothing about a case may reach."""

    about: Annotated[str, Field(min_length=1, max_length=64)]
    """A case number of ours, or the business id of a referral that we received."""
    participant: Annotated[str, AfterValidator(_whom)]
    """A participant, or `authorities:AL`, `police:AL`, `relative:father`; see
    `broker.rules.content.exclusions`. An open protection claim is kept as `authorities:…`."""
    ours: bool = False
    """It is our case number, although a partner has used the same."""


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.post("/consents")
    async def give(request: Request) -> dict[str, Any]:
        """Record a consent; the recipient is told sealed, the hub sees blinded scopes."""
        grant = await parts.consents.give(await parse(request, ConsentDraft))
        return {"grant": str(grant)}

    @routes.get("/consents")
    async def consents() -> dict[str, Any]:
        """Grants that we gave, and that were given to us."""
        async with core.database.read() as connection:
            found = await store.all_grants(connection)
        return {"consents": [views.consent(state) for state in found]}

    @routes.post("/consents/search")
    async def search(request: Request) -> dict[str, Any]:
        """Grants that we gave to one recipient about the cases named, also those that ended."""
        wanted = await parse(request, ConsentSearch)
        async with core.database.read() as connection:
            found = await store.given_for(connection, core.participant, wanted.to, wanted.case_refs)
        return {"consents": [views.consent(state) for state in found]}

    @routes.get("/consents/{grant}")
    async def one(grant: UUID) -> dict[str, Any]:
        async with core.database.read() as connection:
            return views.consent(await store.require_grant(connection, grant))

    @routes.get("/consents/{grant}/record")
    async def record(grant: UUID) -> dict[str, Any]:
        """The person's record as JSON-LD (ISO/IEC TS 27560), with what became of it."""
        told = await reading.read(core, grant)
        return as_json_ld(
            told.record,
            controller=told.controller,
            recipient=told.recipient,
            status=told.status,
            removed=told.removed,
        )

    @routes.get("/consents/{grant}/receipt")
    async def paper(grant: UUID, language: str) -> dict[str, str]:
        """The person's copy, in English, French or Arabic: to print, and to read out."""
        told = await reading.read(core, grant)
        found = receipt(
            told.record,
            language=language,
            controller=told.controller,
            recipient=told.recipient,
            status=told.status,
            removed=told.removed,
            number=str(grant),
        )
        return {"html": as_html(found), "text": as_text(found)}

    @routes.post("/consents/{grant}/renew")
    async def renew(request: Request, grant: UUID) -> dict[str, Any]:
        """She was asked again and said yes to the same: a grant of its own."""
        return {"grant": str(await parts.consents.renew(grant, await parse(request, RenewalDraft)))}

    @routes.post("/consents/{grant}/withdraw")
    async def withdraw(request: Request, grant: UUID) -> dict[str, Any]:
        """Withdraw or narrow. In force here before the answer, with the hub down too."""
        draft = await parse(request, WithdrawalDraft)
        ordered = await parts.withdrawals.order(grant, draft.scopes, reason=draft.reason)
        return {"message": str(ordered.message), "thread": str(ordered.thread)}

    @routes.get("/erasures/{about}")
    async def erasures(about: UUID) -> dict[str, Any]:
        """Who has attested the erasure of what, and who has not said so.

        `about`: a grant that was taken back, or a message that asked for an erasure.
        """
        async with core.database.read() as connection:
            state = (await store.load_grants(connection, [about])).get(about)
            asked = await connection.scalar(select(outbox.c.recipient).where(outbox.c.id == about))
            orders = (
                await connection.execute(
                    select(erasure_order.c.message, erasure_order.c.state).where(
                        erasure_order.c.about == about
                    )
                )
            ).all()
            if state is None and asked is None and not orders:
                raise NotFound
            rows = (
                await connection.execute(
                    select(erasure)
                    .where(erasure.c.about == about)
                    .order_by(erasure.c.by, erasure.c.store)
                )
            ).all()
        by: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by.setdefault(row.by, []).append(
                {
                    "store": row.store,
                    "outcome": row.outcome,
                    "basis": row.basis,
                    "epoch": row.epoch,
                    "at": views.moment(row.at),
                }
            )
        if state is not None:
            silent = {state.recipient} - by.keys() if state.state != "live" else set()
        else:
            silent = {asked} - by.keys() if asked is not None else set()
        return {
            "about": str(about),
            "grant": None if state is None else str(about),
            "state": None if state is None else state.state,
            "attestations": [
                {"participant": participant, "stores": stores}
                for participant, stores in sorted(by.items())
            ],
            "silent": sorted(silent),
            "pending_here": [str(row.message) for row in orders if row.state == "stopped"],
            "kept_here": [str(row.message) for row in orders if row.state == "kept"],
        }

    @routes.post("/exceptions")
    async def propose(request: Request, worker: Worker) -> dict[str, Any]:
        """Propose to send without consent; another worker decides."""
        draft = await parse(request, ExceptionDraft)
        return {"id": str(await parts.exceptions.propose(draft, worker=worker))}

    @routes.get("/exceptions")
    async def proposals() -> dict[str, Any]:
        """What was proposed, by whom, and what became of it. Not the reason: that is content."""
        async with core.database.read() as connection:
            rows = (
                await connection.execute(
                    select(exception_request).order_by(exception_request.c.created_at)
                )
            ).all()
        return {
            "exceptions": [
                {
                    "id": str(row.id),
                    "code": row.code,
                    "case_ref": row.case_ref,
                    "requested_by": row.requested_by,
                    "approved_by": row.approved_by,
                    "message": None if row.message is None else str(row.message),
                    "review_by": views.moment(row.review_by),
                    "tell_by": views.moment(row.tell_by),
                    "told_at": views.moment(row.told_at),
                    "at": views.moment(row.created_at),
                }
                for row in rows
            ]
        }

    @routes.post("/exceptions/{exception}/approve")
    async def approve(exception: UUID, worker: Worker) -> dict[str, Any]:
        """Approve what another worker proposed: it is sent. Whom to call there is in the answer:
        in danger nobody waits for a message to be read."""
        stored = await parts.exceptions.approve(exception, worker=worker)
        return {**stored_view(stored), "call": await parts.exceptions.whom_to_call(exception)}

    @routes.post("/exceptions/{exception}/told")
    async def told(exception: UUID) -> dict[str, Any]:
        """The person was told what was sent without her consent."""
        await parts.exceptions.told(exception)
        return {"id": str(exception)}

    @routes.post("/exclusions")
    async def exclude(request: Request, worker: Worker) -> dict[str, Any]:
        """Nothing about this case may reach this participant from here any more."""
        wanted = await parse(request, ExclusionRequest)
        await require_named(core, wanted.about, ours=wanted.ours, otherwise=BY_BUSINESS_ID)
        await parts.excluding.exclude(wanted.about, wanted.participant, worker=worker)
        return {"about": wanted.about, "participant": wanted.participant}

    @routes.post("/exclusions/lift")
    async def lift(request: Request, worker: Worker) -> dict[str, Any]:
        """The person no longer excludes this participant."""
        wanted = await parse(request, ExclusionRequest)
        if not await parts.excluding.lift(wanted.about, wanted.participant, worker=worker):
            raise NotFound
        return {"about": wanted.about, "participant": wanted.participant}

    return routes
