"""A hub and gateways in one process and one event loop, with real keys, databases and HTTP.

Nothing runs by itself: a test turns each wheel (`deliver`) and so decides where to crash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
from fastapi import FastAPI
from sqlalchemy import select

from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import MEMBERS, Member, Network, create_network
from broker.clock import Clock, SystemClock, TurnedClock
from broker.gateway.api.app import create_api
from broker.gateway.app import Gateway, build
from broker.gateway.receive.mailbox import Mailbox
from broker.gateway.send.compose import compose
from broker.gateway.send.drafts import ConsentDraft, MessageDraft
from broker.gateway.send.sender import Stored
from broker.gateway.settings import load_settings
from broker.gateway.store.tables import alarm
from broker.hub.app import create_app
from broker.hub.settings import load_settings as load_hub_settings
from broker.hub.state import Hub
from schemas.consent import Purpose, ScopeGrant
from schemas.errors import HubUnreachable

CASE: dict[str, dict[str, Any]] = {
    "case_admin": {"status": "Active", "case_owner": "Invented worker"},
}

TWO_SECTIONS = {**CASE, "demographics_language": {"interpreter_needed": True}}

LEASE = 0.3
"""Seconds until a delivery comes again that was taken by somebody who died."""


class Line(httpx2.AsyncBaseTransport):
    """The way to the hub; a test can cut it, and see what went over it."""

    def __init__(self, app: FastAPI) -> None:
        self.lead_to(app)
        self.cut = False
        self.lose_answers = False
        self.requests: list[httpx2.Request] = []
        self.asked = asyncio.Event()
        self.clock: Clock = SystemClock()
        """The hub's machine's."""

    def lead_to(self, app: FastAPI) -> None:
        """Another hub at the other end."""
        self._inner = httpx2.ASGITransport(app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.cut:
            raise httpx2.ConnectError("the line is cut")
        self.requests.append(request)
        self.asked.set()
        answer = await self._inner.handle_async_request(request)
        # As the server before the application does.
        answer.headers["date"] = format_datetime(self.clock.now(), usegmt=True)
        if self.lose_answers:
            await answer.aread()
            raise httpx2.ReadError("the answer was lost")
        return answer


@dataclass
class Side:
    """One gateway of a world."""

    gateway: Gateway
    line: Line

    @property
    def parts(self) -> Any:
        return self.gateway.parts

    async def consent(
        self,
        to: str,
        case_ref: str = "CASE-1",
        sections: tuple[str, ...] = ("case_admin",),
        purpose: Purpose = Purpose.PROTECTION,
        **more: Any,
    ) -> UUID:
        until = (datetime.now(UTC) + timedelta(days=30)).date()
        grant: UUID = await self.parts.consents.give(
            ConsentDraft(
                to=to,
                case_ref=case_ref,
                scopes=tuple(ScopeGrant(purpose=purpose, section=name) for name in sections),
                principal="pseudonym-1",
                valid_until=until,
                language="sqi",
                notice="invented-1",
                **more,
            )
        )
        return grant

    async def send(self, **fields: Any) -> Stored:
        draft = MessageDraft.model_validate(fields)
        core = self.gateway.core
        async with core.database.read() as connection:
            composed = await compose(core, self.parts.agreements, connection, draft)
        stored: Stored = await self.parts.sender.send(composed)
        return stored

    async def refer(self, to: str, grant: UUID, **more: Any) -> Stored:
        return await self.send(
            type="referral.request",
            to=to,
            case_ref=more.pop("case_ref", "CASE-1"),
            grant=grant,
            purpose=Purpose.PROTECTION,
            sections=more.pop("sections", CASE),
            body={"services": ["safe_house"]},
            **more,
        )

    async def push(self) -> None:
        """Hand everything that is due to the hub."""
        while await self.parts.outbox.run_once():
            pass
        while await self.parts.receipts.pack() + await self.parts.receipts.deliver():
            pass

    async def pull(self) -> None:
        """Take everything that waits, file it, carry out withdrawals."""
        channel = self.gateway.channel
        assert isinstance(channel, Mailbox)
        await channel.visit()
        while await self.parts.filing.run_once():
            pass
        await self.parts.ending.run_once()
        while await self.parts.erasing.run_once():
            pass


@dataclass
class World:
    """A hub and its gateways."""

    path: Path
    network: Network
    hub: FastAPI
    sides: dict[str, Side] = field(default_factory=dict)
    running: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    """The hub's life."""

    @property
    def at_hub(self) -> Hub:
        hub: Hub = self.hub.state.hub
        return hub

    async def stop_hub(self) -> None:
        """In order; gateways find the line cut."""
        for side in self.sides.values():
            side.line.cut = True
        await self.running.aclose()

    async def start_hub(self) -> None:
        """Again, with the settings and the database that are there now."""
        settings = load_hub_settings(self.network.hub.settings_file)
        self.hub = create_app(settings)
        await self.running.enter_async_context(self.hub.router.lifespan_context(self.hub))
        for side in self.sides.values():
            side.line.lead_to(self.hub)
            side.line.cut = False

    def __getitem__(self, participant: str) -> Side:
        return self.sides[participant]

    async def open(self, participant: str, clock: TurnedClock | None = None) -> Side:
        """Start (again) one gateway on its home, as after a crash."""
        old = self.sides.pop(participant, None)
        if old is not None:
            await close(old)
        settings = load_settings(self.network.participants[participant].home)
        # The hub serves no socket here, so the directory is read from its folder.
        folder = settings.directory.model_copy(update={"url": str(self.path / "directory")})
        settings = settings.model_copy(update={"directory": folder})
        gateway = await build(settings, clock=clock)
        line = Line(self.hub)
        await gateway.core.hub.close()
        gateway.core.hub._transport = line
        gateway.core.hub._http = httpx2.AsyncClient(transport=line)
        side = Side(gateway, line)
        self.sides[participant] = side
        with contextlib.suppress(HubUnreachable):
            await side.parts.agreements.refresh()
        return side

    async def settle(self, rounds: int = 3) -> None:
        """Turn all wheels until everything has arrived and is receipted."""
        for _ in range(rounds):
            for side in self.sides.values():
                await side.push()
            await asyncio.sleep(0)
            for side in self.sides.values():
                await side.pull()


