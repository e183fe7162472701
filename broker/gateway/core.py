"""What every part of a gateway stands on. Built once, by `app.py`; nothing else builds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from adapters.base import NationalSystem
from broker.client import DirectoryWatcher, HubClient
from broker.clock import Clock
from broker.database import Database
from broker.gateway.own_log import OwnLog
from broker.gateway.settings import Settings
from broker.gateway.vault import Vault
from keys.signing import Signer
from keys.unsealing import Keyring
from schemas.base import ParticipantId
from schemas.directory import Participant, TrustedDirectory
from schemas.errors import RecipientUnknown


class Wakes:
    """Wake-ups between the gateway's loops. Polling is only the safety net."""

    def __init__(self) -> None:
        self.outbox = asyncio.Event()
        self.receipts = asyncio.Event()
        self.filing = asyncio.Event()
        self.withdrawals = asyncio.Event()
        self.attachments = asyncio.Event()


@dataclass
class Core:
    """The gateway's shared parts."""

    settings: Settings
    database: Database
    clock: Clock
    directory: DirectoryWatcher
    hub: HubClient
    signer: Signer
    keyring: Keyring
    vault: Vault
    adapter: NationalSystem
    log: OwnLog
    incarnation: str
    wakes: Wakes = field(default_factory=Wakes)
    case_locks: defaultdict[UUID, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    """By business id: filing and erasing one case never overlap, so that nothing is filed after
    its erasure was attested."""

    @property
    def participant(self) -> ParticipantId:
        return self.settings.participant

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
        await asyncio.wait_for(event.wait(), at_most.total_seconds())
    event.clear()
