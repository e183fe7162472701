"""The one transaction in which received messages become ours, or are refused on the record.

The verdict (`seen`), the content in the vault, the inbox row, the thread's new state, the fact that
the sender is owed and the leaf of our log commit together or not at all. A crash before the commit
leaves a message that comes again; after it, one that is a copy when it comes again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.consent import partner_case
from broker.gateway.core import Core
from broker.gateway.erasures import attested
from broker.gateway.own_log import Decision
from broker.gateway.receipts import Owed, owe
from broker.gateway.store import grants as grant_store
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    grant as grant_table,
)
from broker.gateway.store.tables import (
    inbox,
    inbox_attachment,
    inbox_section,
    outbox,
    seen,
    withdrawal,
)
from broker.gateway.unpack import Unpacked
from broker.gateway.vault import NewItem
from broker.gateway.withdrawal import Withdrawals
from keys.binding import blind_scope
from schemas.audit import Event
from schemas.base import b64u
from schemas.bodies.consent import Record, Update, Withdraw, WithdrawAck
from schemas.envelope import MAX_SKEW_SECONDS, NEVER_HELD_BACK, Kind, VerifiedEnvelope
from schemas.errors import (
    BadSignature,
    BrokerError,
    ConsentScope,
    ConsentWithdrawn,
    Refused,
    Suspect,
)
from schemas.evidence import Fact

REMEMBER = timedelta(seconds=MAX_SKEW_SECONDS)
"""How much longer than its life an id is remembered."""
CONTENT = "message"
"""The vault's name for what is not a section: type, body, scopes."""


@dataclass(frozen=True, slots=True)
class Verdicted:
    """An envelope whose sender is known, and what the checks made of it."""

    envelope: VerifiedEnvelope
    unpacked: Unpacked | None
    error: BrokerError | None

    @property
    def id(self) -> UUID:
        return self.envelope.content.id

    @property
    def digest(self) -> str:
        return b64u(self.envelope.digest)


