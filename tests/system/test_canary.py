"""One run over RabbitMQ whose person has marked words; afterwards everything is searched for them.

The words may be in two places: the sender's file and what the recipient filed. Not in any log,
metric, health answer, queue, header, table of the hub, or error.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from broker.cli.demo.processes import free_port, until
from broker.cli.homes.hub import AmqpPlace
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from tests.support.processes import Running, running
from tests.support.services import RabbitMQ

HEADER = "x_case_ref,x_invented,cas_Status,cas_OutgoingReferralDetails,prs_FirstName,prs_Gender"


@pytest.fixture
def metrics() -> dict[str, int]:
    return {name: free_port() for name in ("hub", "it.nrm", "al.nrm")}


@pytest.fixture
def net(tmp_path: Path, rabbitmq: RabbitMQ, metrics: dict[str, int]) -> Iterator[Running]:
    place = AmqpPlace(
        host=rabbitmq.host,
        port=rabbitmq.port,
        user=rabbitmq.user,
        password=rabbitmq.password,
        management_url=rabbitmq.management_url,
    )
    with running(
        tmp_path / "network", amqp=place, before=lambda net: _measure(net, metrics)
    ) as made:
        yield made


def _measure(made: Running, metrics: dict[str, int]) -> None:
    """Metrics for everybody; a key of the file's first table, so it comes first."""
    files = {
        "hub": made.network.hub.settings_file,
        **{name: made.home(name) / "gateway.toml" for name in made.gateways},
    }
    for name, file in files.items():
        file.write_text(f"metrics_port = {metrics[name]}\n" + file.read_text())


@pytest.mark.timeout(240)
def test_no_word_about_a_person_is_anywhere_outside_the_case_systems(
    net: Running, rabbitmq: RabbitMQ, metrics: dict[str, int], tmp_path: Path
) -> None:
    """Rows 22 and 24 of the peers' bugs."""
    words = {what: f"Canary{secrets.token_hex(6)}" for what in ("name", "text", "case", "who", "x")}
    said = [_said_by_commands(net, tmp_path, words)]
    net.gateways["al.nrm"].end()
    _refer(net, words)
    waiting = _until_queued(rabbitmq)
    net.gateways["al.nrm"].start()
    net.gateways["al.nrm"].wait_ready()
    until("filed", lambda: len(net.filed("al.nrm")) == 2, seconds=60)
    said.append(_answered(net, words))

    filed = b"".join(path.read_bytes() for path in net.filed("al.nrm")).decode()
    places = {
        "what commands said": "".join(said),
        "what waits in RabbitMQ": waiting,
        "names in RabbitMQ": "".join(
            rabbitmq.ctl(f"list_{what}", "--silent") for what in ("queues", "exchanges", "users")
        ),
        "logs": "".join(child.log.read_text() for child in net.everything()),
        "RabbitMQ's log": rabbitmq.log_tail(10_000),
        "the hub's folder": _bytes_under(net.network.hub.settings_file.parent),
        **{f"metrics of {name}": _get(port, "/metrics") for name, port in metrics.items()},
        **{
            f"health of {name}": _get(net.network.participants[name].port, path)
            for name in net.gateways
            for path in ("/readyz", "/livez")
        },
        "health of the hub": httpx2.get(f"{net.network.url}/readyz", trust_env=False).text,
    }
    assert words["name"] in filed  # the search would find it: it did travel
    assert words["text"] in filed
    for place, content in places.items():
        assert content, place
        for what, word in words.items():
            assert word not in content, f"the {what} of a person is in {place}"
            assert word not in _decoded(content), f"the {what} of a person is encoded in {place}"


def _refer(net: Running, words: dict[str, str]) -> None:
    api = net.network.worker("it.nrm")
    today = SystemClock().now().date()
    grant = api.post(
        "/v1/consents",
        {
            "to": "al.nrm",
            "case_ref": words["case"],
            "scopes": [
                {"purpose": "protection", "section": section}
                for section in ("case_admin", "identity_core")
            ],
            "principal": words["who"],
            "valid_until": str(today.replace(year=today.year + 1)),
            "language": "sqi",
            "notice": "n-1",
        },
    )["grant"]
    api.post(
        "/v1/messages",
        {
            "type": "referral.request",
            "to": "al.nrm",
            "case_ref": words["case"],
            "grant": grant,
            "purpose": "protection",
            "sections": {
                "case_admin": {"outgoing_referral_details": words["text"]},
                "identity_core": {"first_name": words["name"]},
            },
            "body": {"services": ["safe_house"]},
        },
    )


