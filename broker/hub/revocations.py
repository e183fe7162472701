"""A key in other hands: stopped at once, recorded, told to everybody who asks.

1. Stopped in this process's memory, whatever becomes of the rest.
2. Recorded with its leaf; from then on no process of this hub decides anything without it
   (`directory_version.revocations`).
3. Everybody who holds a request for the feed is answered at once.
4. What waits under the key is stopped where it is handed over, which asks the rules again; the
   participant's RabbitMQ user gets another password, and goes as long as it has no signing key
   in force.
"""

from __future__ import annotations

import hashlib

from broker.audit.log.leaves import public_leaf
from broker.hub.state import Hub
from broker.hub.store import openings, participants, revocations
from broker.telemetry import logger
from keys.binding import subject_of
from keys.jws import MAX_STATEMENT_BYTES, parse_jws
from keys.statements.revocation import verify_revocation
from schemas.audit import Event
from schemas.directory import KeyStatus
from schemas.errors import Conflict, KeyUnknown
from schemas.revocation import REVOCATION_TYP, Revocation

TOPIC = "#revocations"
"""Under which those who hold a request for the feed wait; no participant has such a name."""


async def revoke(hub: Hub, raw: bytes) -> bool:
    """Take a revocation; False if there was nothing left to revoke.

    Raises:
        Conflict: Its id belongs to another.
        LogUnavailable: It is obeyed, and could not be recorded: repeat it.
        Refused, Suspect: As `keys.statements.revocation.verify_revocation` says.
    """
    now, directory = hub.clock.now(), hub.directory.current()
    digest = hashlib.sha256(raw).digest()
    claimed = Revocation.from_json(
        parse_jws(raw, typ=REVOCATION_TYP, limit=MAX_STATEMENT_BYTES).payload
    )
    async with hub.database.read() as connection:
        before = await revocations.find(connection, claimed.id)
    if before is not None:
        if before.digest != digest:
            raise Conflict("revocation id")
        return False
    # An unrecorded one of ours must not refuse its own repetition.
    judged = hub.directory.recorded() if hub.directory.obeys_unrecorded(raw) else directory
    try:
        content = verify_revocation(raw, judged, now=now, in_force=True).content
    except KeyUnknown:
        hub.metrics.strangers.labels(KeyUnknown.code).inc()
        raise
    found = [directory.key(kid) for kid in content.keys]
    if all(one and one[1].status is KeyStatus.COMPROMISED for one in found) and judged is directory:
        return False
    hub.directory.obey_unrecorded(raw, content)  # 1
    hub.require_log()
    async with hub.database.begin() as connection:  # 2
        await revocations.record(
            connection,
            {
                "id": content.id,
                "participant": content.participant,
                "digest": digest,
                "raw": raw,
                "recorded_at": now,
            },
        )
        await participants.renew_access(connection, content.participant, now)
        leaf, opening = public_leaf(Event.KEY_REVOKED, now, subject_of(raw))
        await openings.record(
            connection,
            openings.row(leaf, opening, now=now, statement=raw, parties=(content.participant,)),
        )
        await hub.wake.elsewhere(connection, [TOPIC])
    await hub.load_revocations()
    hub.wake.here([TOPIC])
    logger().warning("key:revoked", participant=content.participant, count=len(content.keys))
    return True
