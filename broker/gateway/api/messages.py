"""`/v1/drafts`, `/v1/messages`, `/v1/threads`: writing, sending, looking, opening."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from sqlalchemy import ColumnElement, select

from adapters.base import CaseRecord, Source
from broker.gateway import threads
from broker.gateway.api import views
from broker.gateway.parts import Parts
from broker.gateway.receive.opening import open_attachment, open_message
from broker.gateway.send.drafts import MessageDraft
from broker.gateway.send.preview import expected_too, preview
from broker.gateway.send.sender import Stored, log_refusal
from broker.gateway.store.lookup import Lookup
from broker.gateway.store.outbox import TOLD
from broker.gateway.store.tables import fact, inbox, outbox
from broker.http import DigestName, Position, limited_body
from keys import strict_json
from schemas.base import ProtectedModel
from schemas.errors import NotFound, Refused, SchemaRefused

BODY_LIMIT = 4 * 1024 * 1024
MOST = 10_000
LONGEST_WAIT = 60.0
LOOK_EVERY = 1.0
"""Seconds; the second is the safety net under the news that comes when evidence is kept."""
ON_THE_WAY = ("queued", "sending", "submitted", "relayed")
STEPS = ("delivered", "filed", "read")
Model = TypeVar("Model", bound=ProtectedModel)


class DraftsRequest(ProtectedModel):
    """Which file, or which text, to read through the adapter."""

    adapter: str = "files"
    file: str | None = None
    text: Annotated[str, Field(max_length=BODY_LIMIT)] | None = None


_SENT = Lookup(
    select(
        *(one for one in outbox.c if one is not outbox.c.envelope),
        TOLD,
        *(fact.c[name].label(f"fact_{name}") for name in ("fact", "by", "code", "at", "evidence")),
    )
    .outerjoin(fact, fact.c.envelope == outbox.c.id)
    .order_by(fact.c.at),
    outbox.c.id,
)


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.post("/drafts")
    async def drafts(request: Request) -> dict[str, Any]:
        """Cases from a national file, through the adapter; rows that cannot be one, with reasons."""
        wanted = await parse(request, DraftsRequest)
        if wanted.adapter != core.adapter.name:
            raise NotFound("not the adapter of this gateway")
        source: Source | None = None if wanted.file is None else Path(wanted.file)
        if wanted.text is not None:
            source = io.BytesIO(wanted.text.encode())

        def read() -> dict[str, Any]:
            cases, refused = [], []
            for item in core.adapter.read_cases(source):
                if isinstance(item, CaseRecord):
                    sections = {name: dict(value) for name, value in item.sections.items()}
                    cases.append(
                        {
                            "case_ref": item.case_ref,
                            "sections": sections,
                            "invented": item.invented,
                            "not_carried": list(item.not_carried),
                        }
                    )
                else:
                    refused.append({"line": item.line, "reasons": list(item.reasons)})
                if len(cases) + len(refused) > MOST:
                    raise SchemaRefused("too many cases in one file for this request")
            return {"cases": cases, "refused": refused}

        return await asyncio.to_thread(read)

    @routes.post("/messages")
    async def send(
        request: Request,
        until: Literal["delivered", "filed", "read"] | None = None,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = LONGEST_WAIT,
    ) -> Response:
        """Send one message. On the answer it is on this machine's disk, sealed and signed.

        `expected_too` names what the other side expects besides; it travelled without.

        Args:
            until, wait: As of `GET /v1/messages/{id}`, whose answer it then is. Whoever hangs up
                before knows whether it was stored only by a business id of their own.
        """
        draft = await parse(request, MessageDraft)
        await parts.agreements.look_for(draft.to)
        try:
            composed = await parts.composer(draft)
            if draft.dry_run:
                return JSONResponse(preview(core, composed))
            missing = expected_too(composed)
            word, started = core.news.of(composed.id), time.monotonic()
            try:
                stored = await parts.sender.send(composed)
                if until is None:
                    return JSONResponse({**stored_view(stored), "expected_too": missing})
                if stored.id == composed.id:  # just stored: nothing to be seen before there is word
                    await _heard(word, min(wait, LOOK_EVERY))
            finally:
                core.news.forget(composed.id, word)
            left = max(0.0, wait - (time.monotonic() - started))
            found = await _followed(stored.id, until, left)
            return JSONResponse({**found, "expected_too": missing})
        except Refused:
            if not draft.dry_run:
                await log_refusal(core, draft.to_json())
            raise

    @routes.get("/messages")
    async def messages(
        box: Literal["inbox", "outbox"] = "inbox",
        state: Annotated[str | None, Query(pattern="^[a-z]{1,20}$")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 200,
        after: Position = 0,
    ) -> dict[str, Any]:
        """Messages in the order in which they came; `after` takes the `next` of the last page."""
        told: ColumnElement[str] = inbox.c.state
        table, view, query = inbox, views.received, select(inbox)
        if box == "outbox":
            table, view, told, query = outbox, views.sent, TOLD, select(outbox, TOLD)
        query = query.where(table.c.position > after).order_by(table.c.position)
        if state is not None:
            query = query.where(told == state)
        async with core.database.read() as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        return {
            "messages": [view(row) for row in rows],
            "next": rows[-1].position if len(rows) == limit else None,
        }

    @routes.get("/messages/{message}")
    async def message(
        message: UUID,
        until: Literal["delivered", "filed", "read"] | None = None,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = LONGEST_WAIT,
    ) -> Response:
        """One message: its header and what was stated about it. Never its content.

        Args:
            until: Answer when this has happened, or something after which nobody waits for it.
            wait: Answer after so many seconds in any case.
        """
        return JSONResponse(await _followed(message, until, wait))

    async def _followed(message: UUID, until: str | None, wait: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait
        while True:
            word = core.news.of(message)
            try:
                found = await _message(message)
                room = give_up - loop.time()
                if until is None or not _may_still(found, until) or room <= 0:
                    return found
                await _heard(word, min(room, LOOK_EVERY))
            finally:
                core.news.forget(message, word)

    async def _message(message: UUID) -> dict[str, Any]:
        async with core.database.read() as connection:
            rows = await _SENT(connection, [message])
            if not rows:
                arrived = (
                    await connection.execute(select(inbox).where(inbox.c.id == message))
                ).first()
                if arrived is None:
                    raise NotFound("no such message")
                return {**views.received(arrived), "facts": []}
        return {
            **views.sent(rows[0]),
            "facts": [
                {
                    "fact": item.fact_fact,
                    "by": item.fact_by,
                    "code": item.fact_code,
                    "at": views.moment(item.fact_at),
                    "evidence": str(item.fact_evidence),
                }
                for item in rows
                if item.fact_fact is not None
            ],
        }

    @routes.post("/messages/{message}/open")
    async def opened(message: UUID) -> dict[str, Any]:
        """Read a message: the sender is told that it was read."""
        return await open_message(parts, message)

    @routes.get("/messages/{message}/attachments/{digest}")
    async def attachment(message: UUID, digest: DigestName) -> Response:
        """The bytes of one file, as they were before sealing."""
        data = await open_attachment(parts, message, digest)
        return Response(data, media_type="application/octet-stream")

    @routes.post("/messages/{message}/replay")
    async def replay(message: UUID) -> dict[str, Any]:
        """Send a failed message again, with its original bytes."""
        await parts.outbox.replay(message)
        return {"id": str(message), "state": "queued"}

    @routes.get("/threads/{thread}")
    async def thread(thread: UUID) -> dict[str, Any]:
        """An exchange: its state, who is responsible, and how it came there."""
        async with core.database.read() as connection:
            state = await threads.require(connection, thread)
            events = await threads.history(connection, thread)
            ours = await connection.execute(
                select(outbox.c.id, TOLD).where(outbox.c.thread == thread)
            )
            sent = {row.id: row.told for row in ours}
        return {
            "thread": str(thread),
            "machine": state.machine,
            "state": state.state,
            "partner": state.partner,
            "role": state.role,
            "case_ref": state.case_ref,
            "business_id": str(state.business_id),
            "owner": state.owner(core.participant),
            "signed": sorted(str(by) for by in state.signed),
            "history": [
                {
                    "message": str(item.message),
                    "type": item.type,
                    "by": item.by,
                    "at": views.moment(item.at),
                    "state": item.state,
                    "late": item.late,
                    "unsaid": item.unsaid,
                    "sent": sent.get(item.message),
                }
                for item in events
            ],
        }

    return routes


async def _heard(word: asyncio.Event, at_most: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most):
            await word.wait()


def _may_still(found: dict[str, Any], wanted: str) -> bool:
    """True if a message of ours is on its way to what is waited for."""
    return (
        found["state"] in (*ON_THE_WAY, *STEPS[: STEPS.index(wanted)]) and found["box"] == "outbox"
    )


async def parse(request: Request, model: type[Model]) -> Model:
    """A request's body through the strict parser; never repeated in an error.

    Raises:
        TooLarge, MalformedJson, SchemaRefused: As they say.
    """
    body = await limited_body(request, BODY_LIMIT)
    strict_json.parse_object(body or b"{}", limit=BODY_LIMIT)
    return model.from_json(body or b"{}")


def stored_view(stored: Stored) -> dict[str, Any]:
    return {
        "id": str(stored.id),
        "thread": str(stored.thread),
        "business_id": str(stored.business_id),
        "state": stored.state,
    }
