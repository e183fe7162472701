"""An independent tlog-witness, and the hub that asks it: both the real thing, over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx2

from broker.audit.log.checkpoint import make_witness_key, open_checkpoint
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.proofs.policy import parse_policy
from broker.audit.witnesses.witness import Witness, WitnessMemory
from broker.audit.witnesses.witness_http import create_witness_app
from broker.hub.log.witnesses import ask
from broker.hub.settings import IndependentWitness
from tests.support.hub import World


async def test_a_hub_is_cosigned_by_a_witness_that_knows_more_than_the_hub_remembers(
    world: World, tmp_path: Path
) -> None:
    skey, vkey = make_witness_key("witness.example/w1")
    memory = WitnessMemory(tmp_path / "memory").open()
    log_key = Verifier.from_text(world.vkey)
    witness = Witness({log_key.name: [log_key]}, [NoteSigner.from_text(skey)], memory)
    app = create_witness_app(witness, world.clock.now)
    place = IndependentWitness(vkey=vkey, url="http://witness.test")
    log = world.settings.log.model_copy(update={"witnesses": (place,), "witness_seconds": 3600})
    async with (
        world.serving(log=log) as served,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as http,
    ):
        it, _, agreement = await served.pair()
        signed: dict[str, int] = {}
        asked: dict[str, bytes] = {}
        await served.hub.sequencer.run_once()
        assert await ask(served.hub, http, place, signed, asked)
        assert not await ask(served.hub, http, place, signed, asked), "one head, one signature"
        await it.send("al.nrm", agreement=agreement, grant=await it.grant("al.nrm"))
        await served.hub.sequencer.run_once()
        # A hub that restarts has forgotten what the witness signed last; the witness tells it.
        assert await ask(served.hub, http, place, {}, {})

        policy = parse_policy((await served.http.get("/log/policy")).content)
        head = (await served.http.get("/log/checkpoint")).content
        opened = open_checkpoint(head, policy.logs, policy.witness_keys)
        assert [seen.by.name for seen in opened.by_witnesses] == ["witness.example/w1"]
        assert policy.is_met(opened.by_witnesses)
    memory.close()
