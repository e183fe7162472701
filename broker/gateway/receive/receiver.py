"""Step 8 of a referral's life: verify, unseal, ask the rules, store. The same on both channels.

Order, for each envelope:

1.  strict parse, the sender's key and signature, addressed to us     (`unpack.verify`)
2.  what we know of consent is fresh, else the hub is asked first; safety excepted

and, for all of a batch in one transaction:

3.  the same id before? same bytes: done already; other bytes: suspect
4.  the header rules, on a grant, locked, and an agreement that we verified ourselves
5.  unseal; every blinded scope stands for what is inside             (`unpack.unpack`)
6.  the content rules again                                           (4 to 6: `judging`)
7.  the thread's state allows it; if there is no thread yet, the message waits for the one that
    opens it, and is refused if that does not come
8.  vault, inbox, verdict, fact `delivered` and leaf; commit
9.  only then is the channel told

A `Refused` is answered with its code, a `Suspect` goes to quarantine and its sender hears only
`suspect`, an `Unavailable` leaves everything as it was. Before step 1 there is no sender to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.gateway.consent.knowing import KnownGrants
from broker.gateway.core import Core
from broker.gateway.network.agreements import Agreements
from broker.gateway.network.clocks import PartnersClocks
from broker.gateway.network.evidence import EvidenceBook
from broker.gateway.receive.feed import WithdrawalFeed
from broker.gateway.receive.intake import Intake, Verdicted
from broker.gateway.receive.judging import Judge
from broker.gateway.receive.unpack import Unpacked, verify
from broker.gateway.store.grants import GrantState, load_grants
from broker.gateway.store.quarantine import claims_of, keep_aside
from broker.telemetry import logger
from keys.signing import verify_evidence
from schemas.base import b64u
from schemas.consent import ConsentRecord
from schemas.envelope import NEVER_HELD_BACK, VerifiedEnvelope
from schemas.errors import (
    BadSignature,
    BrokerError,
    ConsentStale,
    KeyUnknown,
    StorageUnavailable,
    Suspect,
    Unavailable,
)
from schemas.evidence import VerifiedEvidence


class Outcome(Enum):
    """What the channel is told about one delivery."""

    DONE = "done"
    """Committed, one way or another: it need not come again."""
    LATER = "later"
    """Nothing was done: it must come again."""
    EARLY = "early"
    """Nothing was done: it must come again, after another message that it has overtaken."""
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


FEW = 3
"""So many are looked at on the spot: going to a thread and back takes longer. One is half a
millisecond's work for the signature, and two for what is inside."""


