"""Lays out and runs a sandbox: a hub, the scripted partner, and a gateway for the integrator."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from adapters.base import CaseRecord
from adapters.corridors import usual_basis
from adapters.countries import country_profile
from adapters.registry import open_adapter
from broker.cli.demo.processes import Child
from broker.cli.homes.network import Member, Network, create_network, sample_cases, usual_terms
from broker.cli.sandbox.partner import Partner
from broker.cli.sandbox.script import script
from broker.cli.sandbox.stray import Stray
from broker.cli.terminal.output import Output
from broker.clock import SystemClock
from schemas.directory import Function, OrganisationKind
from schemas.errors import BrokerError, Conflict, NotFound, Unavailable

LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    partner: str
    """Country code, lower case."""
    ours: str
    words: str
    folder: Path
    send: int
    seconds: float | None
    """None runs until interrupted."""
    adapter: Path | None = None
    """TOML with the table `[adapter]` for the integrator's gateway."""


def run_sandbox(output: Output, wanted: Wanted) -> int:
    """Run it; returns how many referrals the partner received. Ends what it started, always."""
    moves = script(wanted.words)
    network, agreement = _lay_out(wanted)
    us, partner = f"{wanted.ours}.nrm", f"{wanted.partner}.nrm"
    hub, gateways = _processes(network)
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.ExitStack() as stack:
        for child in (hub, *gateways):  # ended in the other order, the hub last
            stack.callback(child.end)
        hub.start()
        hub.wait_ready()
        for one, other in ((us, partner), (us, f"{wanted.partner}.stray")):
            network.register_agreement(one, other, **_terms(one, other, agreement[other]))
        for child in gateways:
            child.start()
        for child in gateways:
            child.wait_ready()
        stray = Stray(network.identity(f"{wanted.partner}.stray"), us)
        actor = Partner(
            network.worker(partner),
            moves,
            lambda: stray.send(agreement[f"{wanted.partner}.stray"]),
            output.say,
        )
        _say_where(output, network, us, partner)
        with contextlib.suppress(KeyboardInterrupt):
            for case in _invented(network.path, wanted.send):
                actor.send(us, case.case_ref, case.sections)
            _act(actor, output, wanted.seconds)
        received = len(actor.conversations)
    output.say("the sandbox has ended; its folder stays")
    return received


def _lay_out(wanted: Wanted) -> tuple[Network, dict[str, UUID]]:
    if wanted.partner == wanted.ours:
        raise Conflict("a sandbox needs two countries; choose another with --as")
    for code in (wanted.partner, wanted.ours):
        country_profile(code)  # NotFound names what is missing
    if (wanted.folder / "hub").exists():
        raise Conflict(f"{wanted.folder} has a sandbox already; remove it or choose another")
    members = [
        _member(f"{wanted.ours}.nrm", "Your mechanism, in a sandbox"),
        _member(f"{wanted.partner}.nrm", "A partner that answers by script"),
        _member(f"{wanted.partner}.stray", "A neighbour with nonsense to say", gateway=False),
    ]
    network = create_network(
        wanted.folder, members=members, hub_extra=("[limits]", "lease_seconds = 3")
    )
    if wanted.adapter is not None:
        home = network.participants[f"{wanted.ours}.nrm"].home
        _use_adapter(home / "gateway.toml", wanted.adapter)
    ids = {
        other: usual_terms(f"{wanted.ours}.nrm", other, SystemClock().now()).id
        for other in (f"{wanted.partner}.nrm", f"{wanted.partner}.stray")
    }
    return network, ids


def _member(participant: str, name: str, *, gateway: bool = True) -> Member:
    return Member(participant, name, OrganisationKind.STATE, Function.NRM, runs_gateway=gateway)


def _terms(one: str, other: str, agreement: UUID) -> dict[str, object]:
    today = SystemClock().now().date()
    return {
        "id": agreement,
        "title": f"Sandbox: {one} and {other}",
        "transfer": (usual_basis(one, other, today), usual_basis(other, one, today)),
    }


def _use_adapter(settings: Path, adapter: Path) -> None:
    """Put the integrator's `[adapter]` in the place of the last table, which is ours."""
    before = settings.read_text(encoding="utf-8").partition("[adapter]")[0]
    settings.write_text(before + adapter.read_text(encoding="utf-8"), encoding="utf-8")


def _processes(network: Network) -> tuple[Child, list[Child]]:
    logs = network.path / "logs"
    logs.mkdir()
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=logs / "hub.log",
    )
    gateways = [
        Child(
            place.id,
            ["gateway", "run", "--home", str(place.home)],
            ready_url=f"http://127.0.0.1:{place.port}/readyz",
            log=logs / f"{place.id}.log",
        )
        for place in network.participants.values()
        if place.runs_gateway
    ]
    return hub, gateways


def _invented(folder: Path, count: int) -> list[CaseRecord]:
    system = open_adapter("files", {"root": str(folder)})
    cases = [item for item in system.read_cases(sample_cases()) if isinstance(item, CaseRecord)]
    if count > len(cases):
        raise NotFound(f"there are {len(cases)} invented people to send")
    return cases[:count]


def _act(actor: Partner, output: Output, seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        try:
            moved = actor.step()
        except Unavailable as error:
            output.say(f"waits: {error.code}")
            moved = 0
        except BrokerError as error:
            output.say(f"stumbled: {error.code}")
            moved = 0
        if not moved:
            time.sleep(LOOK_EVERY)


def _say_where(output: Output, network: Network, us: str, partner: str) -> None:
    home = network.participants[us].home
    output.result(
        {
            "hub": network.url,
            "partner": partner,
            "you": us,
            "home": str(home),
            "api": f"http://127.0.0.1:{network.participants[us].port}",
            "token_file": str(home / "workers" / "first.token"),
            "logs": str(network.path / "logs"),
        }
    )
    output.say(f"try: referral send --home {home} --worker first --to {partner} …")
    output.say("end it with Ctrl-C")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
