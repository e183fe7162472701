"""What every part of a gateway stands on. Built once, by `app.py`; nothing else builds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from adapters.base import CaseRecord, NationalSystem
from broker.client import DirectoryWatcher, HubClient
from broker.clock import Clock
from broker.database import Database
from broker.gateway.cases.people import People
from broker.gateway.own_log import OwnLog
from broker.gateway.settings import Settings
from broker.gateway.vault import Vault
from keys.custody import Custody
from keys.jws import Signer
from schemas.base import ParticipantId
from schemas.consent import ConsentRecord
from schemas.directory import Participant, TrustedDirectory
from schemas.errors import RecipientUnknown

CASE_FILE = "transfer.casefile"
"""Type of the message that hands a case over, once its offer was accepted."""


class Wakes:
    """Wake-ups between the gateway's loops. Polling is only the safety net."""

    def __init__(self) -> None:
        self.outbox = asyncio.Event()
        self.receipts = asyncio.Event()
        self.filing = asyncio.Event()
        self.withdrawals = asyncio.Event()
        self.attachments = asyncio.Event()
        self.case_system = asyncio.Event()
        """The case system says that something has changed there."""
        self.connected = asyncio.Event()
        """The hub was away, and is back."""


@dataclass(frozen=True, slots=True, repr=False)
class ToFile:
    """A stored message on its way to the case system. Holds plaintext: memory only."""

    id: UUID
    business_id: UUID
    sender: ParticipantId
    digest: str
    attempts: int
    case: CaseRecord
    supersedes: UUID | None = None
    """Business id of the case that this is a later version of."""
    in_part: bool = False
    """It holds only the sections that changed."""


class Handover:
    """What was just received, from the receiver to the filing, without a look into the database.

    Only a shortcut: each is stored before it is handed over, and filing finds there what is not
    handed over, because there were too many or because we died.
    """

    CAPACITY = 512

    def __init__(self) -> None:
        self._waiting: deque[ToFile] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self.overflowed = False

    def put(self, items: Sequence[ToFile]) -> None:
        room = self.CAPACITY - len(self._waiting)
        self._waiting.extend(items[:room])
        self.overflowed = self.overflowed or len(items) > room
        if self._waiting:
            self._idle.clear()

    def take(self, limit: int) -> list[ToFile]:
        """The oldest; whoever takes says `settled` when they are filed, or are not."""
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def settled(self) -> None:
        if not self._waiting:
            self._idle.set()

    async def wait_idle(self, at_most: timedelta) -> None:
        """Until all is filed that was handed over, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most.total_seconds()):
                await self._idle.wait()


class News:
    """Wakes whoever waits for word of one of our messages. A hint, given after the commit:
    whoever waits looks into the database, and looks again after a while by itself."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, asyncio.Event] = {}

    def of(self, message: UUID) -> asyncio.Event:
        """Take the event, then look, then wait: no word that is kept after this is missed."""
        return self._waiting.setdefault(message, asyncio.Event())

    def tell(self, messages: Iterable[UUID]) -> None:
        for message in messages:
            # Waiters hold the old event; who asks again takes a new one.
            if (event := self._waiting.pop(message, None)) is not None:
                event.set()

    def forget(self, message: UUID, event: asyncio.Event) -> None:
        """Nobody of those who took this event waits any more, or they look by themselves."""
        if self._waiting.get(message) is event:
            del self._waiting[message]


class CaseLocks:
    """By business id: filing and erasing one case never overlap, so that nothing is filed after
    its erasure was attested. A lock lives as long as somebody has it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._users: dict[UUID, int] = {}

    @contextlib.asynccontextmanager
    async def hold(self, business_ids: Iterable[UUID]) -> AsyncIterator[None]:
        """Hold these locks. Taken in one order, so that nobody waits in a ring."""
        async with contextlib.AsyncExitStack() as stack:
            for business_id in sorted(set(business_ids), key=str):
                lock = self._locks.setdefault(business_id, asyncio.Lock())
                self._users[business_id] = self._users.get(business_id, 0) + 1
                stack.callback(self._leave, business_id)
                await stack.enter_async_context(lock)
            yield

    def _leave(self, business_id: UUID) -> None:
        self._users[business_id] -= 1
        if not self._users[business_id]:
            del self._users[business_id], self._locks[business_id]


@dataclass
class Core:
    """The gateway's shared parts."""

    settings: Settings
    database: Database
    clock: Clock
    directory: DirectoryWatcher
    hub: HubClient
    sign_with: Callable[[], Signer]
    """The newest signing key that is in force: it changes with a rotation, under way."""
    custody: Custody
    """Our private keys. Its calls may read a file or wait for a module: in a thread."""
    vault: Vault
    people: People
    """Who is in the cases kept here. What is erased is forgotten there before it is attested."""
    adapter: NationalSystem
    log: OwnLog
    incarnation: str
    wakes: Wakes = field(default_factory=Wakes)
    to_file: Handover = field(default_factory=Handover)
    news: News = field(default_factory=News)
    records: dict[UUID, tuple[str, ConsentRecord]] = field(default_factory=dict)
    """Consent records in use, by grant, with their references into the vault. Erasing a grant
    takes its record from here too, before it is attested."""
    case_locks: CaseLocks = field(default_factory=CaseLocks)

    @property
    def participant(self) -> ParticipantId:
        return self.settings.participant

    @property
    def signer(self) -> Signer:
        """The signer of now; ask again for the next object.

        Raises:
            CustodyLocked: No key of ours is in force.
        """
        return self.sign_with()

    def now(self) -> datetime:
        return self.clock.now()

    def trusted(self) -> TrustedDirectory:
        return self.directory.current()

    def self_entry(self) -> Participant:
        """Our own entry of the directory."""
        return self.partner(self.participant)

    def partner(self, participant: ParticipantId) -> Participant:
        """Somebody's entry.

        Raises:
            RecipientUnknown: Not enrolled.
        """
        entry = self.trusted().participant(participant)
        if entry is None:
            raise RecipientUnknown(participant)
        return entry


async def wait_for(event: asyncio.Event, at_most: timedelta) -> None:
    """Sleep until woken, or until the safety net's interval is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(at_most.total_seconds()):
            await event.wait()
    event.clear()