class Intake:
    """Stores verdicts."""

    def __init__(self, core: Core, withdrawals: Withdrawals) -> None:
        self._core = core
        self._withdrawals = withdrawals

    def wake(self) -> None:
        """After the commit: whoever works on what was stored."""
        wakes = self._core.wakes
        for event in (
            wakes.filing,
            wakes.receipts,
            wakes.withdrawals,
            wakes.outbox,
            wakes.attachments,
        ):
            event.set()
        self._core.log.wake()

    async def store(
        self, connection: AsyncConnection, verdicts: Sequence[Verdicted]
    ) -> list[tuple[Verdicted, BrokerError]]:
        """Store a batch in the caller's transaction.

        Returns:
            Those that are suspect, for the caller to quarantine in the same transaction.
        """
        suspects: list[tuple[Verdicted, BrokerError]] = [
            (item, item.error) for item in verdicts if isinstance(item.error, Suspect)
        ]
        others = [item for item in verdicts if not isinstance(item.error, Suspect)]
        grants = await self._locked_grants(connection, others)
        others = [self._still_granted(item, grants) for item in others]
        new, conflicting = await self._remember(connection, others)
        suspects += [(item, BadSignature("the same id with other bytes")) for item in conflicting]
        await self._remember_suspects(connection, suspects)
        accepted: list[Unpacked] = []
        refused: list[tuple[Verdicted, Refused]] = []
        known = await threads.load_many(
            connection, [item.envelope.content.thread for item in new if item.unpacked], lock=True
        )
        entries: list[threads.Entry] = []
        for item in new:
            error = item.error or self._move_thread(item, known, entries)
            if isinstance(error, Refused):
                refused.append((item, error))
            elif item.unpacked is not None:
                accepted.append(item.unpacked)
        await threads.record(
            connection, entries, ourselves=self._core.participant, now=self._core.now()
        )
        await self._refuse(connection, refused, suspects)
        await self._accept(connection, accepted, grants)
        return suspects

    # --- judging again, under the locks -------------------------------------------------------

    async def _locked_grants(
        self, connection: AsyncConnection, items: Sequence[Verdicted]
    ) -> dict[UUID, GrantState]:
        ids = {
            item.envelope.content.consent.grant
            for item in items
            if item.envelope.content.consent is not None
        }
        return await grant_store.load_grants(connection, ids, lock=True)

    def _still_granted(self, item: Verdicted, grants: dict[UUID, GrantState]) -> Verdicted:
        """A withdrawal that was stored since we looked wins."""
        tag = item.envelope.content.consent
        if item.error is not None or tag is None or item.envelope.content.kind in NEVER_HELD_BACK:
            return item
        grant = grants.get(tag.grant)
        if grant is None:
            return item
        if grant.withdrawn:
            return Verdicted(item.envelope, None, ConsentWithdrawn())
        if set(tag.scopes) & grant.removed:
            return Verdicted(item.envelope, None, ConsentScope())
        return item

    async def _remember(
        self, connection: AsyncConnection, items: Sequence[Verdicted]
    ) -> tuple[list[Verdicted], list[Verdicted]]:
        """Claim the ids. Of two copies at once one gets it, whatever the channels do."""
        if not items:
            return [], []
        now = self._core.now()
        values = [
            {
                "id": item.id,
                "digest": item.digest,
                "sender": item.envelope.content.from_,
                "outcome": "delivered" if item.error is None else "refused",
                "code": None if item.error is None else item.error.code,
                "at": now,
                "forget_after": item.envelope.content.expires_at + REMEMBER,
            }
            for item in items
        ]
        statement = insert_for(connection, seen).values(values).on_conflict_do_nothing()
        claimed = set((await connection.execute(statement.returning(seen.c.id))).scalars())
        lost = [item for item in items if item.id not in claimed]
        conflicting = []
        if lost:
            known = {
                row.id: row.digest
                for row in await connection.execute(
                    select(seen.c.id, seen.c.digest).where(
                        seen.c.id.in_([item.id for item in lost])
                    )
                )
            }
            conflicting = [item for item in lost if known.get(item.id) != item.digest]
        return [item for item in items if item.id in claimed], conflicting

    async def _remember_suspects(
        self, connection: AsyncConnection, suspects: Sequence[tuple[Verdicted, BrokerError]]
    ) -> None:
        for item, error in suspects:
            values = {
                "id": item.id,
                "digest": item.digest,
                "sender": item.envelope.content.from_,
                "outcome": "suspect",
                "code": error.code,
                "at": self._core.now(),
                "forget_after": item.envelope.content.expires_at + REMEMBER,
            }
            # If the id is taken, the good message that has it keeps it.
            await connection.execute(
                insert_for(connection, seen).values(**values).on_conflict_do_nothing()
            )

    def _move_thread(
        self,
        item: Verdicted,
        known: dict[UUID, threads.ThreadState],
        entries: list[threads.Entry],
    ) -> Refused | None:
        """Apply the message to its thread; the error if the state machine does not have it."""
        opened, content = item.unpacked, item.envelope.content
        if opened is None or not threads.has_states(opened.row):
            return None
        before = known.get(content.thread)
        try:
            if before is None:
                if not opened.row.opens:
                    return threads.not_permitted()
                before = threads.new_thread(
                    opened.row,
                    thread_id=content.thread,
                    partner=content.from_,
                    role=threads.RECIPIENT,
                    case_ref=opened.message.case_ref,
                    business_id=opened.message.business_id,
                )
            elif before.partner != content.from_:
                # Threads are never shared with a third; say no more than that it is not permitted.
                return threads.not_permitted()
            step = threads.take_step(before, opened.row, opened.body, ours=False)
        except Refused as error:
            return error
        if opened.row.opens:
            step = threads.Step(threads.broker_event(step.thread, "delivered"), step.effect)
        known[content.thread] = step.thread
        entries.append(threads.Entry(step, content.id, opened.row.name, content.from_))
        return None

    # --- refusing -----------------------------------------------------------------------------

    async def _refuse(
        self,
        connection: AsyncConnection,
        refused: Sequence[tuple[Verdicted, Refused]],
        suspects: Sequence[tuple[Verdicted, BrokerError]],
    ) -> None:
        """A code for the refused, the bare word for the suspect, a leaf for both."""
        now = self._core.now()
        owed, decisions = [], []
        for item, error in refused:
            await connection.execute(
                update(seen).where(seen.c.id == item.id).values(outcome="refused", code=error.code)
            )
            owed.append(self._owed(item, Fact.REFUSED, error.code))
            decisions.append(Decision(Event.ENVELOPE_REFUSED, item.envelope.digest, item.id))
        for item, _ in suspects:
            owed.append(self._owed(item, Fact.REFUSED, "suspect"))
            decisions.append(Decision(Event.MESSAGE_QUARANTINED, item.envelope.digest, item.id))
        await owe(connection, owed)
        await self._core.log.add(connection, decisions, now=now)

    def _owed(self, item: Verdicted, fact: Fact, code: str | None = None) -> Owed:
        return Owed(item.envelope.content.from_, item.id, item.digest, fact, self._core.now(), code)

    # --- accepting ----------------------------------------------------------------------------

    async def _accept(
        self,
        connection: AsyncConnection,
        accepted: Sequence[Unpacked],
        grants: dict[UUID, GrantState],
    ) -> None:
        if not accepted:
            return
        core, now = self._core, self._core.now()
        items, places = _vault_items(accepted)
        refs = await core.vault.store_many(connection, items)
        placed = dict(zip(places, refs, strict=True))
        await connection.execute(
            insert(inbox), [self._inbox_row(opened, placed) for opened in accepted]
        )
        sections = [row for opened in accepted for row in _section_rows(opened, placed)]
        if sections:
            await connection.execute(insert(inbox_section), sections)
        files = [row for opened in accepted for row in self._file_rows(opened, placed)]
        if files:
            await connection.execute(insert(inbox_attachment), files)
        for opened in accepted:
            await self._learn(connection, opened, grants)
            await self._consequences(connection, opened, grants)
        await owe(
            connection,
            [
                Owed(
                    opened.envelope.content.from_,
                    opened.envelope.content.id,
                    b64u(opened.envelope.digest),
                    Fact.DELIVERED,
                    now,
                )
                for opened in accepted
            ],
        )
        decisions = [
            Decision(Event.MESSAGE_RECEIVED, opened.envelope.digest, opened.envelope.content.id)
            for opened in accepted
        ]
        decisions += [
            Decision(Event.EXCEPTION_USED, opened.envelope.digest, opened.envelope.content.id)
            for opened in accepted
            if opened.message.exception is not None
        ]
        await core.log.add(connection, decisions, now=now)

    def _inbox_row(self, opened: Unpacked, placed: dict[tuple[UUID, str], str]) -> dict[str, Any]:
        content, message, now = opened.envelope.content, opened.message, self._core.now()
        return {
            "id": content.id,
            "business_id": message.business_id,
            "thread": content.thread,
            "in_reply_to": content.in_reply_to,
            "type": opened.row.name,
            "kind": content.kind.value,
            "sender": content.from_,
            "lane": content.lane.value,
            "grant": None if content.consent is None else content.consent.grant,
            "case_ref": message.case_ref,
            "recipient_case_ref": message.recipient_case_ref,
            "digest": b64u(opened.envelope.digest),
            "content": placed[content.id, CONTENT],
            "state": "delivered" if opened.row.filed else "kept",
            "code": None,
            "reference": None,
            "attempts": 0,
            "next_attempt_at": now,
            "received_at": now,
            "filed_at": None,
            "opened_at": None,
            "answer_by": content.answer_by,
            "expires_at": content.expires_at,
            "derived_from": message.derived_from,
            "erased_at": None,
        }

    def _file_rows(
        self, opened: Unpacked, placed: dict[tuple[UUID, str], str]
    ) -> list[dict[str, Any]]:
        content = opened.envelope.content
        scopes = {ref.digest: ref.scope for ref in content.attachments}
        return [
            {
                "message": content.id,
                "digest": file.digest,
                "section": file.section,
                "scope": scopes[file.digest],
                "key": placed[content.id, "file:" + file.digest],
                "state": "waiting",
                "content": None,
                "attempts": 0,
                "next_attempt_at": self._core.now(),
            }
            for file in opened.message.attachments
        ]

    async def _learn(
        self, connection: AsyncConnection, opened: Unpacked, grants: dict[UUID, GrantState]
    ) -> None:
        """What the message tells of its grant: its key, and what its scopes stand for."""
        tag, message = opened.envelope.content.consent, opened.message
        grant = None if tag is None else grants.get(tag.grant)
        if grant is None or grant.withdrawn or grant.recipient != self._core.participant:
            return
        names = {
            entry.scope: (str(entry.purpose), entry.section)
            for entry in message.scopes
            if entry.scope is not None and grant.scopes.get(entry.scope) is None
        }
        body = opened.body
        case = partner_case(opened.envelope.content.from_, message.case_ref)
        if isinstance(body, Record):
            names = {
                blind_scope(message.grant_key, item.purpose, item.section): (
                    str(item.purpose),
                    item.section,
                )
                for item in body.record.scopes
                if message.grant_key is not None
            }
            kept = await self._core.vault.store(
                connection, case, "consent", grant.id, body.record.to_json()
            )
            await connection.execute(
                update(grant_table)
                .where(grant_table.c.id == grant.id)
                .values(record=kept, case_ref=message.case_ref)
            )
        if grant.secret is None and message.grant_key is not None:
            secret = await self._core.vault.store(
                connection, case, "grant-key", grant.id, message.grant_key
            )
            await connection.execute(
                update(grant_table).where(grant_table.c.id == grant.id).values(secret=secret)
            )
        await grant_store.name_scopes(connection, grant.id, names)

    async def _consequences(
        self, connection: AsyncConnection, opened: Unpacked, grants: dict[UUID, GrantState]
    ) -> None:
        """What some messages change beyond their own row."""
        content, now = opened.envelope.content, self._core.now()
        if content.in_reply_to is not None:
            await clear_alarms(connection, content.in_reply_to, "answer-overdue", now=now)
        if opened.message.exception is not None:
            await raise_alarm(connection, "exception-received", content.id, now=now)
        tag = content.consent
        if isinstance(opened.body, (Withdraw, Update)) and tag is not None:
            await self._withdrawals.accept(
                connection,
                grants[tag.grant],
                tag.scopes,
                message=content.id,
                digest=b64u(opened.envelope.digest),
                by=content.from_,
            )
        elif isinstance(opened.body, WithdrawAck):
            await self._acknowledged(connection, opened, opened.body)

    async def _acknowledged(
        self, connection: AsyncConnection, opened: Unpacked, body: WithdrawAck
    ) -> None:
        """Somebody answered our withdrawal: who has erased what, there and further on."""
        content = opened.envelope.content
        grant_id = await connection.scalar(
            select(outbox.c.grant).where(
                outbox.c.id == content.in_reply_to,
                outbox.c.kind == Kind.WITHDRAWAL.value,
                outbox.c.recipient == content.from_,
            )
        ) or await connection.scalar(
            # Or of a withdrawal that the other side ordered itself, and now reports on.
            select(withdrawal.c.grant).where(
                withdrawal.c.message == content.in_reply_to, withdrawal.c.by == content.from_
            )
        )
        if grant_id is None:
            return
        for by, stores in (
            (content.from_, body.stores),
            *((onward.participant, onward.stores) for onward in body.onward),
        ):
            await attested(
                self._core,
                connection,
                grant_id,
                by,
                stores,
                at=content.issued_at,
                message=content.id,
            )