class Receiver:
    """Receives what channels bring. Safe to call from several channels at once."""

    def __init__(
        self,
        core: Core,
        agreements: Agreements,
        grants: KnownGrants,
        book: EvidenceBook,
        intake: Intake,
    ) -> None:
        self._core = core
        self._agreements = agreements
        self._grants = grants
        self._book = book
        self._intake = intake
        self._clocks = PartnersClocks()
        self._judge = Judge(core, agreements)
        self._feed = WithdrawalFeed(core, grants, intake)
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
            checked: list[VerifiedEvidence | BrokerError] = []
            await _on_the_side(raws, self._verify_evidence, raws, checked)
            if any(isinstance(item, KeyUnknown) for item in checked):
                await self._core.directory.refresh()
                checked.clear()
                await _on_the_side(raws, self._verify_evidence, raws, checked)
            outcomes = []
            waiting = self._book.take_waiting()
            async with _given_back(self._book, waiting), self._core.database.begin() as connection:
                for raw, item in zip(raws, checked, strict=True):
                    if isinstance(item, Unavailable):
                        outcomes.append(Outcome.LATER)
                    elif isinstance(item, BrokerError):
                        # Forged or broken: it changes nothing, and a person looks at it.
                        await self._quarantine(connection, raw, item, channel)
                        outcomes.append(Outcome.QUARANTINED)
                    else:
                        outcomes.append(Outcome.DONE)
                good = [item for item in checked if not isinstance(item, BrokerError)]
                told = await self._book.keep(connection, [*waiting, *good])
        except Unavailable as error:
            logger().warning("receive:later", code=error.code, count=len(raws))
            return [Outcome.LATER] * len(raws)
        self._core.news.tell(told)
        self._core.log.wake()
        return outcomes

    def _verify_evidence(
        self, raws: Sequence[bytes], found: list[VerifiedEvidence | BrokerError]
    ) -> None:
        directory, now = self._core.trusted(), self._core.now()
        for raw in raws:
            try:
                found.append(verify_evidence(raw, directory, now=now))
            except BrokerError as error:
                found.append(error)

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
            await self._prepare(items)  # 2
            unknown = await self._transact(items, channel, frozenset())
            if unknown:
                await self._grants.load_received(unknown)
                await self._transact(items, channel, frozenset(unknown))
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
        await _on_the_side(items, self._verify, items)
        if any(isinstance(item.error, KeyUnknown) for item in items):
            # Perhaps enrolled since we last looked. With the hub away the message waits.
            await self._core.directory.refresh()
            await _on_the_side(items, self._verify, items)

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

    # --- before the transaction -----------------------------------------------------------------

    async def _prepare(self, items: list[_Item]) -> None:
        """What may need the hub, so that the transaction need not wait for it.

        Raises:
            Unavailable: An agreement is not known, and the hub cannot be asked.
        """
        await self._freshen([item for item in items if _is_open(item)])
        named = {item.verified.content.agreement for item in items if item.verified is not None}
        if any(self._agreements.get(name) is None for name in named if name is not None):
            try:
                await self._agreements.refresh()
            except Unavailable as error:
                logger().info("agreements:not-refreshed", code=error.code)
                raise

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
        if not needing or self._grants.is_fresh():
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
            pending = await self._grants.follow()
            for_us = [raw for raw in pending if claims_of(raw).to in (None, self._core.participant)]
            if for_us:
                outcomes = await self.envelopes(for_us, "changes")
                if Outcome.LATER in outcomes:
                    raise ConsentStale("a withdrawal could not be stored")
            for raw in pending:
                await self._feed.obey(raw)
            await self._grants.followed()

    # --- judging and storing --------------------------------------------------------------------

    async def _transact(
        self, items: list[_Item], channel: str, asked: frozenset[UUID]
    ) -> set[UUID]:
        """Steps 3 to 9.

        Returns:
            Grants that are not known here and were not `asked` for: then nothing was done, and
            they are to be asked for, outside of the transaction.
        """
        intake = self._intake
        waiting = [item for item in items if item.verified and isinstance(item.error, Unavailable)]
        async with self._core.database.begin() as connection:
            grants = await load_grants(connection, _grants_of(items), lock=True)
            unknown = _grants_of(items) - grants.keys() - asked
            if unknown:
                return unknown
            await self._settle_copies(connection, waiting)
            suspects = await self._claim(connection, [item for item in items if _is_open(item)])
            open_items = [item for item in items if _is_open(item)]
            known = [_known(item) for item in open_items]
            await self._clocks.look(connection, known, self._core.now())
            await intake.owe_again(connection, _copies_of_old(items, open_items))
            records = await self._judge.records(connection, grants.values())
            await _on_the_side(open_items, self._open_all, open_items, grants, records)  # 4, 5, 6
            await self._protect(connection, open_items, grants, records)  # 6
            stored = await intake.store(  # 7, 8
                connection,
                [Verdicted(_known(item), item.unpacked, item.error) for item in open_items],
                suspects,
                grants,
            )
            for envelope, error in (*suspects, *stored.suspects):
                await self._quarantine(connection, envelope.raw, error, channel)
            for item in items:
                if item.verified is None and not isinstance(item.error, Unavailable):
                    await self._quarantine(connection, item.raw, _error(item), channel)
        suspect_bytes = {envelope.raw for envelope, _ in (*suspects, *stored.suspects)}
        for item in items:
            item.outcome = _outcome(item, suspect_bytes, stored.given_back)
        intake.wake(stored)  # 9
        return set()

    async def _settle_copies(self, connection: AsyncConnection, waiting: list[_Item]) -> None:
        """What waits for the hub need not, if it is a copy."""
        known = await self._intake.recall(connection, [_known(item).content.id for item in waiting])
        for item in waiting:
            if known.get(_known(item).content.id) == b64u(_known(item).digest):
                item.error, item.done = None, True

    async def _claim(
        self, connection: AsyncConnection, items: list[_Item]
    ) -> list[tuple[VerifiedEnvelope, Suspect]]:
        """Step 3: marks copies as done; returns those that bear the id of another message."""
        first: dict[UUID, VerifiedEnvelope] = {}
        for item in items:
            first.setdefault(_known(item).content.id, _known(item))
        claims = await self._intake.claim(connection, list(first.values()))
        suspects: list[tuple[VerifiedEnvelope, Suspect]] = []
        for item in items:
            envelope = _known(item)
            message = envelope.content.id
            original = first[message]
            if envelope is original and message in claims.claimed:
                continue
            same = envelope.digest == original.digest
            if same and (message in claims.claimed or message in claims.copies):
                item.done = True
            else:
                error = BadSignature("the same id came before with other bytes")
                item.error = error
                suspects.append((envelope, error))
        return suspects

    def _open_all(
        self,
        items: Iterable[_Item],
        grants: dict[UUID, GrantState],
        records: dict[UUID, ConsentRecord],
    ) -> None:
        for item in items:
            try:
                item.unpacked = self._judge.open(_known(item), grants, records)
            except BrokerError as error:
                item.error = error

    async def _protect(
        self,
        connection: AsyncConnection,
        items: Sequence[_Item],
        grants: dict[UUID, GrantState],
        records: dict[UUID, ConsentRecord],
    ) -> None:
        opened = [item.unpacked for item in items if item.unpacked is not None]
        if not opened:
            return
        refused = await self._judge.protect(connection, opened, grants, records)
        for item in items:
            error = refused.get(_known(item).content.id)
            if error is not None:
                item.unpacked, item.error = None, error

    async def _quarantine(
        self, connection: AsyncConnection, raw: bytes, error: BrokerError, channel: str
    ) -> None:
        await keep_aside(connection, raw, error, channel, now=self._core.now())

    async def _bug(self, item: _Item, channel: str, error: Exception) -> None:
        """We failed, not the sender: keep the bytes, wake a person, and go on with the others."""
        logger().error("receive:bug", exc_info=error)
        async with self._core.database.begin() as connection:
            await self._quarantine(connection, item.raw, Suspect("internal"), channel)
        item.outcome = Outcome.QUARANTINED


