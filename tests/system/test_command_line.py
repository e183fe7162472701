"""The commands as people type them, against processes that really run.

One network for the module: a hub, two countries and a shelter on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from broker.cli.demo.processes import Child, free_port
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.identity import trusted_directory
from broker.cli.homes.network import Network, create_network, sample_cases
from broker.cli.terminal.failures import Exit
from broker.gateway.settings import load_settings
from keys.ceremony import Repository
from keys.ceremony.roles import RoleSigner
from keys.custody import open_custody
from tests.support.services import RabbitMQ

GATEWAYS = ("it.nrm", "al.nrm")
CASE = "IT-DEMO-0001"
SECTIONS = ("case_admin", "identity_core", "demographics_language")


@dataclass
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


@dataclass
class Running:
    """A network whose processes run."""

    network: Network
    hub: Child
    gateways: dict[str, Child]

    def home(self, participant: str) -> Path:
        return self.network.participants[participant].home

    def run(self, participant: str, *arguments: str, worker: str = "first") -> Ended:
        """One command of a worker, with `--json`."""
        options = ("--home", str(self.home(participant)), "--worker", worker, "--json")
        return run(*arguments, *options)

    def eventually(self, participant: str, *arguments: str, until: Any) -> Ended:
        deadline = time.monotonic() + 20
        while True:
            ended = self.run(participant, *arguments)
            if ended.code == 0 and until(ended):
                return ended
            assert time.monotonic() < deadline, ended
            time.sleep(0.1)


def run(*arguments: str, stdin: str = "") -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "broker.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("network")
    network = create_network(path)
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=path / "hub.log",
    )
    gateways = {
        name: Child(
            name,
            ["gateway", "run", "--home", str(network.participants[name].home)],
            ready_url=f"http://127.0.0.1:{network.participants[name].port}/readyz",
            log=path / f"{name}.log",
        )
        for name in GATEWAYS
    }
    try:
        hub.start()
        hub.wait_ready()
        for child in gateways.values():
            child.start()
        for child in gateways.values():
            child.wait_ready()
        network.register_agreement("it.nrm", "al.nrm")
        yield Running(network, hub, gateways)
    finally:
        for child in (*gateways.values(), hub):
            child.end()


@pytest.fixture(scope="module")
def grant(running: Running) -> str:
    """A consent over three sections of one invented person."""
    ended = running.run(
        "it.nrm",
        *("consent", "record", "--to", "al.nrm", "--case", CASE, "--principal", "p-1"),
        *("--scope", "protection:" + ",".join(SECTIONS), "--until", "2030-01-01"),
        *("--language", "sqi", "--notice", "n-1"),
    )
    assert ended.code == 0, ended.err
    return str(ended.json["grant"])


def referral(grant: str, *more: str, sections: tuple[str, ...] = SECTIONS) -> list[str]:
    return [
        *("send", "--to", "al.nrm", "--type", "referral.request", "--case", CASE),
        *("--from-file", str(sample_cases()), "--purpose", "protection", "--grant", grant),
        *("--set", 'services=["safe_house"]', *more),
        *(word for section in sections for word in ("--section", section)),
    ]


def test_a_dry_run_says_what_is_clear_and_what_is_sealed_and_sends_nothing(
    running: Running, grant: str
) -> None:
    ended = running.run("it.nrm", *referral(grant, "--dry-run"))
    assert ended.code == Exit.OK, ended.err
    clear, sealed = ended.json["clear"], ended.json["sealed"]
    assert clear["to"] == "al.nrm"
    assert "referral.request" not in json.dumps(clear)
    assert "Invented-Arta" not in json.dumps(clear)
    assert sealed["casework"]["type"] == "referral.request"
    assert set(sealed["casework"]["sections"]) == set(SECTIONS)
    sent = running.run("it.nrm", "inbox", "--sent").lines
    assert "referral.request" not in {message["type"] for message in sent}


def test_a_referral_goes_there_and_its_answer_comes_back(
    running: Running, grant: str, tmp_path: Path
) -> None:
    sent = running.run("it.nrm", *referral(grant))
    assert sent.code == Exit.OK, sent.err
    assert "services_support" in sent.json["expected_too"]
    assert "it travels without them" in sent.err
    message = sent.json["id"]
    arrived = running.eventually("al.nrm", "show", message, until=lambda _: True)
    assert arrived.json["type"] == "referral.request"
    opened = running.run("al.nrm", "show", message, "--open")
    assert opened.json["sections"]["identity_core"]["first_name"] == "Invented-Arta"
    question = tmp_path / "question.txt"
    question.write_text("Which language?")
    asked = running.run("al.nrm", "answer", "ask", message, "--question", str(question))
    assert asked.code == Exit.OK, asked.err
    reply = tmp_path / "answer.txt"
    reply.write_text("Albanian.")
    question_id = asked.json["id"]
    running.eventually("it.nrm", "show", question_id, until=lambda _: True)
    told = running.run("it.nrm", "answer", "reply", question_id, "--answer", str(reply))
    assert told.code == Exit.OK, told.err
    running.eventually("al.nrm", "show", told.json["id"], until=lambda _: True)
    assert running.run("al.nrm", "answer", "accept", message).code == Exit.OK
    thread = sent.json["thread"]
    running.eventually(
        "it.nrm", "show", thread, "--thread", until=lambda ended: ended.json["state"] == "accepted"
    )


def test_a_case_is_handed_over_by_commands_and_both_sign(running: Running, tmp_path: Path) -> None:
    given = running.run(
        "it.nrm",
        *("consent", "record", "--to", "al.nrm", "--case", CASE, "--principal", "p-1"),
        *("--scope", "case_transfer:case_admin,identity_core", "--until", "2030-01-01"),
        *("--language", "sqi", "--notice", "n-1"),
    )
    sections = tmp_path / "sections.json"
    sections.write_text('{"case_admin": {"status": "Active"}}')
    consented = ("--grant", given.json["grant"], "--sections", str(sections))

    def say(speaker: str, listener: str, *words: str) -> dict[str, Any]:
        ended = running.run(speaker, "transfer", *words)
        assert ended.code == Exit.OK, ended.err
        running.eventually(listener, "show", ended.json["id"], until=lambda _: True)
        return ended.json

    def owner(participant: str) -> str:
        return str(running.run(participant, "show", thread, "--thread").json["owner"])

    it, al = "it.nrm", "al.nrm"
    offer = say(
        *(it, al, "offer", "--to", al, "--case", CASE, "--date", "2026-12-01", *consented),
        *("--risk-until", "2030-01-01"),
    )
    thread = offer["thread"]
    accepted = say(al, it, "accept", offer["id"])
    file = say(it, al, "casefile", accepted["id"], *consented)
    complete = say(al, it, "ack", file["id"])
    signed = say(it, al, "complete", complete["id"], "--met-on", "2026-11-20")
    assert owner(it) == it
    countersign = ("--met-on", "2026-11-20", "--countersign")
    say(al, it, "complete", signed["id"], *countersign)
    assert owner(it) == owner(al) == al
    too_late = running.run(it, "transfer", "revoke", offer["id"], "--reason", "person_asked")
    assert too_late.code == Exit.FAILED
    assert json.loads(too_late.err)["error"]["code"] == "not-permitted"


def test_she_is_told_by_a_way_that_she_called_safe_and_her_data_come_from_who_has_them(
    running: Running, grant: str
) -> None:
    sent = running.run("it.nrm", *referral(grant)).json
    running.eventually("al.nrm", "show", sent["id"], until=lambda _: True)
    waiting = running.run("it.nrm", "notice", "list").lines
    told = next(one["id"] for one in waiting if one["thread"] == sent["thread"])
    done = ("notice", "done", told, "--how")
    by_telephone = running.run("it.nrm", *done, "safe_contact", "--by", "telephone")
    assert by_telephone.code == Exit.POLICY  # nobody said that this is safe
    assert running.run("it.nrm", *done, "read_out").code == Exit.OK

    partners = {one["id"]: one for one in running.run("it.nrm", "participants", "al").lines}
    assert (partners["al.nrm"]["agreement"], partners["al.nrm"]["announced"]) == (True, None)

    ask = ("rights", "ask", "access", CASE)
    assert running.run("it.nrm", *ask).code == Exit.FAILED  # is it she who asks?
    assert running.run("it.nrm", *ask, "--identity-proved").code == Exit.OK

    def came(word: str) -> Callable[[Ended], bool]:
        return lambda ended: any(one["type"] == word for one in ended.lines)

    inbox = running.eventually("al.nrm", "inbox", until=came("access.request")).lines
    request = next(one["id"] for one in inbox if one["type"] == "access.request")
    answered = running.run("al.nrm", "rights", "answer", request, "--texts-read")
    assert answered.code == Exit.OK, answered.err
    assert set(answered.json["sections"]) == set(SECTIONS)
    running.eventually("it.nrm", "inbox", until=came("access.reply"))
    [asked] = running.run("it.nrm", "rights", "status", CASE).lines
    assert (asked["partner"], asked["answer"], asked["open"]) == ("al.nrm", "done", False)


def test_a_referral_is_declined_with_a_reason(running: Running, grant: str) -> None:
    sent = running.run("it.nrm", *referral(grant)).json
    running.eventually("al.nrm", "show", sent["id"], until=lambda _: True)
    without = running.run("al.nrm", "answer", "decline", sent["id"], "--reason", "nonsense")
    assert without.code == Exit.FAILED
    assert json.loads(without.err)["error"]["code"] == "schema"
    declined = running.run("al.nrm", "answer", "decline", sent["id"], "--reason", "language")
    assert declined.code == Exit.OK, declined.err
    running.eventually(
        *("it.nrm", "show", sent["thread"], "--thread"),
        until=lambda ended: ended.json["state"] == "declined",
    )


def test_the_newest_checkpoint_is_there_for_everybody(running: Running) -> None:
    ended = run("log", "checkpoint", "--hub", running.network.url, "--json")
    assert ended.code == Exit.OK, ended.err
    assert ended.json["note"].startswith(f"{ended.json['origin']}\n{ended.json['size']}\n")
    away = run("log", "checkpoint", "--hub", "http://127.0.0.1:9", "--json")
    assert away.code == Exit.UNREACHABLE


def test_a_section_outside_consent_ends_with_5_and_its_code(running: Running, grant: str) -> None:
    ended = running.run("it.nrm", *referral(grant, sections=(*SECTIONS, "nationality_documents")))
    assert ended.code == Exit.POLICY
    assert ended.out == ""
    error = json.loads(ended.err)["error"]
    assert error["code"] == "consent-scope"
    assert error["where"] == ["sections.nationality_documents"]


def test_without_a_grant_it_ends_with_5(running: Running, grant: str) -> None:
    arguments = referral(grant)
    at = arguments.index("--grant")
    ended = running.run("it.nrm", *arguments[:at], *arguments[at + 2 :])
    assert ended.code == Exit.POLICY
    assert json.loads(ended.err)["error"]["code"] == "consent-missing"


def test_a_message_that_is_not_there_ends_with_4(running: Running) -> None:
    ended = running.run("it.nrm", "show", "01a20153-d6ae-7e8b-bb88-75a6cda47299")
    assert ended.code == Exit.NOT_FOUND


def test_a_participant_that_nobody_knows_ends_with_4(running: Running, grant: str) -> None:
    arguments = ["xx.nobody" if word == "al.nrm" else word for word in referral(grant)]
    assert running.run("it.nrm", *arguments).code == Exit.NOT_FOUND


def test_an_exception_needs_two_workers(running: Running, tmp_path: Path) -> None:
    reason = tmp_path / "reason.txt"
    reason.write_text("Invented danger.")
    proposed = running.run(
        "it.nrm",
        *("safety", "propose", "--to", "al.nrm", "--case", CASE, "--reason", str(reason)),
        *("--code", "vital_interest_life", "--review-by", "2030-01-01T00:00:00Z"),
        *("--set", "danger=threat_to_life", "--set", "facts=Invented", "--set", "action=protect"),
        *("--set", "emergency_contact=duty officer, invented"),
    )
    assert proposed.code == Exit.OK, proposed.err
    exception = proposed.json["id"]
    same = running.run("it.nrm", "safety", "approve", exception, worker="first")
    assert same.code == Exit.POLICY
    assert json.loads(same.err)["error"]["code"] == "exception"
    other = running.run("it.nrm", "safety", "approve", exception, worker="second")
    assert other.code == Exit.OK, other.err
    alert = other.json["id"]
    running.eventually("al.nrm", "show", alert, until=lambda _: True)
    assert running.run("al.nrm", "answer", "alert", alert).code == Exit.OK


def test_a_delivery_is_proven_offline(running: Running, grant: str, tmp_path: Path) -> None:
    message = running.run("it.nrm", *referral(grant)).json["id"]
    running.eventually(
        "it.nrm", "show", message, until=lambda ended: ended.json["state"] in ("filed", "read")
    )
    proof, keys, vkey = (str(tmp_path / name) for name in ("proof", "keys", "vkey"))
    running.eventually("it.nrm", "log", "proof", message, "--out", proof, until=lambda _: True)
    auditor = str(running.home("it.auditor"))
    assert run("directory", "keys", "--home", auditor, "--out", keys).code == Exit.OK
    Path(vkey).write_text(run("log", "vkey", "--home", auditor).out)
    verify = ("log", "verify", proof, "--vkey", vkey, "--keys", keys)
    proven = run(*verify, "--envelope", message, "--fact", "delivered")
    assert proven.code == Exit.OK, proven.out
    assert "al.nrm states: delivered" in proven.out
    # The same proof says nothing about another message, or another fact.
    assert run(*verify, "--envelope", grant).code == Exit.VERIFICATION
    assert run(*verify, "--fact", "read").code == Exit.VERIFICATION


def test_only_an_auditor_downloads_the_log(running: Running, tmp_path: Path) -> None:
    export = ("log", "export", "--json", "--out")
    refused = run(*export, str(tmp_path / "a"), "--home", str(running.home("it.nrm")))
    assert refused.code == Exit.FAILED
    assert json.loads(refused.err)["error"]["code"] == "forbidden"
    allowed = run(*export, str(tmp_path / "b"), "--home", str(running.home("it.auditor")))
    assert allowed.code == Exit.OK, allowed.err
    assert allowed.json["log_size"] > 0


def test_doctor_finds_nothing_wrong_and_then_what_is(running: Running) -> None:
    home = running.home("it.nrm")
    well = run("doctor", "--home", str(home), "--json")
    assert well.code == Exit.OK, well.out
    assert all(check["ok"] for check in well.lines)
    tokens = list((home / "workers").glob("*.token"))
    for token in tokens:
        token.rename(token.with_suffix(".away"))
    try:
        ill = run("doctor", "--home", str(home), "--json")
    finally:
        for token in tokens:
            token.with_suffix(".away").rename(token)
    assert ill.code == Exit.PARTLY
    assert [check["check"] for check in ill.lines if not check["ok"]] == ["workers"]


def ill(home: Path) -> dict[str, tuple[str, str]]:
    """What doctor finds wrong: check to its detail and what to do, which is never missing."""
    ended = run("doctor", "--home", str(home), "--json")
    found = {
        check["check"]: (check["detail"], check["next"]) for check in ended.lines if not check["ok"]
    }
    assert ended.code == (Exit.PARTLY if found else Exit.OK), ended.err
    assert all(step for _, step in found.values()), found
    return found


def test_doctor_says_of_each_ill_what_it_is_and_what_to_do(
    running: Running, tmp_path: Path
) -> None:
    network, home = running.network, running.home("it.nrm")
    for folder in (home, network.hub.settings_file.parent):
        (folder / "passphrase").chmod(0o644)
        try:
            found = ill(folder)
        finally:
            (folder / "passphrase").chmod(0o600)
        assert found == {
            "secrets": ("others can read passphrase", f"chmod 600 {folder / 'passphrase'}")
        }

    kept = home / "witness" / "of-the-log" / "contradiction-1"
    kept.mkdir(parents=True)
    found = ill(home)
    shutil.rmtree(kept.parent)
    heads = "the hub signed two heads that cannot both be true"
    assert found == {"log": (f"{heads}: {kept}", "docs/operations/split-log.md")}

    # Its directory is one that nobody has signed for two months.
    stale = tmp_path / "directory"
    shutil.copytree(network.path / "directory", stale)
    entry = trusted_directory(load_settings(home)).participants["it.nrm"]
    authority = network.path / "authority"
    words = (authority / "passphrase").read_bytes()
    country, online = (
        RoleSigner.of(open_custody(f"file:{authority / role}.json", words))
        for role in ("it", "online")
    )
    Repository(stale).publish_participant(
        entry, country_signers=[country], online=online, now=datetime.now(UTC) - timedelta(days=60)
    )
    other = tmp_path / "home"
    shutil.copytree(home, other)
    file = other / "gateway.toml"
    url = f"{network.url}/directory"
    assert url in file.read_text()
    file.write_text(file.read_text().replace(url, str(stale)))
    expired, step = ill(other)["directory"]
    assert "expired" in expired
    assert "clock" in step

    # Who is revoked hears it from the hub, whatever the directory still shows.
    shelter = running.home("al.shelter")
    (idle,) = ill(shelter).items()
    assert idle[0] == "process", "its gateway does not run in this test"
    assert idle[1][0].startswith("no gateway answers at ")
    assert idle[1][1].endswith(f"referral gateway run --home {shelter}")
    auditor = running.home("it.auditor")
    assert ill(auditor) == {}, "where nobody works no gateway need run"
    since = ("--since", "2026-01-01", "--yes")
    assert run("keys", "compromise", "--home", str(shelter), *since).code == Exit.OK
    assert ill(shelter)["revocations"][0].startswith("key-revoked")
    # Afterwards, as docs/operations/compromise.md says: new keys, published by the country.
    fresh = tmp_path / "entry.json"
    assert run("keys", "rotate", "--home", str(shelter), "--out", str(fresh)).code == Exit.OK
    published = run(
        *("directory", "publish", str(fresh), "--repository", str(network.path / "directory")),
        *("--country-key", str(authority / "al.json")),
        *("--online-key", str(authority / "online.json")),
        *("--passphrase-file", str(authority / "passphrase")),
    )
    assert published.code == Exit.OK
    again = run("keys", "rotate", "--home", str(shelter), "--out", str(tmp_path / "none"))
    assert again.code == Exit.OK
    assert not (tmp_path / "none").exists()
    assert set(ill(shelter)) == {"process"}

    running.hub.end()
    try:
        assert set(ill(home)) == {"hub", "directory", "revocations"}
        assert set(ill(network.hub.settings_file.parent)) == {"process"}
        with ThreadingHTTPServer(("127.0.0.1", free_port()), _AnotherTime) as hub:
            threading.Thread(target=hub.serve_forever, daemon=True).start()
            text = (home / "gateway.toml").read_text()
            file.write_text(text.replace(network.url, f"http://127.0.0.1:{hub.server_port}"))
            assert ill(other)["hub"][0].startswith("clocks differ by")
            hub.shutdown()
    finally:
        running.hub.start()
        running.hub.wait_ready()


class _AnotherTime(BaseHTTPRequestHandler):
    """A hub's machine whose clock is an hour slow."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", format_datetime(datetime.now(UTC) - timedelta(hours=1), True))
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_doctor_says_of_a_rabbitmq_that_does_not_answer_and_of_one_that_does(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    parts = (rabbitmq.user, rabbitmq.password, rabbitmq.vhost, None)
    for port, wrong in ((rabbitmq.port, False), (free_port(), True)):
        place = AmqpPlace("127.0.0.1", port, *parts)
        made = create_network(tmp_path / str(port), amqp=place)
        # The process does not run; its folder is looked at all the same.
        assert ("queue" in ill(made.hub.settings_file.parent)) is wrong


def test_a_suspended_agreement_stops_what_is_sent_and_both_resume_it(
    running: Running, grant: str
) -> None:
    home = str(running.home("it.nrm"))
    (listed,) = run("agreement", "list", "--home", home, "--json").lines
    assert run("agreement", "suspend", listed["id"], "--home", home).code == Exit.OK
    (listed,) = run("agreement", "list", "--home", home, "--json").lines
    assert listed["suspended"] is True
    assert run("agreement", "resume", listed["id"], "--home", home).code == Exit.OK
    (listed,) = run("agreement", "list", "--home", home, "--json").lines
    assert listed["suspended"] is False


def test_a_withdrawal_needs_no_hub_and_nothing_travels_after_it(
    running: Running, grant: str
) -> None:
    running.hub.kill()
    try:
        withdrawn = running.run("it.nrm", "withdraw", grant)
        assert withdrawn.code == Exit.OK, withdrawn.err
        after = running.run("it.nrm", *referral(grant))
        assert after.code == Exit.POLICY
        assert json.loads(after.err)["error"]["code"] == "consent-withdrawn"
    finally:
        running.hub.start()
        running.hub.wait_ready()
    running.eventually(
        "it.nrm",
        *("consent", "show", grant, "--erasures"),
        until=lambda ended: any(
            one["participant"] == "al.nrm" for one in ended.json["attestations"]
        ),
    )


def test_a_gateway_that_does_not_run_ends_with_6(running: Running) -> None:
    running.gateways["it.nrm"].end()
    ended = running.run("it.nrm", "inbox")
    assert ended.code == Exit.UNREACHABLE
    assert ended.out == ""


def test_everything_can_be_set_up_by_hand(tmp_path: Path) -> None:
    """Directory, hub and gateway from nothing, as an operator does it."""
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase for tests\n")
    secret.chmod(0o600)
    words = ("--passphrase-file", str(secret))
    roles = {}
    for role in ("root-1", "root-2", "targets", "online", "it"):
        roles[role] = str(tmp_path / f"{role}.json")
        assert run("directory", "key", roles[role], *words).code == Exit.OK
    repository = ("--repository", str(tmp_path / "directory"))
    online = ("--online-key", roles["online"], *words)
    made = run(
        *("directory", "init", *repository, "--root-key", roles["root-1"]),
        *("--root-key", roles["root-2"], "--targets-key", roles["targets"], *online),
    )
    assert made.code == Exit.OK, made.err
    root = str(tmp_path / "directory" / "root.json")
    country = run(
        *("directory", "country", *repository, "--cc", "it", "--country-key", roles["it"]),
        *("--targets-key", roles["targets"], *online),
    )
    assert country.code == Exit.OK, country.err
    hub = run(
        *("hub", "init", str(tmp_path / "hub"), "--url", "http://127.0.0.1:8080"),
        *("--name", "A hub", "--country", "CH", "--root", root),
        *("--directory", str(tmp_path / "directory")),
    )
    assert hub.code == Exit.OK, hub.err
    entry = str(tmp_path / "hub" / "entry.json")
    published = run(
        *("directory", "hub", entry, *repository, "--targets-key", roles["targets"], *online)
    )
    assert published.code == Exit.OK, published.err
    home = tmp_path / "it.nrm"
    gateway = run(
        *("gateway", "init", str(home), "--participant", "it.nrm", "--root", root),
        *("--hub", "http://127.0.0.1:8080", "--directory", str(tmp_path / "directory")),
    )
    assert gateway.code == Exit.OK, gateway.err
    mine = str(tmp_path / "entry.json")
    described = run(
        *("directory", "entry", str(home / "public.json"), "--name", "NRM", "--kind", "state"),
        *("--function", "nrm", "--out", mine),
    )
    assert described.code == Exit.OK, described.err
    out = run("directory", "publish", mine, *repository, "--country-key", roles["it"], *online)
    assert out.code == Exit.OK, out.err
    shown = run("directory", "show", "--home", str(home), "--json")
    assert {one["id"] for one in shown.lines} == {"hub.main", "it.nrm"}
    added = run("gateway", "worker", "add", "ana", "--home", str(home), "--json")
    assert Path(added.json["token_file"]).is_file()
    # Another country's key publishes nothing here.
    wrong = run(
        "directory", "publish", mine, *repository, "--country-key", roles["root-1"], *online
    )
    assert wrong.code == Exit.VERIFICATION


def test_keys_are_shown_to_who_has_the_passphrase(tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    words = ("--passphrase-file", "-")
    made = run("keys", "new", keys, "--compartment", "casework", *words, stdin="long enough 123\n")
    assert made.code == Exit.OK, made.err
    shown = run("keys", "show", keys, *words, "--json", stdin="long enough 123\n")
    assert [line["use"] for line in shown.lines] == ["sign", "seal"]
    assert '"d"' not in shown.out
    assert '"priv"' not in shown.out
    refused = run("keys", "show", keys, *words, stdin="another passphrase\n")
    assert refused.code == Exit.FAILED
    assert "custody-locked" in refused.err
    assert run("keys", "new", str(tmp_path / "b"), *words, stdin="short\n").code == Exit.USAGE
