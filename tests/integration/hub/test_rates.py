"""How much of what a participant may send; withdrawal, safety and evidence are never held back."""

from __future__ import annotations

import json
from uuid import uuid4

from keys.jws import sign_jws
from schemas.envelope import Kind, Lane
from schemas.evidence import (
    Fact,
)
from tests.support.hub import Client, World


async def test_only_evidence_about_what_the_hub_never_had_comes_at_a_rate(world: World) -> None:
    limits = world.settings.limits.model_copy(update={"requests_per_minute": 2})
    async with world.serving() as served:
        it, al, agreement = await served.pair()
        sealed = await it.send("al.nrm", agreement=agreement, grant=await it.grant("al.nrm"))

    async with world.serving(limits=limits) as served:
        al = served.client("al.nrm")
        unknown = [
            await al.state_evidence(al.evidence("it.nrm", {uuid4(): (Fact.DELIVERED, bytes(32))}))
            for _ in range(4)
        ]
        known = [
            await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))
            for _ in range(4)
        ]

    assert [one.status_code for one in unknown] == [202, 202, 429, 429]
    assert [one.status_code for one in known] == [202] * 4


async def test_a_participant_over_its_rate_is_slowed_but_withdrawal_and_safety_never(
    world: World,
) -> None:
    limits = world.settings.limits.model_copy(update={"envelopes_per_minute": 2})
    async with world.serving(limits=limits) as served:
        it, _, agreement = await served.pair()
        grant = await it.grant("al.nrm")

        async def one(client: Client = it) -> int:
            sealed = client.seal(client.draft("al.nrm", agreement=agreement, grant=grant))
            return (await client.submit(sealed)).status_code

        statuses = [await one() for _ in range(3)]
        safety = it.draft(
            "al.nrm", agreement=agreement, grant=None, kind=Kind.SAFETY, lane=Lane.URGENT
        )

        assert statuses == [201, 201, 429]
        assert (await it.submit(it.seal(safety))).status_code == 201
        assert (await it.submit(it.withdrawal(grant, "al.nrm"))).status_code == 201


async def test_refusals_are_signed_at_a_rate_and_leave_the_senders_own_rate_alone(
    world: World,
) -> None:
    from schemas.envelope import ENVELOPE_TYP

    limits = world.settings.limits.model_copy(update={"envelopes_per_minute": 2})
    async with world.serving(limits=limits) as served:
        it, _, agreement = await served.pair()
        grant = await it.grant("al.nrm")

        async def wrong() -> int:
            content = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)).content
            payload = json.dumps(content.to_dict() | {"more": "x"}).encode()
            raw = sign_jws(payload, typ=ENVELOPE_TYP, signer=it.party.signer())
            return (await served.http.post("/envelopes", content=raw)).status_code

        assert [await wrong() for _ in range(3)] == [400, 400, 429]
        await it.send("al.nrm", agreement=agreement, grant=grant)


async def test_grants_agreements_and_suspensions_come_at_a_rate(world: World) -> None:
    limits = world.settings.limits.model_copy(update={"requests_per_minute": 3})
    async with world.serving(limits=limits) as served:
        it, al, agreement = await served.pair()  # one
        await it.grant("al.nrm")
        await it.grant("al.nrm")
        statement = it.grant_statement("al.nrm").raw

        answers = [
            await it.http.post("/grants", content=statement),
            await it.http.post("/suspensions", content=it.suspension(agreement)),
            await al.http.post("/suspensions", content=al.suspension(agreement)),
        ]

    assert [answer.status_code for answer in answers] == [429, 429, 201]
