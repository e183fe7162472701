"""A country without a focal point takes part through another's gateway, with keys of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.cli.demo.processes import Child, until
from broker.cli.homes.network import MEMBERS, Member, create_network
from schemas.directory import Function, OrganisationKind
from tests.support.processes import Running

HOSTED = Member(
    "xk.mission",
    "A mission that stands in where there is no focal point",
    OrganisationKind.INTERNATIONAL,
    Function.COORDINATOR,
    hosted_by="al.nrm",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tmp_path = tmp_path_factory.mktemp("hosted")
    network = create_network(tmp_path / "network", members=(*MEMBERS[:2], HOSTED))
    homes = {name: place.home for name, place in network.participants.items()}
    ports = {name: place.port for name, place in network.participants.items()}
    hub = Child(
        "hub",
        ["hub", "run", "--settings", str(network.hub.settings_file)],
        ready_url=f"{network.url}/readyz",
        log=tmp_path / "hub.log",
    )
    run = ["gateway", "run", "--home"]
    gateways = {
        "it.nrm": Child(
            "it.nrm",
            [*run, str(homes["it.nrm"])],
            ready_url=f"http://127.0.0.1:{ports['it.nrm']}/readyz",
            log=tmp_path / "it.log",
        ),
        "al.nrm": Child(
            "al.nrm",
            [*run, str(homes["al.nrm"]), "--host", str(homes["xk.mission"])],
            ready_url=f"http://127.0.0.1:{ports['xk.mission']}/readyz",
            log=tmp_path / "al.log",
        ),
    }
    try:
        hub.start()
        hub.wait_ready()
        for child in gateways.values():
            child.start()
        for child in gateways.values():
            child.wait_ready()
        yield Running(network, hub, gateways)
    finally:
        for child in (*gateways.values(), hub):
            child.end()


def test_a_hosted_participant_receives_under_its_own_name_and_answers(running: Running) -> None:
    for partner in ("al.nrm", "xk.mission"):
        running.network.register_agreement("it.nrm", partner)
    italy = running.network.worker("it.nrm")
    grant = italy.post(
        "/v1/consents",
        {
            "to": "xk.mission",
            "case_ref": "IT-1",
            "scopes": [{"purpose": "protection", "section": "case_admin"}],
            "principal": "corridor-1",
            "valid_until": "2027-01-31",
            "language": "sqi",
            "notice": "invented-notice-1",
        },
    )["grant"]
    sent = italy.post(
        "/v1/messages",
        {
            "type": "referral.request",
            "to": "xk.mission",
            "case_ref": "IT-1",
            "grant": grant,
            "purpose": "protection",
            "sections": {"case_admin": {"status": "Active"}},
            "body": {"services": ["legal"]},
        },
    )
    until("it is filed", lambda: running.filed("xk.mission"), seconds=20)
    assert not running.filed("al.nrm")

    answered = running.run("xk.mission", "answer", "accept", sent["id"])
    assert answered.code == 0, answered.err
    until(
        "the answer is back",
        lambda: italy.get(f"/v1/threads/{sent['thread']}")["state"] == "accepted",
        seconds=20,
    )
    # Its workers are its own: the host's do not get in, and neither opens the other's message.
    host = running.run("al.nrm", "show", sent["id"])
    assert host.code == 4, running.gateways["al.nrm"].tail()


def test_whoever_the_directory_does_not_call_hosted_does_not_start_so(running: Running) -> None:
    italy = running.gateways["it.nrm"]
    running.gateways["al.nrm"].end()
    stray = Child(
        "stray",
        ["gateway", "run", "--home", str(running.home("xk.mission"))],
        ready_url=italy.ready_url,
        log=italy.log.with_name("stray.log"),
    )
    stray.start()
    until("it has ended", lambda: not stray.running, seconds=20)
    assert "is hosted so" in stray.tail()
