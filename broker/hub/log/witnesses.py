"""Asking the witnesses that stand for no country: the hub posts its heads to them (tlog-witness).

Countries come by themselves (`POST /log/cosignatures`); a tlog-witness server waits to be asked.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx2

from broker.audit.log.note import Verifier, parse_signature
from broker.audit.proofs.proof import accept_cosignature, growth
from broker.audit.witnesses.witness import parse_request
from broker.hub.settings import IndependentWitness
from broker.hub.state import Hub
from broker.hub.store.tables import LOG
from broker.telemetry import logger
from schemas.errors import BrokerError, HubUnreachable

SECONDS = 10.0
MAX_ANSWER = 16 * 1024


async def run(hub: Hub) -> None:
    """Ask each witness once a period, until cancelled."""
    signed: dict[str, int] = {}
    asked: dict[str, bytes] = {}
    async with httpx2.AsyncClient(timeout=SECONDS, trust_env=False) as http:
        while True:
            for witness in hub.settings.log.witnesses:
                try:
                    await ask(hub, http, witness, signed, asked)
                except BrokerError as error:
                    logger().warning("witness:no-signature", code=error.code)
                except httpx2.HTTPError as error:
                    logger().warning("witness:no-answer", code=type(error).__name__)
            await asyncio.sleep(hub.settings.log.witness_seconds / 2)


async def ask(
    hub: Hub,
    http: httpx2.AsyncClient,
    witness: IndependentWitness,
    signed: dict[str, int],
    asked: dict[str, bytes],
) -> bool:
    """Have this period's head signed; True if a new signature was kept.

    Args:
        signed: The size that each witness signed last, as far as we know; zero asks for it.
        asked: The checkpoint that each signed last.

    Raises:
        HubUnreachable: The witness refused, or answered something else than signatures.
    """
    period, now = hub.settings.log.witness_seconds, hub.clock.now()
    before = datetime.fromtimestamp(now.timestamp() - now.timestamp() % period, UTC)
    url = f"{witness.url.rstrip('/')}/add-checkpoint"
    for _ in range(2):
        async with hub.database.read() as connection:
            body = await growth(connection, LOG, signed.get(witness.vkey, 0), before=before)
        request = parse_request(body)
        if asked.get(witness.vkey) == request.checkpoint:
            return False
        answer = await http.post(url, content=body, headers={"content-type": "text/plain"})
        if answer.status_code != 409 or not answer.text.strip().isdecimal():
            break
        signed[witness.vkey] = int(answer.text)
    if answer.status_code != 200 or len(answer.content) > MAX_ANSWER:
        raise HubUnreachable(f"the witness answers {answer.status_code}")
    size = int(request.checkpoint.split(b"\n")[1])
    key = Verifier.from_text(witness.vkey)
    kept = False
    async with hub.database.begin() as connection:
        for line in answer.text.splitlines():
            found = parse_signature(line)
            if (found.name, found.key_id) != (key.name, key.key_id):
                continue  # of a key that we do not know (tlog-witness: ignore it)
            await accept_cosignature(
                connection, LOG, size=size, line=line, witnesses=[key], now=hub.clock.now()
            )
            kept = True
    signed[witness.vkey], asked[witness.vkey] = size, request.checkpoint
    return kept
