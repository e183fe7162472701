"""A whole network under load while its processes and servers are killed, and the books afterwards.

Real processes: the hub as `api` and `relay`, two gateways, PostgreSQL, RabbitMQ. A seed decides
who is killed and when, so that a run that fails can be repeated. Nobody is spared and nothing is
flushed: signal 9. What was killed is started again.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from broker.cli.demo.processes import Child, StoryFailed, free_port, run_cli
from broker.cli.demo.recount import Recount, business_ids_in, read_party, recount
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import Member, Network, create_network
from broker.cli.local import LocalApi
from schemas.directory import Compartment, Function, OrganisationKind
from schemas.errors import Unavailable
from tests.support.services import PostgreSQL, RabbitMQ

SENDER, RECIPIENT, AUDITOR = "it.nrm", "al.nrm", "it.auditor"
CASEWORK = (Compartment.CASEWORK,)
MEMBERS = (
    Member("it.nrm", "Invented sender", OrganisationKind.STATE, Function.NRM, CASEWORK),
    Member("al.nrm", "Invented recipient", OrganisationKind.STATE, Function.NRM, CASEWORK),
    Member(
        "it.auditor",
        "Invented rapporteur",
        OrganisationKind.STATE,
        Function.RAPPORTEUR,
        CASEWORK,
        runs_gateway=False,
    ),
)
SECTION = {
    "outgoing_referral_details": "Invented text. " * 12,
    "reason_for_outgoing_referral": "Other",
}


@dataclass
class Storm:
    """The network, its processes and its servers."""

    network: Network
    database: PostgreSQL
    broker: RabbitMQ | None
    children: dict[str, Child]
    killed: list[str] = field(default_factory=list)
    _held: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start everybody in an order that works, and agree on the exchange."""
        for name in ("api", "relay"):
            self.children[name].start()
            self.children[name].wait_ready(60)
        self.network.register_agreement(SENDER, RECIPIENT)
        for name in (SENDER, RECIPIENT):
            self.children[name].start()
            self.children[name].wait_ready(60)
        threading.Thread(target=self._supervise, daemon=True).start()

    def _supervise(self) -> None:
        """Start again what ended, as systemd would: a process may end if its database is away."""
        while not self._over.wait(0.5):
            with self._guard:
                for name, child in self.children.items():
                    wanted = name not in self._held and not self._over.is_set()
                    if wanted and not child.running:
                        child.start()

    def end(self) -> None:
        """End every process; the servers belong to the test."""
        self._over.set()
        with self._guard:
            pass
        for child in reversed(list(self.children.values())):
            child.end()

    def victims(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Who can be killed, and how they come back."""
        found: list[tuple[str, Callable[[], None]]] = [
            (name, lambda child=child: self._bounce(child))  # type: ignore[misc]
            for name, child in self.children.items()
        ]
        found.append(("postgresql", lambda: self.database.restart(kill=True)))
        if self.broker is not None:
            found.append(("rabbitmq", lambda: self.broker.restart(kill=True)))  # type: ignore[union-attr]
        found.append(("sessions", self._end_sessions))
        found.append(("everybody", self._bounce_all))
        return found

    def _end_sessions(self) -> None:
        """End every session of PostgreSQL in the middle of what it does; the server goes on."""
        self.database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def _bounce_all(self) -> None:
        """The machine loses its power: all processes and servers at once, and all come back."""
        servers = [self.database] if self.broker is None else [self.database, self.broker]
        with self._guard:
            for child in self.children.values():
                child.kill()
            for server in servers:
                server.kill9()
            for server in servers:
                server.start()
            for child in self.children.values():
                child.start()

    def kill_at_random(self, seed: int, *, times: int, pause: tuple[float, float]) -> None:
        """Kill somebody, bring them back, wait a little; `times` times. Everybody's turn comes."""
        dice = random.Random(seed)
        victims = list(self.victims())
        turns = [victims[n % len(victims)] for n in range(times)]
        dice.shuffle(turns)
        for name, bounce in turns:
            time.sleep(dice.uniform(*pause))
            self.killed.append(name)
            bounce()

    def _bounce(self, child: Child) -> None:
        with self._guard:
            child.kill()
            child.start()

    def stop(self, name: str) -> None:
        """Kill one of us, and keep the supervisor from starting it until `go_on`."""
        with self._guard:
            self._held.add(name)
            self.children[name].kill()

    def go_on(self, name: str) -> None:
        """Let the supervisor start it again."""
        self._held.discard(name)

    def revive(self, *, seconds: float = 90) -> None:
        """Wait until everybody works again."""
        deadline = time.monotonic() + seconds
        for child in self.children.values():
            while True:
                try:
                    child.wait_ready(5)
                except StoryFailed:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
                else:
                    break

    def consent(self) -> str:
        """A grant over what the storm's messages carry."""
        until = (datetime.now(UTC) + timedelta(days=30)).date()
        body = {
            "to": RECIPIENT,
            "case_ref": "STORM",
            "scopes": [{"purpose": "service_referral", "section": "case_admin"}],
            "principal": f"storm-{uuid4()}",
            "valid_until": str(until),
            "language": "eng",
            "notice": "storm-1",
        }
        return str(self.network.worker(SENDER).post("/v1/consents", body)["grant"])

    def send(self, count: int, *, grant: str, writers: int = 4) -> list[UUID]:
        """Send `count` referrals through the sender's API, however often it takes.

        Each has a business id chosen here, so that asking again after a broken connection is the
        same request and not a second referral.
        """
        wanted = [uuid4() for _ in range(count)]
        rest = list(wanted)
        failures: list[BaseException] = []

        def work() -> None:
            api = self.network.worker(SENDER)
            try:
                while rest:
                    _insist(api, _draft(rest.pop(), grant))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return wanted

    def folder(self) -> Path:
        """Where the recipient's case system keeps what was filed."""
        return self.network.participants[RECIPIENT].home / "htcds" / "in"

    def wait_filed(self, wanted: Sequence[UUID], *, seconds: float) -> set[str]:
        """Wait until each is a file, or the time is over; returns those that are missing."""
        deadline = time.monotonic() + seconds
        names = {str(one) for one in wanted}
        missing = set(names)
        while missing and time.monotonic() < deadline:
            time.sleep(0.5)
            missing = names - {path.stem for path in self.folder().glob("*.csv")}
        return missing

    def outbox(self) -> list[dict[str, Any]]:
        """What the sender sent, and what it knows of it."""
        pages = self.network.worker(SENDER).pages("/v1/messages", "messages", box="outbox")
        return [message for page in pages for message in page]

    def states(self, sent: Sequence[UUID]) -> set[str]:
        """In which states these are, as far as their sender knows."""
        names = {str(one) for one in sent}
        return {str(one["state"]) for one in self.outbox() if one["business_id"] in names}

    def wait_receipts(self, *, seconds: float) -> list[dict[str, Any]]:
        """Wait until the sender knows of each that it was filed; returns those it does not."""
        deadline = time.monotonic() + seconds
        while True:
            open_ = [message for message in self.outbox() if not _is_done(message)]
            if not open_ or time.monotonic() > deadline:
                return open_
            time.sleep(0.5)

    def books(self) -> Recount:
        """What was sent, what came, what lies in the folder; the hub is not asked."""
        return recount(
            {
                name: read_party(
                    name,
                    self.network.worker(name),
                    self.network.participants[name].home / "htcds" / "in",
                )
                for name in (SENDER, RECIPIENT)
            }
        )

    def verified_log_size(self) -> int:
        """Download the whole log as an auditor and verify it offline; how many entries it has."""
        home = self.network.participants[AUDITOR].home
        vkey = home / "log.vkey"
        vkey.write_text(run_cli("log", "vkey", "--home", str(home)), encoding="utf-8")
        run_cli("log", "export", "--home", str(home), "--out", str(home / "log"), seconds=120)
        verify = ("log", "verify-all", str(home / "log"), "--vkey", str(vkey), "--json")
        verdict = json.loads(run_cli(*verify, seconds=120))
        assert verdict["proven"] is True
        return int(verdict["log_size"])

    def files(self) -> dict[str, int]:
        """How many rows in the recipient's folder stand for each business id."""
        return dict(business_ids_in(self.folder()))


def make_storm(path: Path, database: PostgreSQL, broker: RabbitMQ | None) -> Storm:
    """Lay out a network over the given servers; nothing of it runs yet."""
    amqp = None
    if broker is not None:
        amqp = AmqpPlace(
            host=broker.host,
            port=broker.port,
            user=broker.user,
            password=broker.password,
            management_url=broker.management_url,
        )
    network = create_network(
        path / "network",
        members=MEMBERS,
        hub_database=database.create_database(),
        gateway_databases={name: database.create_database() for name in (SENDER, RECIPIENT)},
        amqp=amqp,
    )
    logs = path / "logs"
    logs.mkdir()
    hub = ["hub", "run", "--settings", str(network.hub.settings_file)]
    relay_settings = network.hub.settings_file.with_name("relay.toml")
    port = free_port()
    own_port = [
        f"port = {port}" if line.startswith("port = ") else line
        for line in network.hub.settings_file.read_text().splitlines()
    ]
    own_state = [
        'state = "relay-state"' if line.startswith("state = ") else line for line in own_port
    ]
    relay_settings.write_text("\n".join(own_state) + "\n")
    children = {
        "api": Child(
            "api", [*hub, "--role", "api"], ready_url=f"{network.url}/livez", log=logs / "api.log"
        ),
        "relay": Child(
            "relay",
            ["hub", "run", "--settings", str(relay_settings), "--role", "relay"],
            ready_url=f"http://127.0.0.1:{port}/livez",
            log=logs / "relay.log",
        ),
    }
    for name in (SENDER, RECIPIENT):
        place = network.participants[name]
        children[name] = Child(
            name,
            ["gateway", "run", "--home", str(place.home)],
            ready_url=f"http://127.0.0.1:{place.port}/livez",
            log=logs / f"{name}.log",
        )
    return Storm(network, database, broker, children)


def _is_done(message: dict[str, Any]) -> bool:
    # A consent record is delivered; there is nothing to file.
    final = {"delivered"} if message["type"] == "consent.record" else {"filed", "read"}
    return message["state"] in final


def _draft(business_id: UUID, grant: str) -> dict[str, Any]:
    return {
        "type": "referral.request",
        "to": RECIPIENT,
        "business_id": str(business_id),
        "case_ref": f"STORM-{business_id}",
        "grant": grant,
        "purpose": "service_referral",
        "sections": {"case_admin": SECTION},
        "body": {"urgency": "normal", "services": ["psychosocial"]},
    }


def _insist(api: LocalApi, draft: dict[str, Any], *, seconds: float = 120) -> None:
    """Ask until there is an answer: a gateway that was killed comes back."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            api.post("/v1/messages", draft)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
