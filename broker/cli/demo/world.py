"""What the story acts on: the network on disk, its processes, and the workers who use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.cli.demo.processes import Child, StoryFailed, until
from broker.cli.demo.report import Counts, Narrator
from broker.cli.homes.network import Network
from broker.cli.local import LocalApi

ITALY = "it.nrm"
ALBANIA = "al.nrm"
SHELTER = "al.shelter"
AUDITOR = "it.auditor"

WAIT_SECONDS = 25.0


@dataclass(slots=True)
class Case:
    """One invented person's case in Italy, as its adapter read it."""

    case_ref: str
    sections: dict[str, dict[str, Any]]

    @property
    def is_child(self) -> bool:
        return "guardian_child" in self.sections


@dataclass(slots=True)
class Referral:
    """One referral of the story: what was sent, under which grant."""

    case: Case
    grant: str
    message: str = ""
    business_id: str = ""
    thread: str = ""


@dataclass(slots=True)
class World:
    """Everything that a step may touch."""

    network: Network
    narrator: Narrator
    hub: Child
    gateways: dict[str, Child]
    workers: dict[str, LocalApi]
    """A worker of each participant."""
    cases: dict[str, Case] = field(default_factory=dict)
    """By role in the story."""
    referrals: dict[str, Referral] = field(default_factory=dict)
    """By role in the story."""
    onward: dict[str, Referral] = field(default_factory=dict)
    """Passed on from Albania to the shelter, by role."""
    altered: str = ""
    """The message that somebody tampered with."""
    counts: Counts = field(default_factory=Counts)

    @property
    def italy(self) -> LocalApi:
        return self.workers[ITALY]

    @property
    def albania(self) -> LocalApi:
        return self.workers[ALBANIA]

    @property
    def shelter(self) -> LocalApi:
        return self.workers[SHELTER]

    def tell(self, line: str) -> None:
        self.narrator.tell(line)

    def restart_hub(self, *arguments: str) -> None:
        """Kill the hub if it runs, start it again, wait until it works."""
        self.hub.kill()
        self.hub.start(*arguments)
        self.hub.wait_ready()

    def folder(self, participant: str) -> Path:
        """Where the participant's case system keeps what was filed."""
        return self.network.participants[participant].home / "htcds" / "in"


def expect(condition: object, what: str) -> None:
    """Go on only if the story is true so far.

    Raises:
        StoryFailed: It is not.
    """
    if not condition:
        raise StoryFailed(f"expected {what}")


def await_state(api: LocalApi, message: str, states: set[str], what: str) -> dict[str, Any]:
    """Wait until a message is in one of the states, and return it."""
    seen = "unknown"

    def look() -> dict[str, Any] | None:
        nonlocal seen
        found = api.get(f"/v1/messages/{message}")
        seen = str(found["state"])
        return found if seen in states else None

    try:
        return until(what, look, seconds=WAIT_SECONDS)
    except StoryFailed as failed:
        raise StoryFailed(f"{failed} (it is {seen})") from None


def await_arrival(api: LocalApi, message: str, what: str) -> dict[str, Any]:
    """Wait until a message is in somebody's inbox, whatever its state, and return it."""
    from schemas.errors import NotFound

    def look() -> dict[str, Any] | None:
        try:
            return api.get(f"/v1/messages/{message}")
        except NotFound:
            return None

    return until(what, look, seconds=WAIT_SECONDS)