def _said_by_commands(net: Running, folder: Path, words: dict[str, str]) -> str:
    """A whole referral by commands, and several wrong ones; everything that they wrote."""
    file = folder / "cases.csv"
    row = f"{words['case']},yes,Active,{words['text']},{words['name']},Feminine"
    file.write_text(f"{HEADER}\r\n{row}\r\n")
    wrong = folder / "wrong.csv"
    wrong.write_text(f"{HEADER}\r\n{row.replace('Feminine', words['x'])}\r\n")
    (folder / "who").write_text(words["who"])
    recorded = net.run(
        "it.nrm",
        *("consent", "record", "--to", "al.nrm", "--case", words["case"]),
        *("--principal", words["who"], "--scope", "protection:case_admin,identity_core"),
        *("--until", "2030-01-01", "--language", "sqi", "--notice", "n-1"),
    )
    assert recorded.code == 0, recorded.err
    grant = str(recorded.json["grant"])
    send = (
        *("send", "--to", "al.nrm", "--type", "referral.request"),
        *("--purpose", "protection", "--set", 'services=["safe_house"]'),
    )
    sent = net.run("it.nrm", *send, "--from-file", str(file), "--grant", grant)
    assert sent.code == 0, sent.err
    until("filed", lambda: len(net.filed("al.nrm")) == 1, seconds=60)
    bad = [
        net.run("it.nrm", *send, "--from-file", str(wrong), "--grant", grant),
        net.run("it.nrm", *send, "--from-file", str(file)),
        net.run(
            "it.nrm",
            *("send", "--to", "al.nrm", "--type", "referral.request", "--case", "X-9"),
            *("--purpose", "protection", "--grant", grant, "--set", f"services={words['x']}"),
        ),
    ]
    assert all(ended.code not in (Exit.OK, Exit.UNREACHABLE) for ended in bad)
    doctor = net.run("it.nrm", "doctor")
    return "".join((recorded.err, sent.out, sent.err, doctor.out, doctor.err)) + "".join(
        ended.out + ended.err for ended in bad
    )


def _answered(net: Running, words: dict[str, str]) -> str:
    """A question back and a withdrawal with its reason: free text of both sides."""
    api = net.network.worker("al.nrm")
    asked = next(
        message
        for message in api.items("/v1/messages", "messages", box="inbox")
        if message["type"] == "referral.request"
    )
    api.post(f"/v1/messages/{asked['id']}/open")
    api.post(
        "/v1/messages",
        {
            "type": "referral.clarify.request",
            "to": "it.nrm",
            "case_ref": words["case"],
            "thread": asked["thread"],
            "in_reply_to": asked["id"],
            "body": {"question": f"{words['x']} {words['name']}?"},
        },
    )
    italy = net.network.worker("it.nrm")

    def questions() -> list[dict[str, Any]]:
        inbox = italy.items("/v1/messages", "messages", box="inbox")
        return [message for message in inbox if message["type"] == "referral.clarify.request"]

    until("the question is there", lambda: bool(questions()), seconds=60)
    opened = italy.post(f"/v1/messages/{questions()[0]['id']}/open")
    assert words["x"] in json.dumps(opened)
    return json.dumps(net.run("it.nrm", "inbox").err)


def _until_queued(rabbitmq: RabbitMQ) -> str:
    """What lies in the queues as a thief of the broker would see it: properties and bodies."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [text for queue in _queues(rabbitmq) for text in _peek(rabbitmq, queue)]
        return bool(found)

    until("something waits in RabbitMQ", look, seconds=60)
    return "".join(found)


def _queues(rabbitmq: RabbitMQ) -> list[str]:
    return [str(queue["name"]) for queue in _manage(rabbitmq, "GET", "/api/queues")]


def _peek(rabbitmq: RabbitMQ, queue: str) -> list[str]:
    path = f"/api/queues/{quote(rabbitmq.vhost, safe='')}/{quote(queue, safe='')}/get"
    wanted = {"count": 50, "ackmode": "ack_requeue_true", "encoding": "auto"}
    try:
        return [json.dumps(item) for item in _manage(rabbitmq, "POST", path, wanted)]
    except httpx2.ReadTimeout:
        # The server is shared: a queue of a test that killed the broker may answer nobody. Ours is
        # asked again, and `_until_queued` fails if nothing is ever found.
        return []


def _manage(
    rabbitmq: RabbitMQ, method: str, path: str, body: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    answer = httpx2.request(
        method,
        f"{rabbitmq.management_url}{path}",
        json=body,
        auth=(rabbitmq.user, rabbitmq.password),
        trust_env=False,
        timeout=5,
    )
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found


def _get(port: int, path: str) -> str:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=20).text


def _bytes_under(folder: Path) -> str:
    """Every file, whatever it is: database, write-ahead log, settings, stop flags."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def _decoded(content: str) -> str:
    """Whatever in a text is base64url, decoded, and what is in that, too."""
    found = []
    for text in set(re.findall(r"[A-Za-z0-9_-]{16,}", content)):
        plain = (
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if len(text) % 4 != 1 else b""
        )
        found.append(plain.decode("latin-1"))
    inner = "".join(found)
    for text in set(re.findall(r"[A-Za-z0-9_-]{16,}", inner)):
        if len(text) % 4 != 1:
            found.append(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("latin-1"))
    return "".join(found)
