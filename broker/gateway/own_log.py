"""The gateway's own log: what it decided, recorded in the decision's own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.leaves import new_leaf
from broker.audit.log.merkle import leaf_hash
from broker.audit.log.note import NoteSigner
from broker.audit.log.sequencer import Sequencer
from broker.clock import Clock
from broker.database import Database
from broker.gateway.store.tables import log, opening
from broker.gateway.store.together import Rows, insert_together
from schemas.audit import Event
from schemas.base import b64u


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing to record: what happened, about which message or grant."""

    event: Event
    subject: bytes
    """`keys.binding.subject_of` a signed object."""
    about: UUID | None = None


class OwnLog:
    """Adds leaves inside the caller's transaction and keeps their openings in the gateway."""

    def __init__(
        self, database: Database, *, origin: str, signer: NoteSigner, clock: Clock
    ) -> None:
        self.signer = signer
        self.sequencer = Sequencer(database, log, origin=origin, signers=[signer], clock=clock)

    async def add(
        self, connection: AsyncConnection, decisions: Sequence[Decision], *, now: datetime
    ) -> None:
        """Record decisions; they are in the log if and only if the transaction commits."""
        await insert_together(connection, *self.rows(decisions, now=now))

    def rows(self, decisions: Sequence[Decision], *, now: datetime) -> list[tuple[Table, Rows]]:
        """What `add` inserts, for a caller that inserts more in the same statement."""
        made = [
            (decision, *new_leaf(decision.event, now, decision.subject)) for decision in decisions
        ]
        return [
            (log.leaf_pending, [{"body": leaf} for _, leaf, _ in made]),
            (
                opening,
                [
                    {
                        "leaf": b64u(leaf_hash(leaf)),
                        "event": decision.event.value,
                        "about": decision.about,
                        "salt": opened.salt,
                        "subject": opened.subject,
                    }
                    for decision, leaf, opened in made
                ],
            ),
        ]

    def wake(self) -> None:
        self.sequencer.wake()

    async def run(self) -> None:
        """Integrate leaves for ever."""
        await self.sequencer.run(interval=timedelta(seconds=5))
