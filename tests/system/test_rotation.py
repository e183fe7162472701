"""docs/operations/rotation.md and custody.md, command by command, while messages flow.

A hub whose key file and passphrase are systemd credentials, a gateway whose passphrase is one, and a
gateway whose keys are in a PKCS#11 module. They live through ninety days in half a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from broker.cli.demo.processes import Child
from broker.cli.demo.processes import until as soon
from broker.cli.homes.network import (
    MEMBERS,
    QUICK,
    Network,
    create_network,
    free_ports,
    usual_terms,
)
from broker.cli.local import LocalApi, open_home
from broker.cli.root import referral
from broker.clock import SystemClock
from broker.gateway import home
from schemas.errors import BrokerError
from tests.support.processes import Ended, command, gateway_child

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so")
PIN = "invented-pin"
TURNED = Path(__file__).parents[1] / "support" / "turned"
NAMES = {"it.nrm": "NRM Italy", "al.nrm": "NRM Albania"}
ENROLLED = -60
"""Days. What is due, is due with day 0: sealing keys end with day 30."""

until = partial(soon, seconds=90.0)

# What whoever has the key of `home` makes of recorded bytes, whatever consent says.
OPEN = """
import sys
from pathlib import Path
from broker.cli.homes.identity import open_identity
from broker.clock import SystemClock
from keys.signing import parse_envelope, verify_envelope
from keys.unsealing import unseal_envelope
from schemas.errors import CannotOpen
identity = open_identity(Path(sys.argv[1]))
raw = Path(sys.argv[2]).read_bytes()
verified = verify_envelope(parse_envelope(raw), identity.directory(), now=SystemClock().now())
try:
    print(len(unseal_envelope(verified, identity.custody, None)), "opened")
except CannotOpen as error:
    print(error.code)
