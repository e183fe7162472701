"""Envelopes in; evidence in; "do you have this id, in which state?"."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from broker.http import Position, limited_body
from broker.hub import marks
from broker.hub.api.requests import Callers, jose, refused
from broker.hub.evidence import EvidenceIntake
from broker.hub.intake.intake import Intake
from broker.hub.intake.limiting import Limiter
from broker.hub.state import Hub
from broker.hub.store import envelopes, participants
from keys.jws import MAX_STATEMENT_BYTES
from schemas.base import ParticipantId, b64u, instant_text
from schemas.envelope import MAX_ENVELOPE_BYTES, Lane
from schemas.errors import NotFound
from schemas.evidence import PRECEDENCE, Fact

_WITHHELD = frozenset({Fact.STOPPED, Fact.EXPIRED})
"""How a way ended before the recipient had anything: the sender's to know."""

MOST_NUMBERS = 1000


def router(
    hub: Hub, intake: Intake, receipts: EvidenceIntake, callers: Callers, limiter: Limiter
) -> APIRouter:
    routes = APIRouter()

    async def submit(request: Request) -> Response:
        outcome = await intake.submit(await limited_body(request, MAX_ENVELOPE_BYTES))
        if outcome.error is not None:
            return refused(outcome.error, outcome.evidence)
        return jose(outcome.evidence, 200 if outcome.repeated else 201)

    async def receive(request: Request) -> Response:
        await receipts.receive(await limited_body(request, MAX_STATEMENT_BYTES))
        return Response(status_code=202)

    # These two take bytes and answer bytes: plain routes, with nothing of FastAPI's to resolve.
    routes.add_route("/envelopes", submit, methods=["POST"])
    routes.add_route("/evidence", receive, methods=["POST"])

    @routes.get("/envelopes/{envelope}")
    async def state(request: Request, envelope: UUID) -> dict[str, object]:
        caller = callers.of(request)
        async with hub.database.read() as connection:
            found = await envelopes.party_view(connection, envelope)
            if found is None or caller.id not in (found.sender, found.recipient):
                raise NotFound
            facts = await envelopes.facts_of(connection, envelope)
        standing = PRECEDENCE[found.standing]
        if caller.id == found.recipient:
            facts = [one for one in facts if one.by == caller.id or one.to != found.sender]
            standing = _as_recipient(standing)
        submitted = {
            "fact": Fact.SUBMITTED.value,
            "at": instant_text(found.accepted_at),
            "by": hub.id,
            "evidence": str(found.evidence_id),
            "code": None,
        }
        return {
            "id": str(envelope),
            "digest": b64u(found.digest),
            "state": standing.value,
            "facts": [
                submitted,
                *(
                    {
                        "fact": one.fact,
                        "at": instant_text(one.at),
                        "by": one.by,
                        "evidence": str(one.evidence_id),
                        "code": one.code,
                    }
                    for one in facts
                ),
            ],
        }

    @routes.get("/streams")
    async def stream(
        request: Request,
        lane: Lane,
        sender: Annotated[ParticipantId, Query(alias="from")],
        recipient: Annotated[ParticipantId | None, Query(alias="to")] = None,
    ) -> dict[str, object]:
        """The caller's incoming stream; with `to`, its own outgoing one."""
        caller = callers.of(request)
        to = recipient or caller.id
        if caller.id not in (sender, to):
            raise NotFound
        async with hub.database.read() as connection:
            last = await participants.incarnation_of(connection, sender)
            found = await envelopes.highest(
                connection, sender=sender, recipient=to, lane=lane.value, incarnation=last
            )
        incarnation, highest = found if found is not None else (None, 0)
        return {"incarnation": incarnation, "highest": highest}

    @routes.post("/streams/marks")
    async def mark(request: Request) -> Response:
        """How far a stream has gone, signed by its sender."""
        await marks.keep(hub, limiter, await limited_body(request, MAX_STATEMENT_BYTES))
        return Response(status_code=204)

    @routes.get("/streams/marks")
    async def marks_for(
        request: Request, lane: Lane, sender: str = Query(alias="from")
    ) -> dict[str, object]:
        """The sender's newest word on its stream to the caller, for each incarnation."""
        caller = callers.of(request)
        found = await marks.of(hub, sender=sender, recipient=caller.id, lane=lane)
        return {"marks": [raw.decode() for raw in found]}

    @routes.get("/streams/numbers")
    async def numbers(
        request: Request,
        lane: Lane,
        incarnation: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{22}$")],
        sender: Annotated[ParticipantId, Query(alias="from")],
        after: Position = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_NUMBERS)] = 200,
    ) -> dict[str, object]:
        """What was accepted for the caller in one stream, in order: "have you these ids?"."""
        caller = callers.of(request)
        async with hub.database.read() as connection:
            found = await envelopes.numbers(
                connection,
                stream=(sender, caller.id, lane.value, incarnation),
                after=after,
                limit=limit,
                now=hub.clock.now(),
            )
        return {
            "numbers": [
                {
                    "number": row.stream_number,
                    "id": str(row.id),
                    "digest": b64u(row.digest),
                    "state": _as_recipient(PRECEDENCE[row.standing]).value,
                    "accepted_at": instant_text(row.accepted_at),
                }
                for row in found
            ]
        }

    return routes


def _as_recipient(standing: Fact) -> Fact:
    """What its tombstone does not say is not said here either (I-3): why it never came."""
    return Fact.TOMBSTONE if standing in _WITHHELD else standing
