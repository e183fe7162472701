"""The composition root: settings in, an ASGI application and its background loops out.

The only place that reads settings and builds concrete things. Starting creates no key, no log and
no directory: what is missing stops the start with one sentence. The schema is brought up to date.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from broker import heap
from broker.clock import Clock, SystemClock
from broker.http import install_error_handlers, require_free
from broker.hub.api import (
    attachments,
    consents,
    directory,
    envelopes,
    find,
    health,
    log,
    mailbox,
    revocations,
)
from broker.hub.api.requests import Callers
from broker.hub.ending import deadlines, erasing, retention
from broker.hub.evidence import EvidenceIntake
from broker.hub.intake.intake import Intake
from broker.hub.intake.limiting import Limiter
from broker.hub.log import witnesses
from broker.hub.relay.channels import Channels
from broker.hub.relay.relay import Relay
from broker.hub.settings import HubSettings, Role
from broker.hub.state import Hub, open_hub
from broker.migrating import upgrade
from broker.telemetry import configure_logging, logger, serve_metrics
from schemas.errors import BrokerError, LogSetBack

MIGRATIONS = Path(__file__).parent / "store" / "migrations"
RESTART_PAUSE = 1.0
MAX_CONNECTIONS = 2048
STARTUP_FAILED = 3
"""The exit status, as uvicorn has it."""


def create_app(settings: HubSettings, *, role: Role = "all", clock: Clock | None = None) -> FastAPI:
    """Build one hub process.

    Args:
        role: `api` answers requests, `relay` runs the loops, `all` does both. Each role sequences
            the log, since whoever decides must know whether the log can be written.
        clock: Tests turn it.
    """
    hub = open_hub(settings, clock or SystemClock())
    limiter = Limiter(settings.limits)
    intake = Intake(hub, limiter)
    channels = Channels(hub)
    callers = Callers(hub, limiter)
    receipts = EvidenceIntake(hub, limiter)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await _start(hub, intake)
        loops = _loops(hub, intake, receipts, channels, role)
        tasks = [asyncio.create_task(_supervised(name, loop)) for name, loop in loops.items()]
        hub.ready.set()
        logger().info("hub:started", port=settings.port)
        try:
            yield
        finally:
            hub.ready.clear()
            await _end(tasks)
            await hub.database.close()
            logger().info("hub:stopped")

    app = FastAPI(
        title="Referral hub",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.hub = hub
    install_error_handlers(app)
    app.include_router(health.router(hub))
    if role != "relay":
        app.include_router(envelopes.router(hub, intake, receipts, callers, limiter))
        app.include_router(mailbox.router(hub, callers, channels))
        app.include_router(consents.router(hub, callers, limiter))
        app.include_router(revocations.router(hub, callers))
        app.include_router(attachments.router(hub, callers, limiter))
        app.include_router(log.router(hub, callers))
        app.include_router(directory.router(hub))
        app.include_router(find.router(hub))
    return app


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: `asyncio.wait_for` of Python 3.11 can swallow a cancellation."""
    alive = set(tasks)
    while alive:
        for task in alive:
            task.cancel()
        _, alive = await asyncio.wait(alive, timeout=0.5)


async def _start(hub: Hub, intake: Intake) -> None:
    await asyncio.to_thread(upgrade, hub.database.url, MIGRATIONS)
    await hub.refresh_directory()
    hub.signer()
    try:
        await hub.sequencer.run_once()
    except LogSetBack as error:
        # Up all the same, and not ready: others must be able to show what they hold.
        logger().error("log:stopped", code=error.code)
    intake.load_stops()


Loop = Callable[[], Awaitable[None]]


def _loops(
    hub: Hub, intake: Intake, receipts: EvidenceIntake, channels: Channels, role: Role
) -> dict[str, Loop]:
    interval = timedelta(seconds=hub.settings.log.every_seconds)
    loops: dict[str, Loop] = {
        "log": lambda: hub.sequencer.run(interval=interval),
        "directory": hub.follow_directory,
        "wake": hub.wake.listen,
    }
    if role == "relay":
        loops["stops"] = intake.follow_stops
    else:
        loops |= {
            "intake": intake.run,
            "evidence": receipts.run,
            "stops": intake.recover_stops,
            "erasing": lambda: erasing.run(hub),
        }
    if role != "api":
        loops |= {
            "deadlines": lambda: deadlines.run(hub),
            "retention": lambda: retention.run(hub),
        }
        if hub.settings.log.witnesses:
            loops["witnesses"] = lambda: witnesses.run(hub)
        if hub.settings.amqp is not None:
            relay = Relay(hub, hub.settings.amqp, channels)
            loops["relay"] = relay.run
            if role == "all":
                hub.direct = relay.direct
    return loops


async def _supervised(name: str, loop: Loop) -> None:
    """Run a loop for ever: a bug in one turn is loud, and must not end all later ones."""
    while True:
        try:
            await loop()
            return
        except asyncio.CancelledError:
            raise
        except BrokerError as error:
            logger().error("hub:loop-failed", worker=name, code=error.code)
        except Exception as error:
            logger().error("hub:loop-bug", worker=name, exc_info=error)
        await asyncio.sleep(RESTART_PAUSE)


def run(settings: HubSettings, role: Role = "all") -> None:
    """Serve until SIGTERM or SIGINT; what is under way is finished before the process ends.

    Raises:
        Unavailable: Another program listens where this should.
    """
    configure_logging("hub")
    app = create_app(settings, role=role)
    require_free(settings.host, settings.port)
    hub: Hub = app.state.hub
    if settings.metrics_port is not None:
        serve_metrics(hub.metrics.registry, host=settings.metrics_host, port=settings.metrics_port)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config, hub)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILED)


class _Server(uvicorn.Server):
    """Ends without waiting for those who wait for deliveries: they have nothing under way."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        heap.settle()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.wake.end()
        await super().shutdown(sockets=sockets)
