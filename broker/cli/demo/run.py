"""Runs the story from an empty folder to the last line, and cleans up whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import broker
from broker.cli.demo.processes import Child, StoryFailed, end_by_id
from broker.cli.demo.report import Narrator, show
from broker.cli.demo.story import STORY
from broker.cli.demo.world import World
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.network import Network, create_network
from broker.cli.terminal.failures import Exit
from broker.cli.terminal.output import Output
from schemas.errors import BrokerError, NotFound, Refused

SERVICES = Path(broker.__file__).resolve().parents[1] / "deploy" / "dev" / "services.py"
PIDS = "pids.json"


@dataclass(frozen=True, slots=True)
class Services:
    """The private servers of `demo --rabbitmq`."""

    hub_database: str
    amqp: AmqpPlace
    pid: int


def run_demo(output: Output, *, folder: Path | None, keep: bool, rabbitmq: bool) -> int:
    """Tell the story; give the exit code. However it ends, what was started is ended."""
    signal.signal(signal.SIGTERM, _end_in_order)
    with contextlib.ExitStack() as stack:
        if folder is None:
            made = tempfile.mkdtemp(prefix="referral-demo-")
            folder = Path(made)
            if not keep:
                stack.callback(_remove, folder)
        folder = folder.resolve()
        services = start_services(output, stack, keep=keep) if rabbitmq else None
        narrator = Narrator(output, steps=len(STORY) + 1)
        world: World | None = None
        try:
            with narrator.step("Keys are made and everybody is enrolled in the directory"):
                network = lay_out(folder, services)
                world = build_world(network, narrator)
                stack.callback(end_all, world)
                narrator.tell(f"in {folder}")
            for step in STORY:
                with narrator.step(step.title):
                    step.act(world)
        except (StoryFailed, BrokerError) as error:
            text = error.describe() if isinstance(error, BrokerError) else str(error)
            output.say(f"the story did not come true: {text}", fg="red")
            if world is not None:
                for child in (world.hub, *world.gateways.values()):
                    output.say(child.tail())
            output.say(f"logs are in {folder}" if keep else "run it again with --keep to look")
            return Exit.FAILED
        show(output, world.counts, seconds=narrator.seconds)
        output.say(f"\nThe story came true in {narrator.seconds:.0f} seconds.")
        if keep:
            _leave_running(output, world, services)
            # From here on the processes are the person's.
            stack.pop_all()
    return Exit.OK


def lay_out(folder: Path, services: Services | None) -> Network:
    """The network of the story, on SQLite and the mailbox unless there are services."""
    if (folder / "hub").exists():
        raise Refused(f"{folder} has a demo already; choose another folder or remove it")
    return create_network(
        folder,
        hub_database=services.hub_database if services else None,
        amqp=services.amqp if services else None,
        # What a killed hub had just handed out comes again when its lease ends: a minute in
        # production, which is longer than this story may take.
        hub_extra=("[limits]", "lease_seconds = 3"),
    )


def build_world(network: Network, narrator: Narrator) -> World:
    """The processes of the network, none of which runs yet."""
    logs = network.path / "logs"
    logs.mkdir()
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=logs / "hub.log",
    )
    gateways = {
        place.id: Child(
            place.id,
            ["gateway", "run", "--home", str(place.home)],
            ready_url=f"http://127.0.0.1:{place.port}/readyz",
            log=logs / f"{place.id}.log",
        )
        for place in network.participants.values()
        if place.runs_gateway
    }
    return World(network, narrator, hub, gateways, workers={})


def end_all(world: World) -> None:
    """End every process that the demo started, by its id."""
    for child in (*world.gateways.values(), world.hub):
        child.end()


def start_services(output: Output, stack: contextlib.ExitStack, *, keep: bool) -> Services:
    """PostgreSQL and RabbitMQ of our own, with TLS from a throw-away authority.

    Raises:
        Refused: They are not installed, or this is not a source tree.
    """
    if not SERVICES.is_file():
        raise Refused("--rabbitmq needs the source tree: deploy/dev/services.py is not here")
    output.say("starting private PostgreSQL and RabbitMQ …")
    # The servers stop when this pipe closes, so that they end with us even if we are killed. To
    # outlive us they hold the writing end themselves, and a signal ends them.
    reading, writing = os.pipe()
    # Not our own standard error: whoever reads that through a pipe would wait for the servers' end.
    said = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, str(SERVICES), "postgres", "rabbitmq", "--tls", "--management"],
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,
        pass_fds=(writing,) if keep else (),
    )
    os.close(reading)

    def stop() -> None:
        os.close(writing)
        process.terminate()
        process.wait(60)

    stack.callback(stop)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        said.seek(0)
        output.say(said.read().rstrip())
        raise Refused("the private servers did not start")
    return _services(process, line)


def _services(process: subprocess.Popen[str], line: str) -> Services:
    told: dict[str, Any] = json.loads(line)
    found = told["rabbitmq"]
    return Services(
        hub_database=told["postgres"]["url"],
        amqp=AmqpPlace(
            host=found["host"],
            port=found["port"],
            user=found["user"],
            password=found["password"],
            vhost=found["vhost"],
            ca=Path(found["ca"]),
            management_url=found["management_url"],
        ),
        pid=process.pid,
    )


def _leave_running(output: Output, world: World, services: Services | None) -> None:
    """Say where everything is, and write down how to end it."""
    children = (world.hub, *world.gateways.values())
    pids = {child.name: child.pid for child in children}
    if services is not None:
        pids["services"] = services.pid
    folder = world.network.path
    (folder / PIDS).write_text(json.dumps(pids, indent=1) + "\n", encoding="utf-8")
    output.say("\nEverything keeps running; look around:")
    output.say(f"  hub         {world.network.url}  (logs in {folder / 'logs'})")
    for place in world.network.participants.values():
        if place.runs_gateway:
            output.say(f"  {place.id:<10}  http://127.0.0.1:{place.port}  (home {place.home})")
    home = world.network.participants["al.nrm"].home
    program = typed()
    output.say(f"  try         {program} inbox --home {home} --worker first")
    output.say(f"  to end it   {program} demo --stop {folder}")


def stop_demo(folder: Path) -> dict[str, bool]:
    """End what `--keep` left running in a folder; each process by its id, if it is still ours.

    Raises:
        NotFound: Nothing was left running there.
    """
    try:
        pids = json.loads((folder / PIDS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no demo was left running in {folder}") from None
    ended = {}
    # The gateways before the hub, the services last: nobody then waits for somebody gone.
    for name in sorted(pids, key=lambda name: (name == "services", name == "hub", name)):
        ended[name] = end_by_id(pids[name], expected=("broker.cli", "services.py"))
    (folder / PIDS).unlink()
    return ended


def _end_in_order(_number: int, _frame: object) -> None:
    raise SystemExit(Exit.FAILED)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def typed() -> str:
    """How this program is called from here: its name, where a shell finds it."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{os.path.relpath(sys.executable)} -m broker.cli"
    found = shutil.which("referral")
    if found is not None and Path(found).samefile(sys.argv[0]):
        return "referral"
    return os.path.relpath(sys.argv[0])
