"""`/v1/status`, `/v1/quarantine`, `/v1/alarms`, `/v1/recount`, `/v1/proof`: how things stand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import func, select

from broker.audit.proofs.prover import LogProof, proof_file
from broker.gateway.api import views
from broker.gateway.parts import Parts
from broker.gateway.store.outbox import TOLD
from broker.gateway.store.tables import alarm, fact, inbox, outbox, quarantine
from broker.http import RowNumber
from keys.jws import parse_jws
from schemas.audit import Opening
from schemas.base import unb64u
from schemas.errors import NotFound
from schemas.evidence import EVIDENCE_TYP, Fact

EVIDENCE_LIMIT = 256 * 1024


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    core = parts.core

    @routes.get("/status")
    async def status() -> dict[str, Any]:
        """Who we are and how things stand, in numbers."""
        return {
            "participant": core.participant,
            "incarnation": core.incarnation,
            "hub": {"id": core.settings.hub.id, "reachable": await core.hub.ready()},
            "channel": core.settings.channel.kind,
            "directory_version": core.trusted().version,
            "log_healthy": core.log.sequencer.healthy(core.now()),
            **await _counts(parts),
        }

    @routes.get("/quarantine")
    async def held() -> dict[str, Any]:
        """What was suspect: what it says of itself is not believed. `id` is the message's, if any."""
        async with core.database.read() as connection:
            rows = (await connection.execute(select(quarantine).order_by(quarantine.c.id))).all()
        found = [
            {
                "id": str(row.message or row.id),
                "number": row.id,
                "partner": row.claimed_sender,
                "code": row.code,
                "channel": row.channel,
                "at": views.moment(row.at),
            }
            for row in rows
        ]
        return {"quarantine": found, "items": found}

    @routes.get("/quarantine/{number}")
    async def raw(number: RowNumber) -> Response:
        """The suspect bytes as they came, still sealed."""
        async with core.database.read() as connection:
            found = await connection.scalar(
                select(quarantine.c.raw).where(quarantine.c.id == number)
            )
        if found is None:
            raise NotFound("nothing of this number is in quarantine")
        return Response(found, media_type="application/octet-stream")

    @routes.get("/alarms")
    async def alarms(all: bool = False) -> dict[str, Any]:
        """What a person must look at; with `all` also what has settled itself."""
        query = select(alarm).order_by(alarm.c.raised_at)
        if not all:
            query = query.where(alarm.c.cleared_at.is_(None))
        async with core.database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = [
            {
                "id": row.about,
                "kind": row.code,
                "code": row.code,
                "at": views.moment(row.raised_at),
                "cleared_at": views.moment(row.cleared_at),
                "role": row.role,
            }
            for row in rows
        ]
        return {"alarms": found, "items": found}

    @routes.get("/recount")
    async def recount() -> dict[str, Any]:
        """Counted from outbox and inbox now, not from counters kept on the way."""
        return await _counts(parts)

    @routes.get("/proof/{message}")
    async def proof(message: UUID, fact: Fact = Fact.DELIVERED) -> Response:
        """A file that proves one fact about a message of ours, offline and for ever."""
        return Response(await _proof(parts, message, fact), media_type="application/json")

    return routes


async def _counts(parts: Parts) -> dict[str, Any]:
    async with parts.core.database.read() as connection:
        states: dict[str, dict[str, int]] = {}
        for table, told in ((outbox, TOLD), (inbox, inbox.c.state)):
            rows = await connection.execute(select(told, func.count()).group_by(told))
            states[table.name] = {str(state): int(count) for state, count in rows}
        opened = await connection.scalar(select(func.count()).where(inbox.c.opened_at.is_not(None)))
        held = await connection.scalar(select(func.count()).select_from(quarantine))
        late = await connection.scalar(select(func.count()).where(alarm.c.cleared_at.is_(None)))
    return {
        **states,
        "opened": opened or 0,
        "quarantined": held or 0,
        "alarms": late or 0,
    }


async def _proof(parts: Parts, message: UUID, wanted: Fact) -> bytes:
    """Evidence, its leaf, the opening that links the two, and the way up to the signed head.

    Raises:
        NotFound: Nobody has stated this fact yet, or its leaf is not in the log yet.
        Unavailable: The hub does not answer.
    """
    core = parts.core
    async with core.database.read() as connection:
        evidence = await connection.scalar(
            select(fact.c.evidence).where(fact.c.envelope == message, fact.c.fact == wanted.value)
        )
    if evidence is None:
        raise NotFound("nobody has stated this about this message")
    proven = await core.hub.proof(evidence=evidence)
    kid = parse_jws(proven.evidence, typ=EVIDENCE_TYP, limit=EVIDENCE_LIMIT).kid
    known = core.trusted().key(kid)
    keys = (
        []
        if known is None
        else [
            {
                "kid": kid,
                "participant": known[0].id,
                "alg": known[1].alg,
                "jwk": known[1].jwk,
            }
        ]
    )
    return proof_file(
        evidence=proven.evidence,
        opening=Opening(
            salt=unb64u(proven.opening["salt"]), subject=unb64u(proven.opening["subject"])
        ),
        proof=LogProof(index=0, size=0, leaf=proven.leaf, text=proven.proof),
        directory_version=proven.directory_version,
        keys=keys,
    )
