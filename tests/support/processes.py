"""Real processes for tests: one hub that tests speak to by hand, or a network with its gateways.

`HandHub` is a hub process over a `tests.support.hub.World`, whose clients seal what no gateway
would. `running` is a network as `broker.cli.homes.network` lays it out, commands and all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from broker.cli.demo.processes import Child, free_port
from broker.cli.demo.processes import until as wait_until
from broker.cli.homes.network import Network, create_network
from tests.support.hub import World

SETTINGS = """
hub = "hub.main"
database = "{database}"
port = {port}
metrics_port = {metrics}
custody = "file:hub.json"
passphrase_file = "passphrase"
directory = "repository"
directory_root = "root.json"
directory_seconds = 0.1
state = "state"

[limits]
lease_seconds = 1.0
{limits}

[log]
origin = "hub.test/log"
every_seconds = 0.1
"""


class HandHub:
    """One hub process over a world's keys and directory."""

    def __init__(self, world: World, database: str, *, limits: str = "") -> None:
        self.world = world
        self.port, self.metrics = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = world.folder / "hub.log"
        settings = world.folder / "hub.toml"
        settings.write_text(
            SETTINGS.format(database=database, port=self.port, metrics=self.metrics, limits=limits)
        )
        self.child = Child(
            "hub",
            ["hub", "run", "--settings", str(settings)],
            ready_url=f"{self.url}/readyz",
            log=self.log,
        )

    def start(self) -> None:
        self.child.start()
        self.child.wait_ready(60)

    def events(self) -> list[dict[str, Any]]:
        """What the hub wrote to its log."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The error that `--json` writes as the last line of standard error."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return found


@dataclass
class Running:
    """A network whose processes run."""

    network: Network
    hub: Child
    gateways: dict[str, Child]

    def home(self, participant: str) -> Path:
        return self.network.participants[participant].home

    def filed(self, participant: str) -> list[Path]:
        """What lies in a participant's case system."""
        return sorted((self.home(participant) / "htcds" / "in").glob("*.csv"))

    def run(self, participant: str, *arguments: str, worker: str = "first") -> Ended:
        """One command of a worker, with `--json`."""
        options = ("--home", str(self.home(participant)), "--worker", worker, "--json")
        return command(*arguments, *options)

    def eventually(
        self, participant: str, *arguments: str, until: Callable[[Ended], bool] = lambda _: True
    ) -> Ended:
        """A command of a worker that succeeds before long, and then this is true of it."""

        def look() -> Ended | None:
            ended = self.run(participant, *arguments)
            return ended if ended.code == 0 and until(ended) else None

        return wait_until(" ".join(arguments), look)

    def consent(self, case: str, *sections: str) -> str:
        """A grant of Italy's for Albania, over these sections of one invented person."""
        ended = self.run(
            "it.nrm",
            *("consent", "record", "--to", "al.nrm", "--case", case, "--principal", "p-1"),
            *("--scope", "protection:" + ",".join(sections), "--until", "2030-01-01"),
            *("--language", "sqi", "--notice", "n-1"),
        )
        assert ended.code == 0, ended.err
        return str(ended.json["grant"])

    def everything(self) -> Sequence[Child]:
        return (*self.gateways.values(), self.hub)


def command(*arguments: str, stdin: str = "", seconds: float = 60) -> Ended:
    """Run `referral` to its end, as a person would."""
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def gateway_child(home: Path, port: int, log: Path) -> Child:
    """The process of a gateway; not started."""
    return Child(
        home.name,
        ["gateway", "run", "--home", str(home)],
        ready_url=f"http://127.0.0.1:{port}/readyz",
        log=log,
    )


@contextmanager
def running(
    path: Path,
    *,
    gateways: Sequence[str] = ("it.nrm", "al.nrm"),
    before: Callable[[Running], None] = lambda _made: None,
    **options: Any,
) -> Iterator[Running]:
    """A network whose hub and gateways run, with an agreement between the first two.

    Args:
        before: Changes settings before anybody starts.
        options: Of `create_network`.
    """
    network = create_network(path, **options)
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=path / "hub.log",
    )
    places = network.participants
    children = {
        name: gateway_child(places[name].home, places[name].port, path / f"{name}.log")
        for name in gateways
    }
    made = Running(network, hub, children)
    before(made)
    try:
        hub.start()
        hub.wait_ready()
        for child in children.values():
            child.start()
        for child in children.values():
            child.wait_ready()
        if len(gateways) > 1:
            network.register_agreement(gateways[0], gateways[1])
        yield made
    finally:
        for child in made.everything():
            child.end()


def says(answer: httpx2.Response, code: str, status: int) -> None:
    """The answer is a problem document with this code, and repeats nothing."""
    assert (answer.json()["code"], answer.status_code) == (code, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Invented" not in answer.text
