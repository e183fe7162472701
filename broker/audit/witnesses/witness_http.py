"""A tlog-witness server (C2SP): anybody can run one for the logs whose keys they know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from broker.audit.log.checkpoint import Contradiction
from broker.audit.witnesses.witness import MAX_REQUEST, OldSize, ProofRefused, Witness
from broker.http import limited_body
from broker.telemetry import logger
from schemas.errors import (
    BadSignature,
    BrokerError,
    LogInconsistent,
    NotFound,
    SchemaRefused,
    TooLarge,
    Truncated,
)

STATUS: tuple[tuple[type[BrokerError], int], ...] = (
    (NotFound, 404),
    (BadSignature, 403),
    (Contradiction, 409),
    (ProofRefused, 422),
    (LogInconsistent, 409),
    (SchemaRefused, 400),
    (TooLarge, 413),
    (Truncated, 400),
)


def create_witness_app(witness: Witness, now: Callable[[], datetime]) -> FastAPI:
    """One route, `POST /add-checkpoint`; there is no other authentication than the log's key."""
    app = FastAPI(title="tlog-witness", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/add-checkpoint")
    async def add_checkpoint(request: Request) -> Response:
        try:
            signed = await witness.add_checkpoint(await limited_body(request, MAX_REQUEST), now())
        except OldSize as error:
            body = f"{error.size}\n".encode()
            return Response(body, status_code=409, media_type="text/x.tlog.size")
        except BrokerError as error:
            if isinstance(error, Contradiction):
                logger().error("witness:contradiction", code=error.code)
            status = next((code for kind, code in STATUS if isinstance(error, kind)), 503)
            return PlainTextResponse(f"{error.code}\n", status_code=status)
        return PlainTextResponse("".join(signed.lines))

    return app