def _never_held_back(item: _Item) -> bool:
    return item.verified is not None and item.verified.content.kind in NEVER_HELD_BACK


def _is_open(item: _Item) -> bool:
    return item.verified is not None and item.error is None and not item.done


def _known(item: _Item) -> VerifiedEnvelope:
    if item.verified is None:
        raise StorageUnavailable("not verified")
    return item.verified


def _copies_of_old(items: Iterable[_Item], judged_now: Iterable[_Item]) -> list[VerifiedEnvelope]:
    """Copies of what had its verdict before this batch."""
    new = {_known(item).content.id for item in judged_now}
    done = [item.verified for item in items if item.done and item.verified is not None]
    return [envelope for envelope in done if envelope.content.id not in new]


def _grants_of(items: Iterable[_Item]) -> set[UUID]:
    return {
        item.verified.content.consent.grant
        for item in items
        if item.verified is not None and item.verified.content.consent is not None
    }


def _outcome(
    item: _Item, suspect_bytes: Collection[bytes], given_back: Collection[UUID]
) -> Outcome:
    if isinstance(item.error, Unavailable):
        return Outcome.LATER
    if item.verified is None or item.raw in suspect_bytes:
        return Outcome.QUARANTINED
    if item.verified.content.id in given_back:
        return Outcome.EARLY
    return Outcome.DONE


@contextlib.asynccontextmanager
async def _given_back(
    book: EvidenceBook, waiting: Sequence[VerifiedEvidence]
) -> AsyncIterator[None]:
    """If what they were to go with is not kept, they wait again, and go alone."""
    try:
        yield
    except BaseException:
        book.keep_soon(waiting)
        raise


async def _on_the_side(items: Sequence[Any], work: Callable[..., None], *arguments: object) -> None:
    """Do work on many items in a thread, on few here and now."""
    if len(items) > FEW:
        await asyncio.to_thread(work, *arguments)
    else:
        work(*arguments)


def _error(item: _Item) -> BrokerError:
    return item.error or Suspect()
