"""A network that is laid out is one that verifies: everybody enrolled, nobody's keys shared."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from broker.cli.demo.tamper import altered
from broker.cli.homes.hub import AmqpPlace, amqp_definitions, renew_queue_access
from broker.cli.homes.network import HUB, MEMBERS, Network, create_network
from broker.clock import SystemClock
from broker.hub.relay.channels import Names
from broker.hub.settings import load_settings
from keys.binding import uuid7
from keys.sealing import EnvelopeDraft, seal_envelope
from keys.signing import parse_envelope, verify_agreement, verify_envelope
from keys.trust import DirectoryClient
from schemas.directory import Compartment, TrustedDirectory
from schemas.envelope import Kind, Lane, Stream
from schemas.errors import BadSignature, Conflict


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return create_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def directory(network: Network, tmp_path_factory: pytest.TempPathFactory) -> TrustedDirectory:
    client = DirectoryClient(
        str(network.path / "directory"), tmp_path_factory.mktemp("cache"), network.root
    )
    return client.refresh(SystemClock().now())


def test_everybody_is_in_the_directory_and_the_directory_verifies(
    directory: TrustedDirectory,
) -> None:
    assert set(directory.participants) == {HUB, *(member.id for member in MEMBERS)}
    hub = directory.participants[HUB]
    assert hub.log_vkey is not None
    assert not hub.sealing_keys(SystemClock().now(), 1)


def test_no_two_participants_share_a_key(directory: TrustedDirectory) -> None:
    kids = [key.kid for one in directory.participants.values() for key in one.keys]
    assert len(kids) == len(set(kids)) == len(directory.by_kid)


def test_secrets_are_for_their_owner_alone(network: Network) -> None:
    names = {"passphrase", "secret", "keys.json", "hub.toml", "gateway.toml"}
    secret = [path for path in network.path.rglob("*") if path.name in names]
    secret += list((network.path / "authority").glob("*"))
    secret += list(network.path.rglob("*.token"))
    assert len(secret) > 20
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


def test_the_usual_agreement_is_signed_by_both(
    network: Network, directory: TrustedDirectory
) -> None:
    raw = network.signed_agreement("it.nrm", "al.nrm")
    verified = verify_agreement(raw, directory, now=SystemClock().now())
    assert verified.content.parties == ("it.nrm", "al.nrm")


async def test_definitions_hold_no_password_and_are_there_before_the_hubs_first_start(
    tmp_path: Path,
) -> None:
    amqp = AmqpPlace(host="127.0.0.1", port=1, user="hub", password="a-secret-of-the-hub")
    network = await asyncio.to_thread(create_network, tmp_path / "network", amqp=amqp)
    file = network.hub.settings_file
    text = json.dumps(await amqp_definitions(file))
    settings = load_settings(file).amqp
    assert settings is not None
    for member in MEMBERS:
        reader = Names.of(settings).reader(member.id)
        assert reader.name in text
        assert reader.password not in text
        assert member.id not in text
    assert "a-secret-of-the-hub" not in text
    assert not list(network.path.rglob("*.password"))
    assert not await renew_queue_access(file, "it.nrm")


def test_a_second_network_does_not_overwrite_the_first(network: Network) -> None:
    with pytest.raises((Conflict, FileExistsError)):
        create_network(network.path)


def test_an_envelope_altered_at_rest_is_well_formed_and_does_not_verify(
    network: Network, directory: TrustedDirectory
) -> None:
    now = SystemClock().now()
    recipient = directory.participants["al.nrm"]
    draft = EnvelopeDraft(
        suite=1,
        version=1,
        id=uuid7(now),
        replaces=None,
        from_="it.nrm",
        to="al.nrm",
        lane=Lane.ROUTINE,
        stream=Stream(incarnation="A" * 22, number=1),
        thread=uuid4(),
        in_reply_to=None,
        kind=Kind.NOTICE,
        issued_at=now,
        expires_at=now + timedelta(days=1),
        answer_by=None,
        pauses_clock=False,
        agreement=None,
        consent=None,
        attachments=(),
    )
    signer = network.identity("it.nrm").signer()
    sealed = seal_envelope(
        draft, {Compartment.CASEWORK: b"{}"}, recipient=recipient, signer=signer, now=now
    )
    verify_envelope(sealed, directory, now=now)
    other = parse_envelope(altered(sealed.raw))
    assert other.content.id == sealed.content.id
    with pytest.raises(BadSignature):
        verify_envelope(other, directory, now=now)