"""


@dataclass
class Office:
    """The network on disk, its processes, and what an operator types."""

    path: Path
    network: Network
    hub: Child
    homes: dict[str, Path] = field(default_factory=dict)
    gateways: dict[str, Child] = field(default_factory=dict)

    def turn(self, days: float) -> None:
        """It is so many days after the day on which a rotation is due, everywhere."""
        whole = timedelta(days=days)
        (self.path / "clock").write_text(str(whole.total_seconds()))

    def run(self, *words: object) -> dict[str, Any] | list[dict[str, Any]]:
        """A command, here; its result."""
        answer = CliRunner().invoke(referral, [*map(str, words), "--json"])
        assert answer.exit_code == 0, answer.output
        lines = [json.loads(line) for line in answer.stdout.splitlines()]
        return lines[0] if len(lines) == 1 else lines

    def apart(self, *words: object) -> Ended:
        """A command in a process of its own, as one that opens a hardware module must be here."""
        done = command(*map(str, words), "--json")
        assert done.code == 0, done.err
        return done

    def publish(self, entry: Path) -> None:
        """The country reviews, signs, and has it applied."""
        plan, authority = self.path / "plan.json", self.path / "authority"
        country = json.loads(entry.read_bytes())["id"][:2]
        words = ("--passphrase-file", authority / "passphrase")
        repository = ("--repository", self.path / "directory")
        self.run("directory", "plan", "publish", entry, *repository, "--out", plan)
        self.run("directory", "sign", plan, "--key", authority / f"{country}.json", "--yes", *words)
        self.run(
            *("directory", "apply", plan, *repository),
            *("--online-key", authority / "online.json", *words),
        )
        plan.unlink()

    def refresh_directory(self) -> None:
        """What referral-directory-refresh.timer does daily."""
        authority = self.path / "authority"
        self.run(
            *("directory", "refresh", "--repository", self.path / "directory"),
            *("--online-key", authority / "online.json"),
            *("--passphrase-file", authority / "passphrase"),
        )

    def states(self, participant: str) -> Counter[str]:
        """Of its sealing keys, as `referral keys list` shows them."""
        rows = self.run("keys", "list", "--home", self.homes[participant])
        assert isinstance(rows, list)
        return Counter(row["state"] for row in rows if row["use"] == "seal")

    def rotate(self, participant: str) -> dict[str, Any]:
        """`referral keys rotate` and, if there is something to publish, what its country does."""
        entry = self.path / "entry.json"
        words = ("keys", "rotate", "--home", self.homes[participant], "--out", entry)
        done = self.apart(*words).json if participant == "al.nrm" else self.run(*words)
        assert isinstance(done, dict)
        if entry.exists():
            self.publish(entry)
            entry.unlink()
        return done

    def everything(self) -> list[Child]:
        return [*self.gateways.values(), self.hub]


@dataclass
class Flow:
    """Somebody who refers one case after the other, from Italy to Albania, and never stops."""

    italy: LocalApi
    said: list[str] = field(default_factory=list)
    """Cases whose message the gateway took."""
    _over: threading.Event = field(default_factory=threading.Event)
    _may: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(30)

    def hold(self) -> threading.Lock:
        """No request is half done while it is held: real clocks do not jump in the middle of one."""
        return self._may

    def refer(self, case: str) -> dict[str, Any]:
        grant = self.italy.post(
            "/v1/consents",
            {
                "to": "al.nrm",
                "case_ref": case,
                "scopes": [{"purpose": "protection", "section": "case_admin"}],
                "principal": f"pseudonym-{case}",
                "valid_until": (SystemClock().now() + timedelta(days=60)).date().isoformat(),
                "language": "sqi",
                "notice": "invented-notice-1",
            },
        )["grant"]
        stored = self.italy.post(
            "/v1/messages",
            {
                "type": "referral.request",
                "to": "al.nrm",
                "case_ref": case,
                "grant": grant,
                "purpose": "protection",
                "sections": {"case_admin": {"status": "Active"}},
                "body": {"services": ["legal"]},
            },
        )
        self.said.append(case)
        return {**stored, "grant": grant}

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.4):
            number += 1
            with self._may:
                try:
                    self.refer(f"IT-{number}")
                except BrokerError as error:
                    # Between two versions of the directory; nothing was taken, and she tries again.
                    if error.family != "unavailable":
                        self.said.append(f"refused: {error.describe()}")


def settle_quickly(home: Path) -> None:
    """What is minutes in production, in parts of a second."""
    file = home / "gateway.toml"
    text = file.read_text()
    assert "[directory]\n" in text
    text = text.replace("[directory]\n", '[directory]\nevery = "PT0.3S"\n')
    file.write_text(text + '\n[vault]\nevery = "PT0.5S"\nrotate_every = "P900D"\n')


def new_token(module: str, label: str) -> str:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN,
         "--so-pin", "invented-so-pin"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return f"pkcs11:token={label}?module-path={module}"


def secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def enrol(office: Office) -> None:
    """As docs/operations/README.md and custody.md say, by command."""
    path, network = office.path, office.network
    module = next((one for one in MODULES if Path(one).exists()), None)
    assert module is not None, "deploy/dev/install.sh installs softhsm2"
    credentials = path / "credentials"
    for number, participant in enumerate(NAMES):
        place = office.homes[participant] = path / participant
        words: tuple[object, ...] = ()
        if participant == "al.nrm":
            pin = secret(path / "pin", PIN + "\n")
            words = ("--custody", new_token(module, "referral"), "--pin-file", pin)
        port = free_ports(1)[0]
        run = office.apart if words else office.run
        run(
            *("gateway", "init", place, "--participant", participant, "--suite", 2, *words),
            *("--country", participant[:2], "--port", port, "--hub", network.url),
            *("--directory", f"{network.url}/directory", "--root", path / "root.json"),
        )
        entry = path / f"{participant}.json"
        office.run(
            *("directory", "entry", place / "public.json", "--name", NAMES[participant]),
            *("--kind", "state", "--function", "nrm", "--out", entry),
        )
        office.publish(entry)
        office.run("gateway", "worker", "add", "first", "--home", place)
        settle_quickly(place)
        office.gateways[participant] = gateway_child(place, port, path / f"log-{number}")
    # Italy's passphrase and the hub's whole key file come from systemd and lie in no home.
    italy, hub = office.homes["it.nrm"], network.hub.folder
    (italy / "passphrase").rename(credentials / "italy")
    with (italy / "gateway.toml").open("a") as file:
        file.write('\n[keys]\npassphrase_file = "systemd-credential:italy"\n')
    (hub / "keys.json").rename(credentials / "hub-keys")
    (hub / "passphrase").rename(credentials / "hub")
    text = network.hub.settings_file.read_text()
    for before, after in (("file:keys.json", "hub-keys"), ("passphrase", "hub")):
        assert f'= "{before}"' in text
        text = text.replace(f'= "{before}"', f'= "systemd-credential:{after}"')
    network.hub.settings_file.write_text("directory_seconds = 0.1\n" + text)


def agree(office: Office) -> None:
    """An agreement of the two, one after the other, and the hub."""
    one, other, whole = (office.path / f"agreement-{n}" for n in range(3))
    one.write_bytes(usual_terms("it.nrm", "al.nrm", SystemClock().now()).to_json())
    italy, albania = (("--home", office.homes[name]) for name in NAMES)
    office.run("agreement", "sign", one, *italy, "--out", other)
    office.apart("agreement", "countersign", other, *albania, "--out", whole)
    office.run("agreement", "register", whole, *italy)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    clock, credentials, tokens = (tmp_path / name for name in ("clock", "credentials", "tokens"))
    clock.write_text("0")
    credentials.mkdir(mode=0o700)
    tokens.mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("TURNED_CLOCK", str(clock))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    monkeypatch.syspath_prepend(TURNED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(one for one in sys.path if one))
    machine = SystemClock.now
    monkeypatch.setattr(
        SystemClock,
        "now",
        lambda self: machine(self) + timedelta(seconds=float(clock.read_text())),
    )
    # The commands are as they are; only guessing a passphrase costs less.
    monkeypatch.setattr(home, "init_home", partial(home.init_home, cost=QUICK))
    clock.write_text(str(timedelta(days=ENROLLED).total_seconds()))
    network = create_network(tmp_path / "network", members=MEMBERS[2:])
    made = Office(
        tmp_path / "network",
        network,
        Child(
            "hub",
            ["hub", "run", "--settings", str(network.hub.settings_file)],
            ready_url=f"{network.url}/readyz",
            log=tmp_path / "hub.log",
        ),
    )
    (made.path / "root.json").write_bytes(network.root)
    for name in ("clock", "credentials"):
        (made.path / name).symlink_to(tmp_path / name)
    enrol(made)
    made.turn(0)
    made.refresh_directory()
    try:
        made.hub.start()
        made.hub.wait_ready()
        for child in made.gateways.values():
            child.start()
        for child in made.gateways.values():
            child.wait_ready()
        agree(made)
        yield made
    finally:
        for child in made.everything():
            child.end()


def recorded(office: Office, message: str) -> Path:
    """What somebody at the hub keeps of a message: its bytes."""
    with sqlite3.connect(office.network.hub.folder / "hub.sqlite3") as database:
        rows = database.execute("SELECT envelope_id, raw FROM payload").fetchall()
    wanted = message.replace("-", "")
    [raw] = [raw for id_, raw in rows if str(id_).replace("-", "") == wanted]
    kept = office.path / "recorded"
    kept.write_bytes(bytes(raw))
    return kept


def opens(office: Office, kept: Path, **environment: str) -> str:
    """What the keys of Albania make of it."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(office.homes["al.nrm"]), str(kept)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def filed(office: Office) -> Counter[str]:
    """How often each case lies in Albania's case system."""
    found: Counter[str] = Counter()
    with sqlite3.connect(office.homes["al.nrm"] / "gateway.sqlite3") as database:
        states = dict(database.execute("SELECT state, count(*) FROM inbox GROUP BY state"))
    assert "quarantined" not in states
    for file in (office.homes["al.nrm"] / "htcds" / "in").glob("*.csv"):
        found[file.name] += 1
    return found


