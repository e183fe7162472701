"""A country without a focal point takes part through another's gateway, with keys of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.cli.demo.processes import Child, until
from broker.cli.homes.network import MEMBERS, Member
from schemas.directory import Function, OrganisationKind
from tests.support.processes import Running, running

HOSTED = Member(
    "xk.mission",
    "A mission that stands in where there is no focal point",
    OrganisationKind.INTERNATIONAL,
    Function.COORDINATOR,
    hosted_by="al.nrm",
)


def stands_in_albania(net: Running) -> None:
    """Albania's gateway serves the mission too, whose workers have an address of their own."""
    host, hosted = net.gateways["al.nrm"], net.network.participants["xk.mission"]
    net.gateways["al.nrm"] = Child(
        "al.nrm",
        ["gateway", "run", "--home", str(net.home("al.nrm")), "--host", str(hosted.home)],
        ready_url=f"http://127.0.0.1:{hosted.port}/readyz",
        log=host.log,
    )


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path, members = tmp_path_factory.mktemp("hosted") / "network", (*MEMBERS[:2], HOSTED)
    with running(path, members=members, before=stands_in_albania) as made:
        yield made


def test_a_hosted_participant_receives_under_its_own_name_and_answers(net: Running) -> None:
    net.network.register_agreement("it.nrm", "xk.mission")
    italy = net.network.worker("it.nrm")
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
    until("it is filed", lambda: net.filed("xk.mission"), seconds=20)
    assert not net.filed("al.nrm")

    answered = net.run("xk.mission", "answer", "accept", sent["id"])
    assert answered.code == 0, answered.err
    until(
        "the answer is back",
        lambda: italy.get(f"/v1/threads/{sent['thread']}")["state"] == "accepted",
        seconds=20,
    )
    # Its workers are its own: the host's do not get in, and neither opens the other's message.
    host = net.run("al.nrm", "show", sent["id"])
    assert host.code == 4, net.gateways["al.nrm"].tail()


def test_whoever_the_directory_does_not_call_hosted_does_not_start_so(net: Running) -> None:
    italy = net.gateways["it.nrm"]
    net.gateways["al.nrm"].end()
    stray = Child(
        "stray",
        ["gateway", "run", "--home", str(net.home("xk.mission"))],
        ready_url=italy.ready_url,
        log=italy.log.with_name("stray.log"),
    )
    stray.start()
    until("it has ended", lambda: not stray.running, seconds=20)
    assert "is hosted so" in stray.tail()
