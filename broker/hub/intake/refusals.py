"""Saying no. Known participants get signed evidence; pretenders get `suspect`; strangers a code.

Who signed decides. A refusal becomes evidence only if the signature under it verifies with a key
that the directory gives to the claimed sender; otherwise anybody could make us testify. A bad
signature in the name of a known key is kept in quarantine for a person to look at.
"""

from __future__ import annotations

import base64
import hashlib
import json
from uuid import UUID

from broker.audit.log.leaves import new_leaf
from broker.hub.intake.acceptance import Rejection
from broker.hub.state import Hub
from broker.hub.store import openings, participants
from broker.telemetry import logger
from keys import strict_json
from keys.jws import check_signature, parse_jws
from schemas.audit import Event
from schemas.directory import KeyUse
from schemas.envelope import ENVELOPE_TYP, MAX_ENVELOPE_BYTES, SealedEnvelope
from schemas.errors import BadSignature, BrokerError, KeyUnknown, Suspect


async def refuse_unparsed(hub: Hub, raw: bytes, error: BrokerError) -> Rejection:
    """Answer what is not an envelope.

    Returns:
        What to sign, if a known participant signed it all the same (a field too many, say).

    Raises:
        BrokerError: `error` itself for a stranger, `Suspect` for a pretender.
    """
    if isinstance(error, Suspect):
        await quarantine(hub, raw, error)
        raise error
    try:
        jws = parse_jws(raw, typ=ENVELOPE_TYP, limit=MAX_ENVELOPE_BYTES)
        found = hub.directory.current().key(jws.kid)
        if found is None or found[1].use is not KeyUse.SIGN or found[1].alg != jws.alg:
            raise KeyUnknown
        check_signature(found[1], jws.signing_input, jws.signature)
        payload = strict_json.parse_object(jws.payload, limit=MAX_ENVELOPE_BYTES)
        envelope = UUID(str(payload.get("id")))
    except (BrokerError, ValueError):
        hub.metrics.strangers.labels(error.code).inc()
        raise error from None
    return Rejection(
        sender=found[0].id,
        envelope=envelope,
        digest=hashlib.sha256(jws.payload).digest(),
        error=error,
    )


async def refuse_parsed(hub: Hub, sealed: SealedEnvelope, error: BrokerError) -> Rejection:
    """Answer an envelope whose key or signature is not in order.

    Raises:
        Suspect: The signature is not the claimed sender's.
    """
    found = hub.directory.current().key(sealed.signed_by)
    if isinstance(error, BadSignature) or found is None:
        await quarantine(hub, sealed.raw, error)
        raise error
    try:
        check_signature(found[1], sealed.signing_input, sealed.signature)
    except BadSignature as worse:
        await quarantine(hub, sealed.raw, worse)
        raise worse from None
    return Rejection(
        sender=found[0].id, envelope=sealed.content.id, digest=sealed.digest, error=error
    )


async def quarantine(hub: Hub, raw: bytes, error: BrokerError) -> None:
    """Keep what somebody sent in the name of a known key; count what a stranger sent.

    Kid and sender are what the bytes pretend; nothing else is believed of them.
    """
    kid = _claimed_kid(raw)
    found = hub.directory.current().key(kid) if kid else None
    if found is None or kid is None:
        hub.metrics.strangers.labels(error.code).inc()
        return
    hub.metrics.suspect.labels(error.code).inc()
    if not hub.quarantine_limit.hit(found[0].id):
        return  # kids are public: a flood in somebody's name must not fill the disk
    logger().error("envelope:quarantined", code=error.code, kid=kid, participant=found[0].id)
    now = hub.clock.now()
    digest = hashlib.sha256(raw).digest()
    leaf, opening = new_leaf(Event.ENVELOPE_QUARANTINED, now, digest)
    async with hub.database.begin() as connection:
        await participants.quarantine(
            connection,
            {
                "claimed_kid": kid,
                "claimed_by": found[0].id,
                "code": error.code,
                "digest": digest,
                "raw": raw,
                "recorded_at": now,
            },
        )
        parties = (found[0].id,)
        await openings.record(connection, openings.row(leaf, opening, now=now, parties=parties))


def _claimed_kid(raw: bytes) -> str | None:
    """Whose key a header pretends to be of; the header plays tricks, so this reads leniently."""
    try:
        document = json.loads(raw)
        protected = document.get("protected", "")
        text = base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4))
        kid = json.loads(text).get("kid")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return kid if isinstance(kid, str) and len(kid) == 43 else None
