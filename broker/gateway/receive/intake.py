"""The one transaction in which received messages become ours, or are refused on the record.

The verdict (`seen`), the content in the vault, the inbox row, the thread's new state, the fact that
the sender is owed and the leaf of our log commit together or not at all. A crash before the commit
leaves a message that comes again; after it, one that is a copy when it comes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Table, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway import threads
from broker.gateway.consent.exclusions import Excluding
from broker.gateway.consent.withdrawal import Withdrawals
from broker.gateway.core import Core, ToFile
from broker.gateway.erasure.orders import Orders
from broker.gateway.own_log import Decision
from broker.gateway.receive.consequences import Consequences
from broker.gateway.receive.receipts import Owed, receipt_rows
from broker.gateway.receive.rows import (
    disclosure_rows,
    file_rows,
    inbox_row,
    section_rows,
    to_file,
    vault_items,
)
from broker.gateway.receive.unpack import Unpacked
from broker.gateway.rights import ledger
from broker.gateway.store.bulk import padded
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import (
    disclosure,
    inbox,
    inbox_attachment,
    inbox_section,
    receipt,
    receipt_packet,
    seen,
)
from broker.gateway.store.together import Rows, insert_missing, insert_together, update_rows
from schemas.audit import Event
from schemas.base import b64u
from schemas.envelope import BARE, MAX_SKEW_SECONDS, VerifiedEnvelope
from schemas.errors import BrokerError, Refused, Suspect, Unavailable
from schemas.evidence import Fact

REMEMBER = timedelta(seconds=MAX_SKEW_SECONDS)
"""How much longer than its life an id is remembered."""


MOST_OVERTAKING = 10_000
"""Messages of unknown threads whose waiting is remembered; beyond it, the oldest wait anew."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Which ids of a batch are ours to judge now."""

    claimed: frozenset[UUID]
    copies: frozenset[UUID]
    """Judged before, with the same bytes. What is in neither came before with other bytes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch."""

    suspects: tuple[tuple[VerifiedEnvelope, Suspect], ...]
    """For the caller to quarantine in the same transaction."""
    given_back: frozenset[UUID]
    """Not stored after all: these must come again."""
    to_file: tuple[ToFile, ...]
    files: bool
    """There are attachments to be fetched."""
    withdrawals: bool
    """There is something to be erased, acknowledged or passed on."""


@dataclass(frozen=True, slots=True)
class Verdicted:
    """An envelope whose sender is known, and what the checks made of it."""

    envelope: VerifiedEnvelope
    unpacked: Unpacked | None
    error: BrokerError | None

    @property
    def id(self) -> UUID:
        return self.envelope.content.id


