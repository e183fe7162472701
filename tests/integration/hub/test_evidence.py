"""Evidence that comes back: whose word it is, about which bytes, and which of several facts stands."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from broker.clock import TurnedClock
from keys.binding import uuid7
from keys.jws import sign_jws
from schemas.base import b64u
from schemas.evidence import (
    EVIDENCE_TYP,
    Erasure,
    Evidence,
    Fact,
    FactStatement,
    Store,
    StoreErasure,
)
from tests.support.hub import Served, World


async def test_evidence_reaches_the_sender_with_its_exact_bytes(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    raw = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)])

    assert (await al.state_evidence(raw)).status_code == 202
    assert (await al.state_evidence(raw)).status_code == 202

    assert [item["jws"] for item in await it.mailbox()] == [raw.decode()]
    state = (await it.get(f"/envelopes/{sealed.content.id}")).json()
    assert state["state"] == "delivered"
    assert [fact["fact"] for fact in state["facts"]] == ["submitted", "delivered"]


async def test_one_evidence_may_speak_of_many_envelopes(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(10)]

    answer = await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in sent]))

    assert answer.status_code == 202
    assert await al.mailbox() == []
    for one in sent:
        assert (await it.get(f"/envelopes/{one.content.id}")).json()["state"] == "delivered"


async def test_a_forged_rejection_changes_nothing(served: Served) -> None:
    it, al, agreement = await served.pair()
    shelter = served.client("al.shelter")
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    by_other = await shelter.state_evidence(shelter.evidence("it.nrm", [(Fact.REFUSED, sealed)]))
    in_their_name = await shelter.state_evidence(
        shelter.evidence("it.nrm", [(Fact.REFUSED, sealed)], by="al.nrm")
    )
    as_the_hub = await al.state_evidence(al.evidence("it.nrm", [(Fact.STOPPED, sealed)]))

    assert by_other.json()["code"] == "forbidden"
    assert in_their_name.json()["code"] == "suspect"
    assert as_the_hub.json()["code"] == "forbidden"
    assert (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"] == "submitted"
    assert await it.mailbox() == []


@pytest.mark.parametrize(
    ("basis", "status"), [("legal-claims", 202), ("Invented Person, Invented Street 3", 400)]
)
async def test_why_a_copy_is_kept_is_a_code_and_never_a_text(
    served: Served, basis: str, status: int
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    kept = StoreErasure.model_construct(store=Store.VAULT, outcome=Erasure.KEPT, basis=basis)
    fact = FactStatement(
        fact=Fact.ERASED,
        envelope=sealed.content.id,
        digest=b64u(sealed.digest),
        at=served.world.clock.now(),
    ).model_copy(update={"erasures": (kept,)})

    now = served.world.clock.now()
    stated = Evidence(id=uuid7(now), by="al.nrm", to="it.nrm", issued_at=now, facts=(fact,))

    answer = await al.state_evidence(
        sign_jws(stated.to_json(), typ=EVIDENCE_TYP, signer=al.party.signer())
    )

    assert answer.status_code == status


async def test_evidence_about_other_bytes_is_refused(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    answer = await al.state_evidence(
        al.evidence("it.nrm", {sealed.content.id: (Fact.DELIVERED, b"\0" * 32)})
    )

    assert answer.json()["code"] == "id-conflict"


async def test_a_fact_about_a_forgotten_envelope_costs_the_others_nothing(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    stated = al.evidence(
        "it.nrm",
        {
            uuid4(): (Fact.READ, bytes(32)),
            sealed.content.id: (Fact.DELIVERED, sealed.digest),
        },
    )

    assert (await al.state_evidence(stated)).status_code == 202

    assert (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"] == "delivered"
    assert [item["jws"].encode() for item in await it.mailbox()] == [stated]


@pytest.mark.parametrize("fact", [Fact.ERASED, Fact.DELIVERED])
async def test_facts_about_nothing_known_reach_nobody(served: Served, fact: Fact) -> None:
    it, shelter = served.client("it.nrm"), served.client("al.shelter")

    answer = await shelter.state_evidence(shelter.evidence("it.nrm", {uuid4(): (fact, bytes(32))}))

    assert answer.status_code == 202
    assert await it.mailbox() == []


async def test_wrong_evidence_among_others_at_once_is_refused_alone(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(6)]
    good = [al.evidence("it.nrm", [(Fact.DELIVERED, one)]) for one in sent[1:]]
    wrong = al.evidence("it.nrm", {sent[0].content.id: (Fact.DELIVERED, bytes(32))})

    answers = await asyncio.gather(*map(al.state_evidence, [*good[:2], wrong, *good[2:], good[0]]))
    received = await it.mailbox()

    assert [one.status_code for one in answers] == [202, 202, 409, 202, 202, 202, 202]
    assert sorted(item["jws"].encode() for item in received) == sorted(good)


async def test_an_evidence_id_with_other_bytes_is_refused(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    name = uuid4()
    first = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)], id=name)
    second = al.evidence("it.nrm", [(Fact.FILED, sealed)], id=name)

    assert (await al.state_evidence(first)).status_code == 202
    assert (await al.state_evidence(second)).json()["code"] == "id-conflict"


@pytest.mark.parametrize("order", [(Fact.DELIVERED, Fact.FILED), (Fact.FILED, Fact.DELIVERED)])
async def test_the_stronger_fact_stands_in_whatever_order_they_come(
    served: Served, order: tuple[Fact, Fact]
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    for fact in order:
        await al.state_evidence(al.evidence("it.nrm", [(fact, sealed)]))

    assert (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"] == "filed"


async def test_what_is_signed_with_a_key_that_has_not_begun_by_the_hubs_clock_is_taken_later(
    served: Served, world: World, clock: TurnedClock
) -> None:
    """An hour after new keys the hub's clock is put back by three, and then right again."""
    it, al, agreement = await served.pair()
    begun = clock.now() - timedelta(hours=1)
    for party in (it.party, al.party):
        world.publish(party.with_key(party.signing_key().kid, not_before=begun))
    await served.hub.refresh_directory()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    statement = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)])
    another = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))

    clock.turn(timedelta(hours=-3))
    await served.hub.sequencer.run_once()
    for answer in (await al.state_evidence(statement), await it.submit(another)):
        assert (answer.status_code, answer.json()["code"]) == (503, "key-not-yet-valid")

    clock.turn(timedelta(hours=3))
    await served.hub.sequencer.run_once()
    assert (await al.state_evidence(statement)).status_code == 202
    assert (await it.submit(another)).status_code == 201
