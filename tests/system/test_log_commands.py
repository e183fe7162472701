"""The log from the outside: a hub, a witness, an auditor and a monitor, each a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from broker.cli.demo.processes import Child, free_port
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from schemas.evidence import Fact
from tests.support import hub as support
from tests.support.audit_log import MemoryLog, some_leaf
from tests.support.hub import Client, World
from tests.support.processes import HandHub, command
from tests.support.static_files import serving

WITNESSED = """witness_seconds = 0.2
witnesses_needed = 1

[[log.witnesses]]
vkey = "{vkey}"
url = "http://127.0.0.1:{port}"
"""


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> World:
    return World(tmp_path, SystemClock(), database=sqlite_url, names=("it.nrm", "al.nrm"))


@pytest.fixture
def hub(
    monkeypatch: pytest.MonkeyPatch, world: World, sqlite_url: str, tmp_path: Path
) -> Iterator[HandHub]:
    """A hub whose heads an independent witness signs."""
    (tmp_path / "vkey").write_text(world.vkey + "\n")
    keys = command(
        *("log", "witness", "init", str(tmp_path / "witness"), "--json"),
        *("--name", "witness.example/w1", "--log", str(tmp_path / "vkey")),
    ).json["vkeys"]
    port = free_port()
    served = Child(
        "witness",
        ["log", "witness", "run", str(tmp_path / "witness"), "--port", str(port)],
        ready_url="",
        log=tmp_path / "witness.log",
    )
    made = HandHub(world, sqlite_url)
    with (tmp_path / "hub.toml").open("a") as file:
        file.write(WITNESSED.format(vkey=keys[0], port=port))
    monkeypatch.setattr(support, "BASE", made.url)
    try:
        served.start()
        made.start()
        yield made
    finally:
        made.child.end()
        served.end()


async def exchange(world: World, hub: HandHub) -> str:
    """A message and its receipt; waits until the head that has them is witnessed."""
    async with httpx2.AsyncClient(base_url=hub.url, timeout=10) as http:
        it, al = (Client(world.parties[name], world, http) for name in ("it.nrm", "al.nrm"))
        agreement, raw = world.agreement("it.nrm", "al.nrm")
        assert (await http.post("/agreements", content=raw)).status_code == 201
        grant = await it.grant("al.nrm")
        sent = await it.send("al.nrm", agreement=agreement, grant=grant)
        receipt = al.evidence("it.nrm", [(Fact.DELIVERED, sent)])
        assert (await al.state_evidence(receipt)).status_code == 202
    return str(sent.content.id)


async def test_an_auditor_proves_a_period_and_a_monitor_follows_with_nothing_but_commands(
    world: World, hub: HandHub, tmp_path: Path
) -> None:
    message = await exchange(world, hub)
    today = datetime.now(UTC).date().isoformat()
    (tmp_path / "policy").write_bytes(httpx2.get(f"{hub.url}/log/policy").content)
    made: dict[str, object] = {}
    for attempt in range(20):  # the newest evidence must be in the log, and its head witnessed
        target = str(tmp_path / f"bundle-{attempt}")
        period = ("--from", today, "--to", today, "--settings", str(tmp_path / "hub.toml"))
        done = command("log", "bundle", target, *period, "--json")
        if done.code == Exit.OK:
            made = done.json
            if made["witnessed"] and made["evidence"] == 2:
                break
    keys = str(Path(target) / "keys.json")
    verify = ("log", "verify", target, "--keys", keys, "--json")
    verdict = command(*verify, "--policy", str(tmp_path / "policy"))
    strange = tmp_path / "strange"
    strange.write_text((tmp_path / "policy").read_text().replace("hub.test/log+", "hub.test/log+0"))
    doubted = command(*verify, "--policy", str(strange))
    watch = ("log", "monitor", "--log", f"{hub.url}/log", "--vkey", str(tmp_path / "vkey"))
    watched = command(*watch, "--state", str(tmp_path / "watch"), "--once")

    assert made["witnessed"], made
    assert verdict.code == Exit.OK, verdict.err
    assert verdict.json["proven"]
    assert verdict.json["events"]["agreement:registered"] == 1
    assert "witness.example/w1" in {seen["name"] for seen in verdict.json["head_signed_by"]}
    assert message in json.loads((Path(target) / "envelopes.json").read_text())
    assert doubted.code != Exit.OK
    assert watched.code == Exit.OK, watched.err
    assert "consistent" in watched.out


def test_a_monitor_that_is_shown_two_histories_keeps_both_heads_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    log, tree, state = MemoryLog(), tmp_path / "tree", tmp_path / "state"
    log.grow(5)
    log.write(tree)
    (tmp_path / "vkey").write_text(log.keys.vkey + "\n")
    with serving(tree) as url:
        follow = ("log", "monitor", "--log", url, "--vkey", str(tmp_path / "vkey"), "--once")
        first = command(*follow, "--state", str(state))
        log.entries[2] = some_leaf(99)
        log.grow(3)
        log.write(tree)
        forked = command(*follow, "--state", str(state))
        again = command(*follow, "--state", str(state))

    (kept,) = state.glob("*/contradiction-*")
    assert first.code == Exit.OK, first.err
    assert forked.code == again.code == Exit.VERIFICATION
    assert f"both heads are in {kept}" in forked.err
    assert "docs/operations/split-log.md" in forked.err
    assert "docs/operations/split-log.md" in again.err
    sizes = {(kept / name).read_text().split("\n")[1] for name in ("one", "other")}
    assert sizes == {"5", "8"}