def _vault_items(
    accepted: Sequence[Unpacked],
) -> tuple[list[NewItem], list[tuple[UUID, str]]]:
    """Everything of a batch that goes into the vault, and the name of each thing."""
    items: list[NewItem] = []
    places: list[tuple[UUID, str]] = []
    for opened in accepted:
        content, message = opened.envelope.content, opened.message
        case = partner_case(content.from_, message.case_ref)
        grant = None if content.consent is None else content.consent.grant
        bare = message.model_copy(update={"sections": {}, "attachments": (), "grant_key": None})
        items.append(NewItem(case, CONTENT, grant, bare.to_json()))
        places.append((content.id, CONTENT))
        for name, value in message.sections.items():
            items.append(NewItem(case, name, grant, json.dumps(value, ensure_ascii=False).encode()))
            places.append((content.id, name))
        for file in message.attachments:
            items.append(NewItem(case, file.section, grant, file.to_json()))
            places.append((content.id, "file:" + file.digest))
    return items, places


def _section_rows(opened: Unpacked, placed: dict[tuple[UUID, str], str]) -> list[dict[str, Any]]:
    message = opened.envelope.content.id
    entries = {entry.section: entry for entry in opened.message.scopes}
    return [
        {
            "message": message,
            "section": name,
            "purpose": entries[name].purpose.value,
            "scope": entries[name].scope,
            "content": placed[message, name],
        }
        for name in opened.message.sections
    ]
