"""What all parts of a running hub share: database, directory, signer, log, wake-ups, counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.log.leaves import public_leaf
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.log.sequencer import Sequencer
from broker.audit.log.store import newest_checkpoint
from broker.audit.proofs.policy import Policy
from broker.audit.witnesses.countries import policy_of
from broker.clock import Clock
from broker.database import Database
from broker.hub.intake.limiting import QuarantineLimit
from broker.hub.intake.stops import StopFile
from broker.hub.log.set_back import HeadFile
from broker.hub.metrics import Metrics
from broker.hub.settings import HubSettings
from broker.hub.store import openings, participants, revocations
from broker.hub.store.deliveries import Item
from broker.hub.store.participants import Newest
from broker.hub.store.tables import LOG
from broker.hub.wake import Wake
from broker.telemetry import logger
from keys.custody import Custody, credential, open_custody
from keys.jws import MAX_STATEMENT_BYTES, Signer, parse_jws
from keys.trust import DirectoryClient
from schemas.audit import Event
from schemas.base import KeyId
from schemas.directory import Participant, TrustedDirectory
from schemas.errors import BrokerError, DirectoryRefused, LogSetBack, LogUnavailable, Unavailable
from schemas.revocation import REVOCATION_TYP, Revocation


class Direct(Protocol):
    """Takes what was just accepted, claimed by who accepted it; see `broker.hub.relay.direct`."""

    @property
    def window(self) -> int:
        """Envelopes that may be given to a lane without a receipt."""
        ...

    def is_open(self) -> bool:
        """True if what is claimed now is published at once."""
        ...

    def leased_until(self, now: datetime) -> datetime:
        """Until when a delivery that is claimed now is ours."""
        ...

    def hand_over(self, items: Sequence[Item]) -> None:
        """Publish these; call right after the commit that claimed them."""
        ...


class HubDirectory:
    """The trusted directory as this hub has it; replaced as a whole when the repository changes."""

    def __init__(self, settings: HubSettings) -> None:
        self._repository = settings.directory
        self._client = DirectoryClient(
            str(settings.directory),
            settings.state / "directory",
            settings.directory_root.read_bytes(),
        )
        self._current: TrustedDirectory | None = None
        self._published: TrustedDirectory | None = None
        self._recorded: dict[KeyId, datetime] = {}
        self._unrecorded: dict[bytes, Revocation] = {}
        self.revocations = 0
        """How many recorded revocations `current` takes account of."""
        self._mark: tuple[int, int] | None = None
        self.refused: BrokerError | None = None
        """Why the last refresh failed, if it did."""

    def current(self) -> TrustedDirectory:
        """The directory.

        Raises:
            Unavailable: There is none that verifies: nobody can be told from anybody.
        """
        if self._current is None:
            raise Unavailable("the trust directory does not verify")
        return self._current

    def changed(self) -> bool:
        """True if the repository was published to since the last refresh. Cheap."""
        return self._look() != self._mark

    def refresh(self, clock: Clock) -> TrustedDirectory:
        """Fetch and verify. Blocking: call it in a thread.

        Raises:
            DirectoryRefused: It does not verify. The one before holds until it expires.
            Unavailable: It cannot be read; the same.
        """
        mark, now = self._look(), clock.now()
        try:
            found = self._client.refresh(now)
        except (DirectoryRefused, Unavailable) as error:
            self.refused = error
            expires_at = self._client.expires_at
            if expires_at is None or now >= expires_at:
                # What was verified before holds until it expires.
                self._published = self._current = None
            raise
        self._published, self._mark, self.refused = found, mark, None
        self._apply()
        return found

    # --- revocations --------------------------------------------------------------------------

    def recorded(self) -> TrustedDirectory:
        """The directory with the recorded revocations alone.

        Raises:
            Unavailable: As `current`.
        """
        if self._published is None:
            raise Unavailable("the trust directory does not verify")
        return self._published.revoking(self._recorded)

    def revoke(self, revocations: Iterable[Revocation], *, upto: int) -> None:
        """Take account of recorded revocations, up to a position."""
        for one in revocations:
            for kid in one.keys:
                self._recorded[kid] = min(one.since, self._recorded.get(kid, one.since))
            self._unrecorded = {
                raw: other for raw, other in self._unrecorded.items() if other.id != one.id
            }
        self.revocations = max(upto, self.revocations)
        self._apply()

    def obey_unrecorded(self, raw: bytes, revocation: Revocation) -> None:
        """Obey one that is about to be recorded, or that cannot be yet."""
        self._unrecorded = {**self._unrecorded, raw: revocation}
        self._apply()

    def obeys_unrecorded(self, raw: bytes) -> bool:
        """True if this very one is obeyed and not recorded."""
        return raw in self._unrecorded

    def is_behind(self, newest: Newest) -> bool:
        """True if another process of this hub knows a newer directory, or one more revocation."""
        current = self.current()
        return newest.version > current.order or newest.revocations > self.revocations

    def _apply(self) -> None:
        if self._published is None:
            return
        waiting = {kid: one.since for one in self._unrecorded.values() for kid in one.keys}
        self._current = self._published.revoking({**waiting, **self._recorded})

    def _look(self) -> tuple[int, int] | None:
        try:
            status = (Path(self._repository) / "metadata" / "timestamp.json").stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


class Withdrawn:
    """Grants of which something was taken back a moment ago: a hint for `broker.hub.ending.erasing`."""

    def __init__(self) -> None:
        self._grants: set[UUID] = set()
        self._any = asyncio.Event()

    def add(self, grants: Iterable[UUID]) -> None:
        self._grants.update(grants)
        if self._grants:
            self._any.set()

    async def wait(self) -> None:
        """Until there is one."""
        await self._any.wait()

    def take(self) -> set[UUID]:
        """All of them; they are forgotten here."""
        found, self._grants = self._grants, set()
        self._any.clear()
        return found


@dataclass
class Hub:
    """One hub process. Made by `broker.hub.app`; handed to whoever works for it."""

    settings: HubSettings
    clock: Clock
    database: Database
    directory: HubDirectory
    custody: Custody
    log_signers: list[NoteSigner]
    sequencer: Sequencer
    head_file: HeadFile
    wake: Wake
    stops: StopFile
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    metrics: Metrics = field(default_factory=Metrics)
    quarantine_limit: QuarantineLimit = field(default_factory=QuarantineLimit)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the start-up is over."""
    direct: Direct | None = None
    """Hands over what is accepted in this process, if it relays too."""
    publishing: BrokerError | None = None
    """Why nothing can be published just now, if RabbitMQ is used and cannot be reached."""
    _signer: Signer | None = None
    _policy: tuple[TrustedDirectory, Policy] | None = None

    @property
    def id(self) -> str:
        """The hub's id in the directory."""
        return self.settings.hub

    def signer(self) -> Signer:
        """The hub's own signing key, current in the directory.

        Raises:
            CustodyLocked: There is none.
        """
        now = self.clock.now()
        entry = self.own_entry()
        found = self._signer
        if found is not None and entry is not None:
            for key in entry.keys:
                if key.kid == found.kid and key.is_current(now):
                    return found
        self._signer = self.custody.signer_for(self.settings.suite, now, entry)
        return self._signer

    def own_entry(self) -> Participant | None:
        """The hub's own entry in the directory."""
        return self.directory.current().participant(self.id)

    def require_log(self) -> None:
        """Refuse to decide anything while it could not be recorded.

        Raises:
            LogUnavailable: The log cannot be written or signed.
        """
        if self.head_file.refused is not None:
            raise self.head_file.refused
        if not self.sequencer.healthy(self.clock.now()):
            raise LogUnavailable

    async def look_at_log(self, connection: AsyncConnection) -> None:
        """Stop deciding at once, here, if somebody has just shown that the log was set back."""
        with contextlib.suppress(LogSetBack):
            await self.head_file.allow(connection, await newest_checkpoint(connection, LOG))

    def witness_policy(self) -> Policy:
        """Who must have signed a head before a proof to it counts as witnessed."""
        directory = self.directory.current()
        if self._policy is None or self._policy[0] is not directory:
            settings = self.settings.log
            made = policy_of(
                directory.participants.values(),
                logs=[signer.verifier for signer in self.log_signers],
                needed=settings.witnesses_needed,
                independent=[Verifier.from_text(item.vkey) for item in settings.witnesses],
            )
            self._policy = (directory, made)
        return self._policy[1]

    async def refresh_directory(self) -> None:
        """Take the newest directory, and record that a new one was seen.

        Raises:
            DirectoryRefused: It does not verify.
            StorageUnavailable: It cannot be recorded; it is used nevertheless.
        """
        await self.load_revocations()
        found = await asyncio.to_thread(self.directory.refresh, self.clock)
        now = self.clock.now()
        async with self.database.begin() as connection:
            newer = await participants.saw_directory(connection, found.order, found.digest, now)
            if newer:
                leaf, opening = public_leaf(Event.DIRECTORY_PUBLISHED, now, found.digest)
                await openings.record(connection, openings.row(leaf, opening, now=now))
        if newer:
            logger().info("directory:published", directory_version=found.version)

    async def load_revocations(self) -> None:
        """Take account of what any process of this hub recorded.

        Raises:
            StorageUnavailable: It cannot be read; nothing is decided that rests on it.
        """
        while True:
            async with self.database.read() as connection:
                rows = await revocations.after(connection, self.directory.revocations, 500)
            if not rows:
                return
            found = [
                Revocation.from_json(
                    parse_jws(row.raw, typ=REVOCATION_TYP, limit=MAX_STATEMENT_BYTES).payload
                )
                for row in rows
            ]
            self.directory.revoke(found, upto=rows[-1].position)

    async def follow_directory(self) -> None:
        """Refresh whenever the repository changes, and now and then to notice expiry; for ever."""
        ticks = 0
        while True:
            await asyncio.sleep(self.settings.directory_seconds)
            ticks += 1
            try:
                await self.load_revocations()
            except BrokerError as error:
                logger().error("directory:revocations-not-read", code=error.code)
            expiry_is_due = ticks % max(1, int(60 / self.settings.directory_seconds)) == 0
            if not (self.directory.changed() or self.directory.refused or expiry_is_due):
                continue
            try:
                await self.refresh_directory()
            except BrokerError as error:
                logger().error("directory:refused", code=error.code)


def open_hub(settings: HubSettings, clock: Clock) -> Hub:
    """Open everything that a hub stands on. Creates nothing but its own state folder.

    Raises:
        CustodyLocked: Wrong passphrase, or a key that should be there is not.
        StorageUnavailable: Another process holds the SQLite file.
    """
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    custody = open_custody(settings.custody, credential(settings.passphrase_file).read_bytes())
    log_signer = NoteSigner.from_text(custody.secret(settings.log.key).decode())
    database = Database(settings.database_url())
    database.lock_file()
    head_file = HeadFile(settings.state, settings.log.origin)
    sequencer = Sequencer(
        database,
        LOG,
        origin=settings.log.origin,
        signers=[log_signer],
        clock=clock,
        guard=head_file,
    )
    return Hub(
        settings=settings,
        clock=clock,
        database=database,
        directory=HubDirectory(settings),
        custody=custody,
        log_signers=[log_signer],
        sequencer=sequencer,
        head_file=head_file,
        wake=Wake(database),
        stops=StopFile(settings.state / "stops"),
    )
