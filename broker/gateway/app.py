"""The composition root of the gateway: the only place that reads settings and builds things.

Nothing is sent or received before the hub has granted the lease on this participant's name: of two
gateways started on one identity, the second stops.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from adapters.registry import open_adapter
from broker import heap
from broker.audit.log.note import NoteSigner
from broker.client import DirectoryWatcher, HubClient, KnownRevocations
from broker.clock import Clock, SystemClock
from broker.database import Database
from broker.gateway.api.app import create_api
from broker.gateway.cases.people import People
from broker.gateway.cases.register import CaseRegister
from broker.gateway.core import Core
from broker.gateway.home import LOG_SECRET, MIGRATIONS, read_passphrase
from broker.gateway.lending import lend
from broker.gateway.metrics import GatewayMetrics
from broker.gateway.own_log import OwnLog
from broker.gateway.parts import Parts, join
from broker.gateway.receive.mailbox import Mailbox
from broker.gateway.receive.queue import Queue
from broker.gateway.settings import Settings, require_safe_address
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.dialect import insert_for
from broker.gateway.store.tables import identity, stream
from broker.gateway.store.tables import vault as vault_tables
from broker.gateway.vault import EpochKeys, Vault
from broker.http import require_free
from broker.migrating import upgrade
from broker.telemetry import configure_logging, logger, serve_metrics
from keys.binding import new_incarnation
from keys.custody import Custody, open_custody
from keys.jws import Signer
from keys.trust import DirectoryClient
from schemas.base import b64u
from schemas.directory import TrustedDirectory
from schemas.errors import (
    BrokerError,
    CaseSystemUnavailable,
    CustodyLocked,
    KeyRevoked,
    NotPermitted,
    Refused,
    SecondIncarnation,
    Unavailable,
)

EPOCH_SECRET = "vault-epochs"  # noqa: S105 (the name under which custody keeps them)
LOOK_FOR_KEYS = timedelta(seconds=10)
HELD = timedelta(seconds=25)
"""How long the hub may hold our question for revocations; the most that it does."""
REFRESH_AGREEMENTS = timedelta(minutes=1)


class Gateway:
    """One running gateway."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.core = parts.core
        self._leased = asyncio.Event()
        channel = self.core.settings.channel.kind
        self.channel: Mailbox | Queue = (
            Mailbox(self.core, parts.receiver)
            if channel == "mailbox"
            else Queue(self.core, parts.receiver)
        )

    def not_ready(self) -> tuple[str, ...]:
        """What keeps it from working, as codes."""
        codes = []
        try:
            self.core.trusted()
        except Unavailable as error:
            return ((self.core.directory.refused or error).code,)
        try:
            kid, now = self.core.signer.kid, self.core.now()
            if not any(
                key.kid == kid and key.is_current(now) for key in self.core.self_entry().keys
            ):
                codes.append(KeyRevoked.code)  # whatever we sign, nobody believes it
        except CustodyLocked:
            codes.append(KeyRevoked.code)  # opened at the start: no key in it is in force now
        except BrokerError as error:
            codes.append(error.code)
        if not self.core.log.sequencer.healthy(self.core.now()):
            codes.append("log-unavailable")
        return tuple(codes)

    async def work(self) -> None:
        """Run every loop until one of them says that this gateway must not go on.

        Raises:
            SecondIncarnation: Another live gateway speaks for this participant.
        """
        parts = self.parts
        await parts.agreements.load()
        async with asyncio.TaskGroup() as group:
            for loop in (
                self.core.directory.run,
                self.core.log.run,
                self._lease,
                self._agreements,
                self._revocations,
                parts.filing.run,
                parts.erasing.run,
                parts.ending.run,
                parts.epochs.run,
                parts.retention.run,
                parts.majority.run,
                parts.safeguards_sweep.run,
                parts.quarter_close.run,
                parts.deadlines.run,
                parts.witness.run,
                parts.polling.run,
                parts.telling.run,
                parts.reporting.run,
                parts.notifier.run,
                parts.clocks.run,
            ):
                group.create_task(self._supervised(loop))
            for loop in (
                parts.outbox.run,
                parts.receipts.run,
                parts.attachments.run,
                parts.reconciling.run,
                parts.lost_receipts.run,
                self._receive,
            ):
                group.create_task(self._once_leased(loop))

    async def _once_leased(self, loop: Callable[[], Awaitable[None]]) -> None:
        await self._leased.wait()
        await self._supervised(loop)

    async def _supervised(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop for ever. What we did not foresee in one of them must not end the others;
        each begins again from what is stored.

        Raises:
            SecondIncarnation: The one thing that ends the gateway.
        """
        while True:
            try:
                await loop()
            except SecondIncarnation:
                raise
            except Exception as error:
                logger().error("gateway:loop-failed", exc_info=error)
            await asyncio.sleep(1.0)

    async def _receive(self) -> None:
        if isinstance(self.channel, Mailbox):
            with contextlib.suppress(BrokerError):
                # Tells the relay to leave our envelopes in the table. A hub without RabbitMQ
                # does so anyway.
                await self.core.hub.channels("mailbox")
        await self.channel.run()

    async def _lease(self) -> None:
        """Take and renew the lease on our name."""
        while True:
            pause = 2.0
            try:
                lease = await self.core.hub.claim_incarnation(self.core.incarnation)
                self._leased.set()
                pause = max(lease.total_seconds() / 3, 0.2)
            except SecondIncarnation:
                raise
            except BrokerError as error:
                logger().warning("incarnation:not-leased", code=error.code)
            await asyncio.sleep(pause)

    async def _revocations(self) -> None:
        """Hear at once of keys in other hands, whatever the directory still says: the hub holds
        our question until there is something to say."""
        core, loop = self.core, asyncio.get_running_loop()
        while True:
            asked = loop.time()
            try:
                found = await core.directory.follow_revocations(core.hub, wait=HELD)
                if found:
                    async with core.database.begin() as connection:
                        for kid in found:
                            await raise_alarm(connection, "key-compromised", kid, now=core.now())
            except BrokerError as error:
                logger().warning("revocations:not-followed", code=error.code)
            # Who was answered at once asks no sooner than so: the hub is away, or holds nothing.
            pause = core.settings.directory.revocations_every.total_seconds()
            await asyncio.sleep(max(0.0, min(pause, asked + pause - loop.time())))

    async def _agreements(self) -> None:
        while True:
            pause = REFRESH_AGREEMENTS.total_seconds()
            try:
                await self.parts.agreements.refresh()
            except BrokerError as error:
                logger().warning("agreements:not-refreshed", code=error.code)
                pause = 2.0
            await asyncio.sleep(pause)


class CurrentSigner:
    """The newest signing key of ours that the directory shows in force. Asked for each signature;
    custody is asked again only when the directory changed or the key has ended."""

    def __init__(
        self, custody: Custody, directory: DirectoryWatcher, settings: Settings, clock: Clock
    ) -> None:
        self._custody = custody
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._found: tuple[Signer, TrustedDirectory, datetime] | None = None

    def __call__(self) -> Signer:
        """The signer.

        Raises:
            CustodyLocked: None is in force.
        """
        trusted, now = self._directory.current(), self._clock.now()
        if self._found is not None and self._found[1] is trusted and now < self._found[2]:
            return self._found[0]
        entry = trusted.participant(self._settings.participant)
        signer = self._custody.signer_for(self._settings.suite, now, entry)
        self._found = (signer, trusted, now + LOOK_FOR_KEYS)
        return signer


async def build(settings: Settings, *, clock: Clock | None = None) -> Gateway:
    """Open keys, database, directory and adapter of one gateway; nothing runs yet.

    Raises:
        StorageUnavailable: Another process has the database.
        DirectoryRefused, Unavailable: No directory that verifies, fresh or kept.
        CustodyLocked: The key file does not open.
        NotPermitted: The custody is read only.
    """
    clock = clock or SystemClock()
    custody = await asyncio.to_thread(_open_keys, settings)
    await asyncio.to_thread(upgrade, settings.database_url, MIGRATIONS)
    database = Database(settings.database_url)
    try:
        database.lock_file()
        return await _assemble(settings, database, custody, clock)
    except BaseException:
        await database.close()
        raise


async def _assemble(
    settings: Settings, database: Database, custody: Custody, clock: Clock
) -> Gateway:
    directory = DirectoryWatcher(
        DirectoryClient(
            settings.directory.url,
            settings.path(settings.directory.cache),
            settings.path(settings.directory.root).read_bytes(),
        ),
        clock=clock,
        every=settings.directory.every,
        revocations=KnownRevocations(settings.path(settings.directory.cache)),
    )
    trusted = await directory.start()
    entry = trusted.participant(settings.participant)
    if entry is None:
        raise Refused(f"{settings.participant} is not in the directory")
    sign_with = CurrentSigner(custody, directory, settings, clock)
    sign_with()
    vault = Vault(database, vault_tables, _epoch_keys(custody))
    people = People(vault)
    register = CaseRegister(database, vault, people, asyncio.get_running_loop())
    tools = lend(settings, custody, sign_with, clock, register=register)
    adapter = open_adapter(settings.adapter.name, settings.adapter_table, tools)
    try:
        await asyncio.to_thread(adapter.check)
    except CaseSystemUnavailable as error:
        if settings.adapter.is_folder:
            raise  # a folder of this machine that is not there will not come by itself
        # It may be away; what is withdrawn meanwhile must not wait for it.
        logger().warning("case-system:not-reached", code=error.code)
    core = Core(
        settings=settings,
        database=database,
        clock=clock,
        directory=directory,
        hub=HubClient(
            settings.hub.url,
            signer=sign_with,
            clock=clock,
            timeout=settings.hub.timeout,
            ca=None if settings.hub.ca is None else settings.path(settings.hub.ca),
        ),
        sign_with=sign_with,
        custody=custody,
        vault=vault,
        people=people,
        adapter=adapter,
        log=_own_log(database, custody, clock),
        incarnation=await _incarnation(database, settings, clock),
    )
    return Gateway(join(core))


def run(settings: Settings, *hosted: Settings) -> None:
    """Run a gateway until it is told to end (SIGTERM, SIGINT).

    Args:
        hosted: Further participants that stand in this process, each with its own home, keys,
            database and API. The directory must say that the first one hosts them.

    Raises:
        SecondIncarnation: Another live gateway speaks for this participant.
        Unavailable: Another program listens where the API should.
        BrokerError: It cannot start; the error says why in one sentence.
    """
    for one in (settings, *hosted):
        require_safe_address(one.api)
    configure_logging(f"gateway {settings.participant}")
    try:
        import uvloop

        uvloop.run(serve_all(settings, *hosted))
    except ImportError:
        asyncio.run(serve_all(settings, *hosted))


async def serve_all(settings: Settings, *hosted: Settings) -> None:
    """Serve several participants side by side; one that must end leaves the others running.

    Raises:
        Refused: The directory does not say that the first hosts the others: whoever seals
            something to them would not know who can read it.
        BrokerError: The first that could not start, or the first that ended with an error, once
            all have ended.
    """
    gateways: list[Gateway] = []
    try:
        for one in (
            settings,
            *hosted,
        ):  # one after the other: a migration has the process to itself
            gateways.append(await build(one))
            host = None if one is settings else settings.participant
            if gateways[-1].core.self_entry().hosted_by != host:
                raise Refused(f"the directory does not say that {one.participant} is hosted so")
        for one in (settings, *hosted):
            require_free(one.api.host, one.api.port)
        heap.settle()
        ended = await asyncio.gather(*map(_serve, gateways), return_exceptions=True)
    finally:
        for gateway in gateways:
            await gateway.core.hub.close()
            await gateway.core.database.close()
    for error in ended:
        if isinstance(error, BaseException):
            raise error


async def _serve(gateway: Gateway) -> None:
    """Serve the API and run the loops; ends when either ends."""
    settings = gateway.core.settings
    app = create_api(gateway.parts, not_ready=gateway.not_ready)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.api.host,
            port=settings.api.port,
            ssl_certfile=_text(settings, settings.api.tls_certificate),
            ssl_keyfile=_text(settings, settings.api.tls_key),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,  # who waits for news of a message would hold us up
        )
    )
    if settings.metrics_port is not None:
        registry = CollectorRegistry()
        registry.register(GatewayMetrics(gateway.parts))
        serve_metrics(registry, host="127.0.0.1", port=settings.metrics_port)
    working = asyncio.create_task(gateway.work())
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            server.should_exit = True
            await serving
            _raise_reason(working)
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await working


def _raise_reason(working: asyncio.Task[None]) -> None:
    """The one error that ended the loops, out of its groups."""
    error = working.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error


def _open_keys(settings: Settings) -> Custody:
    custody = open_custody(settings.custody_uri, read_passphrase(settings))
    if not custody.writable:
        raise NotPermitted(
            "a gateway makes and destroys keys while it runs: custody is file: or pkcs11:, "
            "and the passphrase may be a systemd-credential"
        )
    return custody


def _own_log(database: Database, custody: Custody, clock: Clock) -> OwnLog:
    signer = NoteSigner.from_text(custody.secret(LOG_SECRET).decode())
    return OwnLog(database, origin=signer.name, signer=signer, clock=clock)


def _epoch_keys(custody: Custody) -> EpochKeys:
    """The vault's epoch keys, kept in custody beside the others."""
    kept: dict[int, bytes] = {}
    if custody.has_secret(EPOCH_SECRET):
        stored = json.loads(custody.secret(EPOCH_SECRET))
        kept = {int(epoch): base64.b64decode(key) for epoch, key in stored.items()}

    def save(keys: Mapping[int, bytes]) -> None:
        text = json.dumps({str(k): base64.b64encode(v).decode() for k, v in keys.items()})
        custody.put_secret(EPOCH_SECRET, text.encode())

    return EpochKeys(kept, save)


async def _incarnation(database: Database, settings: Settings, clock: Clock) -> str:
    """The random name of this database, made with its first start at this place.

    A copy lies elsewhere, and so does what was restored from a backup. Both get a new name: with
    the old one the hub could not tell them from the original, and numbers of streams would be
    used twice.

    Raises:
        Refused: The database is another participant's.
    """
    place = await asyncio.to_thread(_place, settings)
    async with database.begin() as connection:
        row = (await connection.execute(select(identity))).one_or_none()
        if row is not None and row.participant != settings.participant:
            raise Refused("this database belongs to another participant")
        if row is not None and row.place == place:
            return str(row.incarnation)
        moved = row is not None and row.place is not None
        incarnation = new_incarnation() if row is None or moved else str(row.incarnation)
        if row is None:
            statement: Any = insert_for(connection, identity).values(
                participant=settings.participant,
                incarnation=incarnation,
                created_at=clock.now(),
                place=place,
            )
        else:
            statement = update(identity).values(incarnation=incarnation, place=place)
        await connection.execute(statement)
        if moved:
            await connection.execute(update(stream).values(base=stream.c.last_number))
    if moved:
        logger().warning("incarnation:database-moved", participant=settings.participant)
    return incarnation


def _place(settings: Settings) -> str:
    """Which file the database is, or for a server whose home asks: path and inode, hashed."""
    file = make_url(settings.database_url).database if settings.database is None else None
    path = Path(file or settings.home).resolve()
    return b64u(hashlib.sha256(f"{path}\0{path.stat().st_ino}".encode()).digest())


def _text(settings: Settings, path: Path | None) -> str | None:
    return None if path is None else str(settings.path(path))
