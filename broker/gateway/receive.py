"""Step 8 of a referral's life: verify, unseal, ask the rules, store. The same on both channels.

Order, for each envelope:

1.  strict parse, the sender's key and signature, addressed to us     (`unpack.verify`)
2.  the same id before? same bytes: done already; other bytes: suspect
3.  what we know of consent is fresh, else the hub is asked first; safety excepted
4.  the header rules, on a grant and an agreement that we verified ourselves
5.  unseal; every blinded scope stands for what is inside             (`unpack.unpack`)
6.  the content rules again
7.  the thread's state allows it
8.  vault, inbox, verdict, fact `delivered` and leaf in one transaction
9.  only then is the channel told

A `Refused` is answered with its code, a `Suspect` goes to quarantine and its sender hears only
`suspect`, an `Unavailable` leaves everything as it was. Before step 1 there is no sender to answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.agreements import Agreements
from broker.gateway.consent import Consents
from broker.gateway.content_check import ask, consent_of, read_record
from broker.gateway.core import Core
from broker.gateway.evidence import EvidenceBook
from broker.gateway.intake import Intake, Verdicted
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import insert_new
from broker.gateway.store.grants import GrantState
from broker.gateway.store.tables import quarantine, seen
from broker.gateway.unpack import Unpacked, check_record, unpack, verify
from broker.rules.content import Moment
from broker.rules.header import Question, header_of, judge, refusal
from broker.telemetry import logger
from keys.signing import parse_envelope, verify_evidence
from schemas.base import b64u
from schemas.bodies.consent import Record
from schemas.envelope import NEVER_HELD_BACK, Kind, VerifiedEnvelope
from schemas.errors import (
    BadSignature,
    BrokerError,
    ConsentStale,
    KeyUnknown,
    StorageUnavailable,
    Suspect,
    Unavailable,
)


class Outcome(Enum):
    """What the channel is told about one delivery."""

    DONE = "done"
    """Committed, one way or another: it need not come again."""
    LATER = "later"
    """Nothing was done: it must come again."""
    QUARANTINED = "quarantined"
    """Committed to our quarantine; the channel may keep a copy in its own."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery of a channel."""

    kind: str
    """`envelope` or `evidence`."""
    jws: bytes


@dataclass
class _Item:
    """One envelope on its way through the steps."""

    index: int
    raw: bytes
    verified: VerifiedEnvelope | None = None
    unpacked: Unpacked | None = None
    error: BrokerError | None = None
    done: bool = False
    outcome: Outcome = Outcome.LATER


@dataclass
class _Context:
    """What a batch is judged by, loaded once for all."""

    grants: dict[UUID, GrantState] = field(default_factory=dict)


