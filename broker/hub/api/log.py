"""The audit log for witnesses (checkpoint, hash tiles), parties (proofs) and auditors (entries)."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from broker.audit.log.merkle import leaf_hash
from broker.audit.log.store import entries, log_size
from broker.audit.proofs.proof import (
    accept_cosignature,
    cosigned_checkpoint,
    growth,
    read_cosignatures,
    read_entries,
    read_tile,
)
from broker.audit.proofs.prover import Prover
from broker.audit.witnesses.countries import witness_key
from broker.http import Position
from broker.hub.api.requests import Callers
from broker.hub.log.set_back import show_evidence, show_head
from broker.hub.state import Hub
from broker.hub.store import envelopes, evidence
from broker.hub.store.tables import LOG
from keys.binding import subject_of
from schemas.audit import Opening
from schemas.base import b64u
from schemas.directory import Function, Participant
from schemas.errors import Forbidden, NotFound, SchemaRefused

FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
FOREVER_PRIVATE = {
    "cache-control": "private, max-age=31536000, immutable",
    "vary": "accept-encoding, signature",
}
NOW = {"cache-control": "no-store"}


def router(hub: Hub, callers: Callers) -> APIRouter:
    routes = APIRouter(prefix="/log")
    prover = Prover(LOG)

    @routes.get("/checkpoint")
    async def checkpoint() -> Response:
        async with hub.database.read() as connection:
            note = await cosigned_checkpoint(connection, LOG)
        return PlainTextResponse(note, headers=NOW)

    @routes.get("/policy")
    async def policy() -> Response:
        """Who must have signed (C2SP tlog-policy). A verifier takes it from the directory."""
        return PlainTextResponse(hub.witness_policy().to_text(), headers=NOW)

    @routes.get("/add-checkpoint")
    async def growth_since(old: Position = 0) -> Response:
        """What one would post to a witness that signed size `old` last (C2SP tlog-witness).

        All who ask within one period are given the same head, so that their signatures meet.
        """
        period, now = hub.settings.log.witness_seconds, hub.clock.now().timestamp()
        before = datetime.fromtimestamp(now - now % period, UTC)
        async with hub.database.read() as connection:
            body = await growth(connection, LOG, old, before=before)
        return PlainTextResponse(body, headers=NOW)

    @routes.post("/cosignatures")
    async def cosign(request: Request) -> Response:
        """A participant's signature under a head of ours."""
        caller, body = await callers.body(request)
        key = witness_key(caller)
        async with hub.database.begin() as connection:
            size, lines = read_cosignatures(body)
            for line in lines:
                await accept_cosignature(
                    connection,
                    LOG,
                    size=size,
                    line=line,
                    witnesses=[] if key is None else [key],
                    now=hub.clock.now(),
                )
        return Response(status_code=204)

    @routes.post("/heads")
    async def head_of_ours(request: Request) -> dict[str, bool]:
        """A head that this log signed, by one who finds that the log does not lead to it."""
        caller, body = await callers.body(request)
        async with hub.database.begin() as connection:
            missing = await show_head(
                connection,
                body,
                [signer.verifier for signer in hub.log_signers],
                by=caller.id,
                now=hub.clock.now(),
            )
            await hub.look_at_log(connection)
        return {"missing": missing}

    @routes.post("/accepted")
    async def evidence_of_ours(request: Request) -> dict[str, bool]:
        """This hub's word that it accepted something, by one who finds it unknown here."""
        caller, body = await callers.body(request)
        async with hub.database.begin() as connection:
            missing = await show_evidence(
                connection,
                body,
                hub.directory.current(),
                hub=hub.id,
                origin=hub.settings.log.origin,
                by=caller.id,
                now=hub.clock.now(),
                remembered=timedelta(days=hub.settings.retention.evidence_days),
            )
            await hub.look_at_log(connection)
        return {"missing": missing}

    @routes.get("/tile/entries/{path:path}")
    async def bundle(request: Request, path: str) -> Response:
        """Entry bundles are for auditors: a leaf's time and event tell who works how much."""
        _auditor(callers.of(request))
        async with hub.database.read() as connection:
            data = await read_entries(connection, LOG, f"tile/entries/{path}")
        headers = dict(FOREVER_PRIVATE)
        if "gzip" in request.headers.get("accept-encoding", ""):
            data = await asyncio.to_thread(gzip.compress, data, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(data, media_type="application/octet-stream", headers=headers)

    @routes.get("/tile/{path:path}")
    async def tile(path: str) -> Response:
        async with hub.database.read() as connection:
            data = await read_tile(connection, LOG, f"tile/{path}")
        return Response(data, media_type="application/octet-stream", headers=FOREVER)

    @routes.get("/entries")
    async def leaves(
        request: Request,
        after: Position = 0,
        limit: Annotated[int, Query(ge=1, le=4096)] = 1000,
    ) -> dict[str, object]:
        """Leaves in order; `after` is how many the auditor has already."""
        _auditor(callers.of(request))
        async with hub.database.read() as connection:
            found = await entries(connection, LOG, start=after, limit=limit)
            size = await log_size(connection, LOG)
        return {
            "entries": [b64u(body) for body in found],
            "next": after + len(found),
            "size": size,
        }

    @routes.get("/proof")
    async def proof(
        request: Request,
        evidence_id: Annotated[UUID | None, Query(alias="evidence")] = None,
        envelope_id: Annotated[UUID | None, Query(alias="envelope")] = None,
    ) -> dict[str, object]:
        """What proves one evidence; of an envelope, the one that says `submitted`."""
        caller = callers.of(request)
        if (evidence_id is None) == (envelope_id is None):
            raise SchemaRefused(where=("evidence", "envelope"))
        async with hub.database.read() as connection:
            wanted = evidence_id
            party = False
            if envelope_id is not None:
                view = await envelopes.party_view(connection, envelope_id)
                if view is None or caller.id not in (view.sender, view.recipient):
                    raise NotFound
                wanted, party = view.evidence_id, True
            found = await evidence.find(connection, wanted) if wanted else None
            if found is None or not (party or caller.id in (found.by, found.to)):
                raise NotFound
            proven = await prover.inclusion(
                connection, leaf_hash(found.leaf), policy=hub.witness_policy()
            )
        opening = Opening(salt=found.salt, subject=subject_of(found.raw))
        return {
            "evidence": found.raw.decode(),
            "leaf": b64u(found.leaf),
            "opening": opening.to_dict(),
            "proof": proven.text,
            "directory_version": found.directory_version,
        }

    return routes


def _auditor(caller: Participant) -> None:
    if caller.function is not Function.RAPPORTEUR:
        raise Forbidden
