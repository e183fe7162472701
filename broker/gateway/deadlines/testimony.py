"""What did not come, said under our own signature: a hub does not testify against itself.

The statement goes to nobody. It lies here with the others about the message, and its leaf is in our
own log, whose heads others have signed: later nobody can say that we made it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.core import Core
from broker.gateway.own_log import Decision
from broker.gateway.store.bulk import insert_rows, padded
from broker.gateway.store.tables import evidence, fact, outbox
from keys.binding import subject_of, uuid7
from keys.jws import sign_jws
from schemas.audit import Event
from schemas.evidence import EVIDENCE_TYP, MAX_FACTS, Evidence, Fact, FactStatement


async def testify(
    core: Core, connection: AsyncConnection, said: Fact, messages: Sequence[UUID], *, now: datetime
) -> None:
    """Sign that this did not happen to messages of ours; once for each, however often it is asked.

    Args:
        said: `overdue` or `undelivered`.
    """
    for start in range(0, len(messages), MAX_FACTS):
        await _sign(core, connection, said, messages[start : start + MAX_FACTS], now)


async def _sign(
    core: Core, connection: AsyncConnection, said: Fact, messages: Sequence[UUID], now: datetime
) -> None:
    known = set(
        await connection.scalars(
            select(fact.c.envelope).where(
                fact.c.envelope.in_(padded(list(messages))),
                fact.c.fact == said.value,
                fact.c.by == core.participant,
            )
        )
    )
    rows = (
        await connection.execute(
            select(outbox.c.id, outbox.c.digest)
            .where(outbox.c.id.in_(padded(list(messages))))
            .order_by(outbox.c.position)
        )
    ).all()
    stated = tuple(
        FactStatement(fact=said, envelope=row.id, digest=row.digest, at=now)
        for row in rows
        if row.id not in known
    )
    if not stated:
        return
    content = Evidence(id=uuid7(now), by=core.participant, to=None, issued_at=now, facts=stated)
    raw = sign_jws(content.to_json(), typ=EVIDENCE_TYP, signer=core.signer)
    await insert_rows(
        connection,
        evidence,
        [{"id": content.id, "by": content.by, "raw": raw, "received_at": now}],
    )
    await insert_rows(
        connection,
        fact,
        [
            {
                "envelope": one.envelope,
                "fact": said.value,
                "by": content.by,
                "code": None,
                "at": now,
                "evidence": content.id,
            }
            for one in stated
        ],
    )
    await core.log.add(connection, [Decision(Event.DEADLINE_BREACHED, subject_of(raw))], now=now)