class Receiver:
    """Receives what channels bring. Safe to call from several channels at once."""

    def __init__(
        self,
        core: Core,
        agreements: Agreements,
        consents: Consents,
        book: EvidenceBook,
        intake: Intake,
    ) -> None:
        self._core = core
        self._agreements = agreements
        self._consents = consents
        self._book = book
        self._intake = intake
        self._freshening = asyncio.Lock()

    async def receive(self, items: Sequence[Incoming], channel: str) -> list[Outcome]:
        """Receive a batch; one answer for each item, in order."""
        outcomes = [Outcome.LATER] * len(items)
        evidence = [i for i, item in enumerate(items) if item.kind == "evidence"]
        envelopes = [i for i, item in enumerate(items) if item.kind != "evidence"]
        for i, outcome in zip(
            evidence, await self._evidence([items[i].jws for i in evidence], channel), strict=True
        ):
            outcomes[i] = outcome
        for i, outcome in zip(
            envelopes, await self.envelopes([items[i].jws for i in envelopes], channel), strict=True
        ):
            outcomes[i] = outcome
        return outcomes

    # --- evidence -----------------------------------------------------------------------------

    async def _evidence(self, raws: Sequence[bytes], channel: str) -> list[Outcome]:
        if not raws:
            return []
        try:
            checked = await asyncio.to_thread(self._verify_evidence, raws)
            if any(isinstance(item, KeyUnknown) for item in checked):
                await self._core.directory.refresh()
                checked = await asyncio.to_thread(self._verify_evidence, raws)
            outcomes = []
            async with self._core.database.begin() as connection:
                for raw, item in zip(raws, checked, strict=True):
                    if isinstance(item, BrokerError):
                        # Forged or broken: it changes nothing, and a person looks at it.
                        await self._quarantine(connection, raw, item, channel)
                        outcomes.append(Outcome.QUARANTINED)
                    else:
                        outcomes.append(Outcome.DONE)
                good = [item for item in checked if not isinstance(item, BrokerError)]
                await self._book.keep(connection, good)
        except Unavailable as error:
            logger().warning("receive:later", code=error.code, count=len(raws))
            return [Outcome.LATER] * len(raws)
        self._core.log.wake()
        return outcomes

    def _verify_evidence(self, raws: Sequence[bytes]) -> list[Any]:
        directory, now = self._core.trusted(), self._core.now()
        found: list[Any] = []
        for raw in raws:
            try:
                found.append(verify_evidence(raw, directory, now=now))
            except BrokerError as error:
                found.append(error)
        return found

    # --- envelopes ----------------------------------------------------------------------------

    async def envelopes(self, raws: Sequence[bytes], channel: str) -> list[Outcome]:
        """Receive envelopes. Withdrawals and safety alerts of the batch come first (I-3)."""
        if not raws:
            return []
        items = [_Item(index, raw) for index, raw in enumerate(raws)]
        try:
            await self._verify_all(items)  # 1
            first = [item for item in items if _never_held_back(item)]
            rest = [item for item in items if not _never_held_back(item)]
            for group in (first, rest):
                await self._group(group, channel)
        except Unavailable as error:
            logger().warning("receive:later", code=error.code, count=len(raws))
        return [item.outcome for item in items]

    async def _group(self, items: list[_Item], channel: str) -> None:
        if not items:
            return
        try:
            await self._judge_all(items)
            await self._commit(items, channel)
        except Unavailable:
            raise
        except Exception as error:
            if len(items) == 1:
                await self._bug(items[0], channel, error)
                return
            # One by one, so that what one message provokes costs no other.
            for item in items:
                item.done, item.unpacked = False, None
                if item.verified is not None:
                    item.error = None
                await self._group([item], channel)

    async def _verify_all(self, items: list[_Item]) -> None:
        await asyncio.to_thread(self._verify, items)
        if any(isinstance(item.error, KeyUnknown) for item in items):
            # Perhaps enrolled since we last looked. With the hub away the message waits.
            await self._core.directory.refresh()
            await asyncio.to_thread(self._verify, items)

    def _verify(self, items: list[_Item]) -> None:
        directory, now = self._core.trusted(), self._core.now()
        for item in items:
            if item.verified is not None:
                continue
            item.error = None
            try:
                item.verified = verify(
                    item.raw, directory, ourselves=self._core.participant, now=now
                )
            except BrokerError as error:
                item.error = error

    # --- judging ------------------------------------------------------------------------------

    async def _judge_all(self, items: list[_Item]) -> None:
        """Steps 2 to 6: set each item's `unpacked`, its `error`, or `done` for a copy."""
        await self._mark_copies(items)  # 2
        open_items = [item for item in items if _is_open(item)]
        await self._freshen(open_items)  # 3
        context = await self._context(open_items)
        async with self._core.database.read() as connection:
            records = {
                grant_id: await read_record(self._core, connection, grant)
                for grant_id, grant in context.grants.items()
                if not grant.withdrawn
            }
        await asyncio.to_thread(self._open_all, open_items, context, records)  # 4, 5, 6

    async def _mark_copies(self, items: list[_Item]) -> None:
        ids = [item.verified.content.id for item in items if item.verified is not None]
        known: dict[UUID, str] = {}
        async with self._core.database.read() as connection:
            for row in await connection.execute(
                select(seen.c.id, seen.c.digest).where(seen.c.id.in_(ids))
            ):
                known[row.id] = row.digest
        for item in items:
            if item.verified is None:
                continue
            message, digest = item.verified.content.id, b64u(item.verified.digest)
            if message not in known:
                known[message] = digest  # a second copy in this very batch finds the first
            elif known[message] == digest:
                item.done = True
            else:
                item.error = BadSignature("the same id came before with other bytes")

    async def _freshen(self, items: list[_Item]) -> None:
        """Nothing is unsealed under consent that may have been withdrawn long ago.

        Raises:
            ConsentStale: The hub cannot be asked now; everything waits but safety.
        """
        needing = [
            item
            for item in items
            if item.verified is not None
            and item.verified.content.consent is not None
            and item.verified.content.kind not in NEVER_HELD_BACK
        ]
        if not needing or self._consents.is_fresh():
            return
        try:
            await self.follow_withdrawals()
        except Unavailable as error:
            for item in needing:
                item.error = ConsentStale(error.code)

    async def follow_withdrawals(self) -> None:
        """Ask the hub for withdrawals since the last time and receive them.

        Raises:
            Unavailable: The hub does not answer.
        """
        async with self._freshening:
            pending = await self._consents.follow()
            if pending:
                outcomes = await self.envelopes(pending, "changes")
                if Outcome.LATER in outcomes:
                    raise ConsentStale("a withdrawal could not be stored")
            await self._consents.followed()

    async def _context(self, items: list[_Item]) -> _Context:
        ids = {
            item.verified.content.consent.grant
            for item in items
            if item.verified is not None and item.verified.content.consent is not None
        }
        async with self._core.database.read() as connection:
            found = await self._consents.load_received(connection, ids)
        named = {
            item.verified.content.agreement
            for item in items
            if item.verified is not None and item.verified.content.agreement is not None
        }
        if any(self._agreements.get(agreement) is None for agreement in named):
            try:
                await self._agreements.refresh()
            except Unavailable as error:
                logger().info("agreements:not-refreshed", code=error.code)
                raise
        return _Context(grants=found)

    def _open_all(
        self, items: Iterable[_Item], context: _Context, records: dict[UUID, Any]
    ) -> None:
        for item in items:
            if not _is_open(item):
                continue
            try:
                item.unpacked = self._open(_known(item), context, records)
            except BrokerError as error:
                item.error = error

    def _open(
        self, verified: VerifiedEnvelope, context: _Context, records: dict[UUID, Any]
    ) -> Unpacked:
        """Steps 4 to 6 for one envelope."""
        core, content, now = self._core, verified.content, self._core.now()
        directory, ourselves = core.trusted(), core.self_entry()
        sender = directory.participant(content.from_)
        signing_key = directory.key(verified.signed_by)
        agreement = self._agreements.get(content.agreement)
        grant = context.grants.get(content.consent.grant) if content.consent else None
        found = judge(
            Question(
                header=header_of(content),
                sender=sender,
                recipient=ourselves,
                signing_key=signing_key[1] if signing_key else None,
                agreement=None if agreement is None else agreement.view(),
                grant=None if grant is None else grant.view(),
                now=now,
            )
        )
        if found:
            raise refusal(found)
        opened = unpack(verified, core.keyring, ourselves)
        if isinstance(opened.body, Record):
            check_record(opened, opened.body, directory, now=now)
        if content.kind is not Kind.WITHDRAWAL and sender is not None:
            record = None if grant is None else records.get(grant.id)
            ask(
                opened.message,
                opened.row,
                sender=sender,
                recipient=ourselves,
                grant=None if grant is None else consent_of(_named(grant, opened), record),
                agreement=agreement,
                moment=Moment.DELIVER,
                now=now,
            )
        return opened

    # --- committing ---------------------------------------------------------------------------

    async def _commit(self, items: list[_Item], channel: str) -> None:
        """Steps 7 and 8 in one transaction, then step 9 for each."""
        waiting = [item for item in items if isinstance(item.error, Unavailable)]
        unknown = [
            item
            for item in items
            if item.error is not None and item.verified is None and item not in waiting
        ]
        verdicts = [
            Verdicted(_known(item), item.unpacked, item.error)
            for item in items
            if item.verified is not None and not item.done and item not in waiting
        ]
        async with self._core.database.begin() as connection:
            suspects = await self._intake.store(connection, verdicts)
            for verdicted, error in suspects:
                await self._quarantine(connection, verdicted.envelope.raw, error, channel)
            for item in unknown:
                await self._quarantine(connection, item.raw, _error(item), channel)
        suspect_ids = {verdicted.envelope.content.id for verdicted, _ in suspects}
        for item in items:
            if item in waiting:
                item.outcome = Outcome.LATER
            elif item.verified is None or item.verified.content.id in suspect_ids:
                item.outcome = Outcome.QUARANTINED
            else:
                item.outcome = Outcome.DONE
        self._intake.wake()

    async def _quarantine(
        self, connection: AsyncConnection, raw: bytes, error: BrokerError, channel: str
    ) -> None:
        """Keep the bytes as they came, still sealed, and wake a person."""
        now = self._core.now()
        digest = b64u(hashlib.sha256(raw).digest())
        claimed = _claims(raw)
        new = await insert_new(
            connection,
            quarantine,
            {
                "raw": raw,
                "raw_digest": digest,
                "message": claimed[0],
                "claimed_sender": claimed[1],
                "code": error.code,
                "channel": channel,
                "at": now,
            },
        )
        if new:
            await raise_alarm(connection, "quarantined", claimed[0] or digest, now=now)

    async def _bug(self, item: _Item, channel: str, error: Exception) -> None:
        """We failed, not the sender: keep the bytes, wake a person, and go on with the others."""
        logger().error("receive:bug", exc_info=error)
        async with self._core.database.begin() as connection:
            await self._quarantine(connection, item.raw, Suspect("internal"), channel)
        item.outcome = Outcome.QUARANTINED


