"""Exceptions to consent: a code, a reason, and two different workers with their own credentials.

What one worker proposes lies in the vault until another approves it. The proposer's own token is
refused, whoever holds it. The other side sees that it is an exception, and why.
"""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, update

from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.network.participants import emergency_telephone
from broker.gateway.send.compose import compose
from broker.gateway.send.drafts import ExceptionDraft
from broker.gateway.send.sender import Sender, Stored
from broker.gateway.store.alarms import clear_alarms
from broker.gateway.store.tables import exception_request, outbox
from broker.gateway.vault.cases import own_case
from schemas.catalogue import message_type
from schemas.errors import ExceptionRefused, NotFound
from schemas.message import ExceptionUse

NOBODY_TO_TELL = frozenset({"anonymous_statistics"})


class Exceptions:
    """Proposes, approves, and remembers that the person was told."""

    def __init__(self, core: Core, agreements: Agreements, sender: Sender) -> None:
        self._core = core
        self._agreements = agreements
        self._sender = sender

    async def propose(self, draft: ExceptionDraft, *, worker: str) -> UUID:
        """Keep a proposal for another worker to decide; nothing leaves.

        Raises:
            ExceptionRefused: The type does not know this exception, or the review lies behind us.
        """
        core, now = self._core, self._core.now()
        if draft.code not in message_type(draft.message.type).exceptions:
            raise ExceptionRefused(where=("exception.code",))
        if draft.review_by <= now:
            raise ExceptionRefused(where=("exception.review_by",))
        exception = uuid4()
        async with core.database.begin() as connection:
            kept = await core.vault.store(
                connection,
                own_case(draft.message.case_ref),
                f"exception:{exception}",
                None,
                draft.to_json(),
            )
            await connection.execute(
                insert(exception_request).values(
                    id=exception,
                    draft=kept,
                    case_ref=draft.message.case_ref,
                    code=draft.code,
                    requested_by=worker,
                    approved_by=None,
                    message=None,
                    review_by=draft.review_by,
                    tell_by=None,
                    told_at=None,
                    created_at=now,
                    decided_at=None,
                )
            )
        return exception

    async def approve(self, exception: UUID, *, worker: str) -> Stored:
        """Send what another worker proposed.

        Raises:
            NotFound: No such proposal.
            ExceptionRefused: The same worker, or it was decided already.
        """
        core, now = self._core, self._core.now()
        async with core.database.read() as connection:
            row = (
                await connection.execute(
                    select(exception_request).where(exception_request.c.id == exception)
                )
            ).first()
            if row is None:
                raise NotFound("no such proposal")
            if row.requested_by == worker:
                raise ExceptionRefused("the worker who proposes cannot approve")
            if row.message is not None or row.draft is None:
                raise ExceptionRefused("decided already")
            draft = ExceptionDraft.from_json(await core.vault.read(connection, row.draft))
            use = ExceptionUse(
                code=draft.code,
                law=draft.law,
                reason=draft.reason,
                decided_by=row.requested_by,
                approved_by=worker,
                decided_at=now,
                review_by=draft.review_by,
                tell_person_by=draft.tell_person_by or draft.review_by,
            )
            composed = await compose(
                core, self._agreements, connection, draft.message, exception=use
            )
        async with core.database.begin() as connection:
            claimed = await connection.execute(
                update(exception_request)
                .where(exception_request.c.id == exception, exception_request.c.message.is_(None))
                .values(
                    approved_by=worker,
                    message=composed.id,
                    decided_at=now,
                    tell_by=None if draft.code in NOBODY_TO_TELL else use.tell_person_by,
                )
            )
            if claimed.rowcount == 0:
                raise ExceptionRefused("decided already")
            stored = await self._sender.store(connection, composed)
        core.wakes.outbox.set()
        core.log.wake()
        return stored

    async def whom_to_call(self, exception: UUID) -> str | None:
        """The emergency telephone of the side that an exception went to, if one is known."""
        async with self._core.database.read() as connection:
            partner = await connection.scalar(
                select(outbox.c.recipient)
                .join(exception_request, exception_request.c.message == outbox.c.id)
                .where(exception_request.c.id == exception)
            )
        return None if partner is None else await emergency_telephone(self._core, partner)

    async def told(self, exception: UUID) -> None:
        """The person was told what was sent without her consent, and why.

        Raises:
            NotFound: Nothing was sent under such an exception, or there is nobody to tell.
        """
        now = self._core.now()
        async with self._core.database.begin() as connection:
            found = await connection.execute(
                update(exception_request)
                .where(
                    exception_request.c.id == exception, exception_request.c.tell_by.is_not(None)
                )
                .values(told_at=func.coalesce(exception_request.c.told_at, now))
            )
            if found.rowcount == 0:
                raise NotFound("nobody to tell of such an exception")
            await clear_alarms(connection, exception, "exception-untold", now=now)