def always_the_newest_head(hub: Hub) -> None:
    """Let witnesses sign the newest head: tests do not wait for a minute to be over."""
    log = hub.settings.log.model_copy(update={"witness_seconds": 0.001})
    hub.settings = hub.settings.model_copy(update={"log": log})


async def close(side: Side) -> None:
    await side.gateway.core.hub.close()
    await side.gateway.core.database.close()


async def waits(side: Side) -> bool:
    """True if a writer to its database waits for another."""
    database = side.gateway.core.database
    if database.dialect == "sqlite":
        return bool(database._writer._waiters)
    asked = await asyncpg.connect(database.url.replace("+asyncpg", ""))
    try:
        found: bool = await asked.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
    finally:
        await asked.close()
    return found


@contextlib.asynccontextmanager
async def world(
    path: Path,
    *members: str,
    databases: Mapping[str, str] | None = None,
    enrolled: Sequence[Member] = MEMBERS,
    paired: Sequence[tuple[str, str]] = (("it.nrm", "al.nrm"), ("al.nrm", "al.shelter")),
    hub_database: str | None = None,
    amqp: AmqpPlace | None = None,
) -> AsyncIterator[World]:
    """A network whose hub runs and whose gateways are open, with agreements between them.

    Args:
        databases: URLs by participant, of those whose database is not a file.
        enrolled: Who is in the directory.
        paired: Who has an agreement with whom.
        hub_database: The hub's, if it is not a file.
        amqp: RabbitMQ, which the hub then relays to; a new queue is used at once.
    """
    network = await asyncio.to_thread(
        create_network,
        path,
        members=enrolled,
        hub_database=hub_database,
        gateway_databases=databases,
        amqp=amqp,
        hub_extra=(
            *([] if amqp is None else ["new_queue_seconds = 0.0"]),  # still of `[amqp]`
            "[limits]",
            f"lease_seconds = {LEASE}",
        ),
    )
    app = create_app(load_hub_settings(network.hub.settings_file))
    made = World(path, network, app)
    async with made.running:
        await made.running.enter_async_context(app.router.lifespan_context(app))
        try:
            for one, other in paired:
                await register_agreement(made, one, other)
            for member in members or ("it.nrm", "al.nrm"):
                await made.open(member)
            yield made
        finally:
            for side in made.sides.values():
                await close(side)


async def register_agreement(made: World, one: str, other: str, **terms: Any) -> None:
    raw = await asyncio.to_thread(made.network.signed_agreement, one, other, **terms)
    line = httpx2.AsyncClient(transport=httpx2.ASGITransport(made.hub), base_url=made.network.url)
    async with line:
        answer = await line.post(
            "/agreements", content=raw, headers={"content-type": "application/jose+json"}
        )
        assert answer.status_code == 201, answer.text


async def column(side: Side, wanted: Any, *where: Any) -> list[Any]:
    """One column of a gateway's database."""
    async with side.gateway.core.database.read() as connection:
        return list((await connection.execute(select(wanted).where(*where))).scalars())


async def open_alarms(side: Side) -> list[str]:
    """The codes of what a person is called to now."""
    return await column(side, alarm.c.code, alarm.c.cleared_at.is_(None))


def files(made: World, participant: str) -> list[Path]:
    """What is filed in a participant's case system."""
    return sorted((made.network.participants[participant].home / "htcds" / "in").glob("*.csv"))


class Desk:
    """A worker's requests to one gateway's API."""

    def __init__(self, made: World, participant: str, worker: str = "first") -> None:
        side = made[participant]
        app = create_api(side.parts, not_ready=side.gateway.not_ready)
        home = made.network.participants[participant].home
        self.token = (home / "workers" / f"{worker}.token").read_text().strip()
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8420",
            headers={"authorization": f"Bearer {self.token}"},
        )

    async def post(self, path: str, body: object | None = None) -> httpx2.Response:
        return await self.http.post(path, json=body or {})

    async def get(self, path: str) -> httpx2.Response:
        return await self.http.get(path)