def sealed_copies(office: Office, grant: str) -> str | None:
    """What Albania attested of copies as they were sealed, as Italy's worker sees it."""
    shown = office.run(
        *("consent", "show", grant, "--erasures"),
        *("--home", office.homes["it.nrm"], "--worker", "first"),
    )
    assert isinstance(shown, dict)
    words = [
        store["outcome"]
        for one in shown["attestations"]
        if one["participant"] == "al.nrm"
        for store in one["stores"]
        if store["store"] == "sealed"
    ]
    return words[0] if words else None


def all_filed(office: Office, flow: Flow) -> bool:
    return len(filed(office)) >= len(flow.said)


def ready(office: Office) -> bool:
    try:
        for child in office.everything():
            child.wait_ready(0.5)
    except Exception:
        return False
    return True


def test_keys_go_through_their_whole_life_while_messages_flow(
    office: Office, tmp_path: Path
) -> None:
    flow = Flow(open_home(office.homes["it.nrm"], "first"))
    albania = office.gateways["al.nrm"]
    flow.start()
    try:
        until("messages flow", lambda: len(filed(office)) >= 2)
        assert office.states("al.nrm") == {"active": 1}
        with flow.hold():
            early = flow.refer("IT-early")["grant"]
            until("it is there", lambda: all_filed(office, flow))
            office.run("withdraw", early, "--home", office.homes["it.nrm"], "--worker", "first")
            until("it is erased", lambda: sealed_copies(office, early) == "unknown")
            flow.said.remove("IT-early")

        # Day 0. The successor is made, and published by its country.
        for participant in NAMES:
            done = office.rotate(participant)
            assert (len(done["made"]), done["destroyed"]) == (1, [])
            assert office.states(participant) == {"active": 1, "pending": 1}
        again = office.run(
            *("keys", "rotate", "--home", office.network.hub.folder),
            *("--out", office.path / "none.json"),
        )
        assert again == {"made": [], "retired": [], "destroyed": []}
        with flow.hold():
            until("nothing is on its way", lambda: all_filed(office, flow))
            albania.end()  # it is away for a week; its messages wait at the hub
            waiting = flow.refer("IT-waiting")
            until(
                "the hub has it",
                lambda: flow.italy.get(f"/v1/messages/{waiting['id']}")["state"] == "submitted",
            )
            kept = recorded(office, waiting["id"])
            shutil.copytree(tmp_path / "tokens", tmp_path / "thief" / "tokens")
            office.turn(7.1)
            office.refresh_directory()
            until("the hub has gone over", lambda: _is_ready(office.hub))
            # Day 7. Both are in force; what was sealed to the old one still opens.
            albania.start()
            albania.wait_ready()
            until("all is there", lambda: all_filed(office, flow))
        assert office.states("al.nrm") == {"active": 2}
        assert opens(office, kept).endswith("opened")
        count = len(flow.said)
        until("messages flow", lambda: len(filed(office)) > count + 2)

        # Day 30. The old one has ended; its word is not believed, its past not yet gone.
        with flow.hold():
            until("all is there", lambda: all_filed(office, flow))
            office.turn(30.1)
            until("nobody believes what stood still", lambda: not ready(office))
            assert "directory-frozen" in albania.tail() + office.hub.tail()
            office.refresh_directory()
            until("everybody is ready again", lambda: ready(office))
        assert office.states("al.nrm") == {"retired": 1, "active": 1}
        assert opens(office, kept).endswith("opened")

        # Day 31. The gateway destroys it by itself, and says so of what it erased.
        office.turn(31.2)
        until("it is destroyed", lambda: "key:destroyed" in albania.log.read_text())
        assert opens(office, kept) == "cannot-open"
        done = office.rotate("al.nrm")
        assert (len(done["made"]), len(done["destroyed"])) == (0, 1)
        assert office.states("al.nrm") == {"destroyed": 1, "active": 1}
        until("who withdrew is told", lambda: sealed_copies(office, early) == "erased")
        count = len(flow.said)
        until("messages flow", lambda: len(filed(office)) > count + 2)
    finally:
        flow.end()
    until("all is there", lambda: all_filed(office, flow))
    assert not [one for one in flow.said if one.startswith("refused")]
    assert len(filed(office)) == len(flow.said) == len(set(flow.said))
    thief = tmp_path / "thief" / "softhsm2.conf"
    thief.write_text(f"directories.tokendir = {thief.parent}/tokens\nobjectstore.backend = file\n")
    # Who took the module's files before still opens it: the check above can fail.
    assert opens(office, kept, SOFTHSM2_CONF=str(thief)).endswith("opened")


def _is_ready(child: Child) -> bool:
    try:
        child.wait_ready(0.5)
    except Exception:
        return False
    return True
