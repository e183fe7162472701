"""`referral doctor` says of each ill what it is and what to do, and finds nothing where all is well."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from broker.cli.demo.processes import free_port
from broker.cli.homes.hub import AmqpPlace
from broker.cli.homes.identity import trusted_directory
from broker.cli.homes.network import create_network
from broker.cli.terminal.failures import Exit
from broker.gateway.settings import load_settings
from keys.ceremony import Repository
from keys.ceremony.roles import RoleSigner
from keys.custody import open_custody
from tests.support.processes import Running, command, running
from tests.support.services import RabbitMQ


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("network")) as made:
        yield made


def test_doctor_finds_nothing_wrong_and_then_what_is(net: Running) -> None:
    home = net.home("it.nrm")
    well = command("doctor", "--home", str(home), "--json")
    assert well.code == Exit.OK, well.out
    assert all(check["ok"] for check in well.lines)
    tokens = list((home / "workers").glob("*.token"))
    for token in tokens:
        token.rename(token.with_suffix(".away"))
    try:
        ill = command("doctor", "--home", str(home), "--json")
    finally:
        for token in tokens:
            token.with_suffix(".away").rename(token)
    assert ill.code == Exit.PARTLY
    assert [check["check"] for check in ill.lines if not check["ok"]] == ["workers"]


def ill(home: Path) -> dict[str, tuple[str, str]]:
    """What doctor finds wrong: check to its detail and what to do, which is never missing."""
    ended = command("doctor", "--home", str(home), "--json")
    found = {
        check["check"]: (check["detail"], check["next"]) for check in ended.lines if not check["ok"]
    }
    assert ended.code == (Exit.PARTLY if found else Exit.OK), ended.err
    assert all(step for _, step in found.values()), found
    return found


def test_doctor_says_of_each_ill_what_it_is_and_what_to_do(net: Running, tmp_path: Path) -> None:
    network, home = net.network, net.home("it.nrm")
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

    cases = home / "htcds"
    cases.rename(home / "away")
    found = ill(home)
    (home / "away").rename(cases)
    assert set(found) == {"case system", "process"}
    assert "missing" in found["case system"][0]
    assert found["process"][0] == "not ready: case-system-unavailable"

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
    shelter = net.home("al.shelter")
    (idle,) = ill(shelter).items()
    assert idle[0] == "process", "its gateway does not run in this test"
    assert idle[1][0].startswith("no gateway answers at ")
    assert idle[1][1].endswith(f"referral gateway run --home {shelter}")
    auditor = net.home("it.auditor")
    assert ill(auditor) == {}, "where nobody works no gateway need run"
    since = ("--since", "2026-01-01", "--yes")
    assert command("keys", "compromise", "--home", str(shelter), *since).code == Exit.OK
    assert ill(shelter)["revocations"][0].startswith("key-revoked")
    # Afterwards, as docs/operations/compromise.md says: new keys, published by the country.
    fresh = tmp_path / "entry.json"
    assert command("keys", "rotate", "--home", str(shelter), "--out", str(fresh)).code == Exit.OK
    published = command(
        *("directory", "publish", str(fresh), "--repository", str(network.path / "directory")),
        *("--country-key", str(authority / "al.json")),
        *("--online-key", str(authority / "online.json")),
        *("--passphrase-file", str(authority / "passphrase")),
    )
    assert published.code == Exit.OK
    again = command("keys", "rotate", "--home", str(shelter), "--out", str(tmp_path / "none"))
    assert again.code == Exit.OK
    assert not (tmp_path / "none").exists()
    assert set(ill(shelter)) == {"process"}

    net.hub.end()
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
        net.hub.start()
        net.hub.wait_ready()


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