class Intake:
    """Stores verdicts."""

    def __init__(
        self, core: Core, withdrawals: Withdrawals, orders: Orders, excluding: Excluding
    ) -> None:
        self._core = core
        self._withdrawals = withdrawals
        self._consequences = Consequences(core, withdrawals, orders, excluding)
        self._overtaking: OrderedDict[UUID, datetime] = OrderedDict()
        """Since when messages wait for the one that opens their thread."""

    def wake(self, stored: Stored) -> None:
        """After the commit: whoever works on what was stored."""
        wakes = self._core.wakes
        self._core.to_file.put(stored.to_file)
        wakes.filing.set()
        wakes.receipts.set()
        if stored.files:
            wakes.attachments.set()
        if stored.withdrawals:
            wakes.withdrawals.set()
            wakes.outbox.set()  # acknowledgements, and withdrawals passed on
        self._core.log.wake()

    async def claim(
        self, connection: AsyncConnection, envelopes: Sequence[VerifiedEnvelope]
    ) -> Claims:
        """Claim ids, which differ, for the caller's transaction. Of two copies at once one gets
        it, whatever the channels do; the other waits here and finds what became of the first."""
        now = self._core.now()
        rows = [
            {
                "id": envelope.content.id,
                "digest": b64u(envelope.digest),
                "sender": envelope.content.from_,
                "outcome": "delivered",
                "code": None,
                "at": now,
                "forget_after": envelope.content.expires_at + REMEMBER,
            }
            # Sorted: two batches with the same copies must not wait for each other in a ring.
            for envelope in sorted(envelopes, key=lambda item: item.content.id)
        ]
        claimed = {key for (key,) in await insert_missing(connection, seen, rows)}
        lost = {
            envelope.content.id: b64u(envelope.digest)
            for envelope in envelopes
            if envelope.content.id not in claimed
        }
        known = await self.recall(connection, list(lost))
        copies = {key for key, digest in lost.items() if known.get(key) == digest}
        return Claims(frozenset(claimed), frozenset(copies))

    async def recall(self, connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, str]:
        """The digests under which these ids came before."""
        if not ids:
            return {}
        found = await connection.execute(
            select(seen.c.id, seen.c.digest).where(seen.c.id.in_(padded(ids)))
        )
        return {row.id: row.digest for row in found}

    async def owe_again(
        self, connection: AsyncConnection, envelopes: Sequence[VerifiedEnvelope]
    ) -> None:
        """Copies have come of what has its verdict: if no receipt of it was taken or is under way,
        ours was lost, and the sender is owed it again."""
        ids = padded([envelope.content.id for envelope in envelopes])
        if not envelopes:
            return
        answered = set(
            (
                await connection.execute(
                    select(receipt.c.envelope)
                    .outerjoin(receipt_packet, receipt_packet.c.id == receipt.c.packet)
                    .where(
                        receipt.c.envelope.in_(ids),
                        or_(receipt.c.packet.is_(None), receipt_packet.c.state != "failed"),
                    )
                )
            ).scalars()
        )
        rows = await connection.execute(
            select(seen, inbox.c.state, inbox.c.filed_at, inbox.c.code.label("filing_code"))
            .outerjoin(inbox, inbox.c.id == seen.c.id)
            .where(seen.c.id.in_(ids))
        )
        owed = []
        for row in rows:
            if row.id in answered:
                continue
            if row.outcome != "delivered":
                code = "suspect" if row.outcome == "suspect" else row.code
                owed.append(Owed(row.sender, row.id, row.digest, Fact.REFUSED, row.at, code))
                continue
            owed.append(Owed(row.sender, row.id, row.digest, Fact.DELIVERED, row.at))
            if row.filed_at is not None:
                owed.append(Owed(row.sender, row.id, row.digest, Fact.FILED, row.filed_at))
            elif row.state == "failed":
                owed.append(
                    Owed(row.sender, row.id, row.digest, Fact.FAILED, row.at, row.filing_code)
                )
        await insert_together(connection, (receipt, receipt_rows(owed)))

    async def store(
        self,
        connection: AsyncConnection,
        verdicts: Sequence[Verdicted],
        suspects: Sequence[tuple[VerifiedEnvelope, Suspect]],
        grants: dict[UUID, GrantState],
    ) -> Stored:
        """Store a batch in the transaction that claimed its ids.

        Args:
            verdicts: Of those whose ids were claimed.
            suspects: Of those whose id is somebody else's: the good message that has it keeps it.
            grants: Locked in this transaction; what the messages tell of them is added.
        """
        accepted: list[Unpacked] = []
        refused: list[tuple[Verdicted, BrokerError]] = []
        given_back: list[UUID] = []
        # In the order of the sender's streams: what came together overtakes nothing.
        verdicts = sorted(verdicts, key=_in_stream)
        known = await threads.load_many(
            connection,
            list({item.envelope.content.thread for item in verdicts if _has_states(item)}),
            lock=True,
        )
        entries: list[threads.Entry] = []
        for item in verdicts:
            error = item.error or self._move_thread(item, known, entries)
            if isinstance(error, Unavailable):
                given_back.append(item.id)
            elif error is not None:
                refused.append((item, error))
            elif item.unpacked is not None:
                accepted.append(item.unpacked)
        states, events = await threads.move(
            connection, entries, ourselves=self._core.participant, now=self._core.now()
        )
        if given_back:
            await connection.execute(delete(seen).where(seen.c.id.in_(padded(given_back))))
        await update_rows(
            connection,
            seen,
            [
                {
                    "id": item.id,
                    "outcome": "suspect" if isinstance(error, Suspect) else "refused",
                    "code": error.code,
                }
                for item, error in refused
            ],
            key="id",
        )
        owed, decisions = self._refusals([(item.envelope, error) for item, error in refused])
        more = self._refusals(suspects)
        rows = await self._accept(connection, accepted, owed + more[0], decisions + more[1])
        await insert_together(connection, *rows, *events, merges=[states])
        for opened in accepted:
            await self._consequences.learn(connection, opened, grants)
        await self._consequences.follow(connection, accepted, grants)
        return Stored(
            suspects=tuple(
                (item.envelope, error) for item, error in refused if isinstance(error, Suspect)
            ),
            given_back=frozenset(given_back),
            to_file=tuple(to_file(opened) for opened in accepted if opened.row.filed),
            files=any(opened.message.attachments for opened in accepted),
            withdrawals=any(opened.row.kind in BARE for opened in accepted),
        )

    def _move_thread(
        self,
        item: Verdicted,
        known: dict[UUID, threads.ThreadState],
        entries: list[threads.Entry],
    ) -> BrokerError | None:
        """Apply the message to its thread; the error if the state machine does not have it."""
        opened, content = item.unpacked, item.envelope.content
        if opened is None or not threads.has_states(opened.row):
            return None
        waited_since = self._overtaking.pop(item.id, None)
        before = known.get(content.thread)
        is_new = before is None
        try:
            if before is None:
                if not opened.row.opens or content.in_reply_to is not None:
                    return self._overtaken(item.id, waited_since)
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
            step = threads.take_step(
                before, opened.row, opened.body, ours=False, message=content.id
            )
        except Refused as error:
            return error
        if is_new:
            step = replace(step, thread=threads.broker_event(step.thread, "delivered"))
        known[content.thread] = step.thread
        entries.append(
            threads.Entry(step, content.id, opened.row.name, content.from_, opens=is_new)
        )
        return None

    def _overtaken(self, message: UUID, since: datetime | None) -> BrokerError:
        """A message of a thread that is not here: perhaps it has overtaken the one that opens it.

        How long it has waited is known to us alone; after a restart it may wait once more.
        """
        now = self._core.now()
        since = min(since or now, now)  # not from a clock that was ahead
        if now - since >= self._core.settings.receive.overtaken:
            return threads.not_permitted()
        self._overtaking[message] = since
        while len(self._overtaking) > MOST_OVERTAKING:
            self._overtaking.popitem(last=False)
        return Unavailable("its thread is not open yet")

    async def obey(self, envelope: VerifiedEnvelope, grant: GrantState) -> bool:
        """Obey a withdrawal by what its header says, whoever it is addressed to, unopened.

        The caller has verified who wrote it and that it is theirs to write. True if that was new.
        """
        content = envelope.content
        async with self._core.database.begin() as connection:
            known = await self._withdrawals.is_known(connection, content.id)
            if content.consent is None or known:
                return False
            await self._withdrawals.accept(
                connection,
                grant,
                content.consent.scopes,
                message=content.id,
                # Only the addressee states facts about an envelope.
                digest=b64u(envelope.digest) if content.to == self._core.participant else "",
                by=content.from_,
            )
        self._core.wakes.withdrawals.set()
        self._core.wakes.outbox.set()
        return True

    # --- refusing -----------------------------------------------------------------------------

    def _refusals(
        self, refused: Sequence[tuple[VerifiedEnvelope, BrokerError]]
    ) -> tuple[list[Owed], list[Decision]]:
        """A code for the refused, the bare word for the suspect, a leaf for both."""
        owed, decisions = [], []
        now = self._core.now()
        for envelope, error in refused:
            suspect = isinstance(error, Suspect)
            code = "suspect" if suspect else error.code
            message = envelope.content.id
            digest = b64u(envelope.digest)
            owed.append(Owed(envelope.content.from_, message, digest, Fact.REFUSED, now, code))
            event = Event.MESSAGE_QUARANTINED if suspect else Event.ENVELOPE_REFUSED
            decisions.append(Decision(event, envelope.digest, message))
        return owed, decisions

    # --- accepting ----------------------------------------------------------------------------

    async def _accept(
        self,
        connection: AsyncConnection,
        accepted: Sequence[Unpacked],
        owed: Sequence[Owed],
        decisions: Sequence[Decision],
    ) -> list[tuple[Table, Rows]]:
        """Everything that the batch adds, and what it owes and records beside."""
        core, now = self._core, self._core.now()
        items, places = vault_items(accepted)
        refs, kept = await core.vault.prepare_many(connection, items)
        placed = dict(zip(places, refs, strict=True))
        owed = [
            *owed,
            *(
                Owed(
                    opened.envelope.content.from_,
                    opened.envelope.content.id,
                    b64u(opened.envelope.digest),
                    Fact.DELIVERED,
                    now,
                )
                for opened in accepted
            ),
        ]
        disclosed = [row for opened in accepted for row in disclosure_rows(opened, now)]
        decisions = [
            *decisions,
            *(ledger.decision(row) for row in disclosed),
            *(
                Decision(event, opened.envelope.digest, opened.envelope.content.id)
                for opened in accepted
                for event in (
                    (Event.MESSAGE_RECEIVED, Event.EXCEPTION_USED)
                    if opened.message.exception is not None
                    else (Event.MESSAGE_RECEIVED,)
                )
            ),
        ]
        return [
            *kept,
            (inbox, [inbox_row(opened, placed, now) for opened in accepted]),
            (inbox_section, [row for opened in accepted for row in section_rows(opened, placed)]),
            (
                inbox_attachment,
                [row for opened in accepted for row in file_rows(opened, placed, now)],
            ),
            (disclosure, disclosed),
            (receipt, receipt_rows(owed)),
            *core.log.rows(decisions, now=now),
        ]


def _in_stream(item: Verdicted) -> tuple[str, str, int]:
    content = item.envelope.content
    return content.from_, content.lane.value, content.stream.number


def _has_states(item: Verdicted) -> bool:
    return item.unpacked is not None and threads.has_states(item.unpacked.row)