def _named(grant: GrantState, opened: Unpacked) -> GrantState:
    """The grant with the names of the scopes that this very message opened."""
    names = {
        entry.scope: (str(entry.purpose), entry.section)
        for entry in opened.message.scopes
        if entry.scope in grant.scopes
    }
    return GrantState(
        id=grant.id,
        sender=grant.sender,
        recipient=grant.recipient,
        case_ref=grant.case_ref,
        statement=grant.statement,
        secret=grant.secret,
        record=grant.record,
        valid_from=grant.valid_from,
        until=grant.until,
        derived_from=grant.derived_from,
        state=grant.state,
        registered=grant.registered,
        scopes={scope: names.get(scope, known) for scope, known in grant.scopes.items()},
        removed=grant.removed,
    )


def _never_held_back(item: _Item) -> bool:
    return item.verified is not None and item.verified.content.kind in NEVER_HELD_BACK


def _is_open(item: _Item) -> bool:
    return item.verified is not None and item.error is None and not item.done


def _known(item: _Item) -> VerifiedEnvelope:
    if item.verified is None:
        raise StorageUnavailable("not verified")
    return item.verified


def _error(item: _Item) -> BrokerError:
    return item.error or Suspect()


def _claims(raw: bytes) -> tuple[UUID | None, str | None]:
    """What suspect bytes say of themselves, if they can be read at all. Nothing is believed."""
    try:
        content = parse_envelope(raw).content
    except BrokerError:
        return None, None
    return content.id, content.from_
