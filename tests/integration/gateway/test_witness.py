"""Countries witness the hub's log: one vote each, never for two histories, and a person is called."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.audit.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.proofs.policy import parse_policy
from broker.audit.proofs.verify import TrustedKey, verify_proof
from broker.audit.witnesses.countries import policy_of
from broker.audit.witnesses.witness import WitnessMemory
from broker.client.results import Proof
from broker.gateway.network.witness import CONTRADICTION, NOT_WITNESSED, HubWitness
from broker.hub.state import Hub
from schemas.base import b64u
from schemas.errors import BadSignature, Forbidden, HubUnreachable, LogSetBack
from tests.support.gateways import Side, World, always_the_newest_head, open_alarms, world


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network", "it.nrm", "al.nrm", "al.shelter") as made:
        always_the_newest_head(hub_of(made))
        yield made
        for name in ("it.nrm", "al.nrm", "al.shelter"):
            witness_of(made[name]).close()


def witness_of(side: Side) -> HubWitness:
    found: HubWitness = side.parts.witness
    return found


def hub_of(made: World) -> Hub:
    hub: Hub = made.hub.state.hub
    return hub


async def text_of(made: World, path: str) -> str:
    side = made["it.nrm"]
    answer = await side.gateway.core.hub._send("GET", path)
    return answer.text


def as_file(proof: Proof) -> bytes:
    content = {
        "evidence": proof.evidence.decode(),
        "leaf": b64u(proof.leaf),
        "opening": proof.opening,
        "proof": proof.proof,
        "directory_version": proof.directory_version,
    }
    return json.dumps(content).encode()


async def test_a_proof_is_witnessed_once_enough_countries_have_signed(three: World) -> None:
    italy, albania, shelter = (three[name] for name in ("it.nrm", "al.nrm", "al.shelter"))
    message = (await italy.refer("al.nrm", await italy.consent("al.nrm"))).id
    await italy.push()
    hub = hub_of(three)
    await hub.sequencer.run_once()
    policy = parse_policy(await text_of(three, "/log/policy"))
    assert policy == hub.witness_policy()
    core = italy.gateway.core
    assert policy == policy_of(
        core.trusted().participants.values(),
        logs=[Verifier.from_text(core.partner("hub.main").log_vkey or "")],
    )

    keys = {
        key.kid: TrustedKey(owner.id, key.alg, key.jwk)
        for owner, key in core.trusted().by_kid.values()
    }

    async def met() -> bool:
        verdict = verify_proof(
            as_file(await core.hub.proof(envelope=message)), policy, trusted_keys=keys
        )
        return verdict.proven

    assert not await met()
    assert await witness_of(albania).run_once()
    assert await witness_of(shelter).run_once()
    assert not await met(), "two participants of one country are one vote"
    assert await witness_of(italy).run_once()
    assert await met()
    assert not await witness_of(italy).run_once(), "the same head is signed once"


async def test_a_hub_that_shows_another_history_is_held_and_witnessed_no_more(
    three: World,
) -> None:
    italy = three["it.nrm"]
    witness, hub = witness_of(italy), hub_of(three)
    await witness.step()
    real = open_checkpoint(
        (await text_of(three, "/log/checkpoint")).encode(),
        [signer.verifier for signer in hub.log_signers],
    )
    origin = real.checkpoint.origin
    # What Italy was shown before: a head of the same size that the same key signed.
    shown = sign_checkpoint(
        Checkpoint(origin, real.checkpoint.size, bytes(32)), hub.log_signers, hub.clock.now()
    )
    witness.close()
    memory = WitnessMemory(witness.folder).open()
    memory.keep(origin, shown.raw)
    memory.close()

    await witness.step()

    assert CONTRADICTION in await open_alarms(italy)
    (evidence,) = witness.folder.glob("*/contradiction-*")
    kept = {
        open_checkpoint((evidence / name).read_bytes(), real_keys(hub)).checkpoint.root
        for name in ("one", "other")
    }
    assert kept == {bytes(32), real.checkpoint.root}
    with pytest.raises(LogSetBack):  # shown what it has signed, it signs no more either
        await hub.sequencer.run_once()
    await witness.step()
    assert len(list(witness.folder.glob("*/contradiction-*"))) == 1
    assert CONTRADICTION in await open_alarms(italy)


def real_keys(hub: Hub) -> list[Verifier]:
    return [signer.verifier for signer in hub.log_signers]


async def test_a_hub_that_cannot_be_reached_for_long_is_an_alarm_until_it_answers(
    three: World,
) -> None:
    italy = three["it.nrm"]
    witness = witness_of(italy)
    italy.line.cut = True
    with pytest.raises(HubUnreachable):
        await witness.run_once()
    for _ in range(italy.gateway.core.settings.witness.failures):
        await witness.step()
    assert await open_alarms(italy) == [NOT_WITNESSED]
    italy.line.cut = False
    await witness.step()
    assert await open_alarms(italy) == []


async def test_a_signature_that_was_lost_on_its_way_is_handed_in_later(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    italy = three["it.nrm"]

    async def lost(_size: int, _lines: object) -> None:
        raise HubUnreachable

    with monkeypatch.context() as patched:
        patched.setattr(italy.gateway.core.hub, "cosign", lost)
        await witness_of(italy).step()
    assert "gateway-log" not in await text_of(three, "/log/checkpoint")
    assert await witness_of(italy).run_once()
    assert (await text_of(three, "/log/checkpoint")).count("it.nrm/gateway-log") == 1


async def test_nobody_signs_in_anothers_name(three: World) -> None:
    italy, albania = three["it.nrm"], three["al.nrm"]
    text = (await text_of(three, "/log/checkpoint")).partition("\n\n")[0] + "\n"
    size = int(text.split("\n")[1])
    signer = albania.gateway.core.log.signer.dated()
    line = signer.sign(text, albania.gateway.core.now()).line()
    with pytest.raises(Forbidden):
        await italy.gateway.core.hub.cosign(size, [line])
    forged = NoteSigner(signer.name, signer.type, bytes(32)).sign(text, italy.gateway.core.now())
    with pytest.raises((Forbidden, BadSignature)):
        await albania.gateway.core.hub.cosign(size, [forged.line()])
    assert "gateway-log" not in await text_of(three, "/log/checkpoint")
