"""Handing over and what comes back: mailbox, evidence, isolation."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from broker.clock import TurnedClock
from broker.hub.ending import deadlines
from broker.hub.store import deliveries, participants
from broker.hub.store.deliveries import Settled
from broker.hub.store.tables import DELIVERY, EVIDENCE
from keys.binding import uuid7
from keys.jws import sign_jws
from schemas.base import b64u
from schemas.directory import KeyStatus
from schemas.envelope import Kind, Lane
from schemas.evidence import (
    EVIDENCE_TYP,
    Erasure,
    Evidence,
    Fact,
    FactStatement,
    Store,
    StoreErasure,
)
from tests.support.hub import Client, Served, World, waits
from tests.support.waiting import until


async def test_what_was_not_acknowledged_comes_again_with_the_same_id_and_bytes(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)

    first = await al.mailbox()
    meanwhile = await al.mailbox()
    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()
    again = await al.mailbox()

    assert meanwhile == []
    assert first == again


async def test_who_lost_an_answer_says_so_and_waits_for_no_lease(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    lost = await al.mailbox()
    again = await al.mailbox(fresh="true")
    await al.acknowledge(again)

    assert lost == again != []
    assert await al.mailbox(fresh="true") == []
    assert len(await al.mailbox(Lane.URGENT)) == 1


async def test_ten_consumers_of_one_mailbox_never_get_the_same_item(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for _ in range(30):
        await it.send("al.nrm", agreement=agreement, grant=grant)

    pages = await asyncio.gather(*(al.mailbox(limit=5) for _ in range(10)))

    seen = [item["delivery"] for page in pages for item in page]
    assert len(seen) == len(set(seen)) == 30


async def test_waiting_ends_as_soon_as_something_is_there(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    waiting = asyncio.create_task(al.mailbox(wait=20))
    await until("Albania to wait", lambda: waits(served.hub, "al.nrm"))

    await it.send("al.nrm", agreement=agreement, grant=grant)

    async with asyncio.timeout(10):
        assert len(await waiting) == 1


async def test_an_empty_mailbox_answers_in_time(served: Served) -> None:
    _, al, _ = await served.pair()

    assert await al.mailbox(wait=0.3) == []


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


async def test_silence_becomes_signed_evidence_and_a_late_receipt_still_wins(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)
    assert len(await al.mailbox(Lane.URGENT)) == 1

    clock.turn(timedelta(minutes=31))
    await served.hub.sequencer.run_once()
    await deadlines.run_once(served.hub)
    [told] = [f for item in await it.mailbox(Lane.URGENT) for f in it.facts(item["jws"])]
    undelivered = (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"]
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))
    delivered = (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"]

    assert told.fact is Fact.UNDELIVERED
    assert (undelivered, delivered) == ("undelivered", "delivered")
    assert await deadlines.run_once(served.hub) == 0


async def test_a_receipt_before_the_deadline_leaves_no_negative_evidence(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))

    clock.turn(timedelta(minutes=31))
    await served.hub.sequencer.run_once()
    await deadlines.run_once(served.hub)

    facts = [f.fact for item in await it.mailbox(Lane.URGENT) for f in it.facts(item["jws"])]
    assert facts == [Fact.DELIVERED]


async def test_an_expired_envelope_is_never_handed_over_and_both_sides_are_told(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        expires_at=clock.now() + timedelta(hours=1),
    )

    clock.turn(timedelta(hours=2))
    await served.hub.sequencer.run_once()
    first = await al.mailbox()
    to_recipient = [*first, *await al.mailbox()]

    assert sealed.raw.decode() not in [item["jws"] for item in to_recipient]
    facts = [f.fact for item in to_recipient for f in al.facts(item["jws"])]
    assert facts == [Fact.TOMBSTONE]
    assert [f.fact for item in await it.mailbox() for f in it.facts(item["jws"])] == [Fact.EXPIRED]


async def test_who_asked_is_told_once_that_the_answer_is_overdue(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        answer_by=clock.now() + timedelta(hours=1),
    )
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, sealed)]))

    clock.turn(timedelta(hours=1, seconds=1))
    await served.hub.sequencer.run_once()
    await deadlines.run_once(served.hub)
    await deadlines.run_once(served.hub)

    to_asker = [f.fact for item in await it.mailbox() for f in it.facts(item["jws"])]
    assert to_asker == [Fact.DELIVERED, Fact.OVERDUE]
    assert (await it.get(f"/envelopes/{sealed.content.id}")).json()["state"] == "delivered"


async def test_only_a_question_stops_the_clock(served: Served, clock: TurnedClock) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    asked = await it.send(
        "al.nrm", agreement=agreement, grant=grant, answer_by=clock.now() + timedelta(hours=1)
    )
    await al.send(
        "it.nrm",
        agreement=agreement,
        grant=grant,
        thread=asked.content.thread,
        in_reply_to=asked.content.id,
        pauses_clock=True,
        kind=Kind.NOTICE,
    )

    clock.turn(timedelta(hours=5))
    await served.hub.sequencer.run_once()
    await deadlines.run_once(served.hub)

    told = [
        fact.fact
        for item in await it.mailbox()
        if item["kind"] == "evidence"
        for fact in it.facts(item["jws"])
    ]
    assert Fact.OVERDUE in told


async def test_the_clock_of_a_request_stands_still_while_its_question_is_open(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    asked = await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        answer_by=clock.now() + timedelta(hours=1),
    )
    question = await al.send(
        "it.nrm",
        agreement=agreement,
        grant=grant,
        thread=asked.content.thread,
        in_reply_to=asked.content.id,
        pauses_clock=True,
    )

    clock.turn(timedelta(hours=5))
    await served.hub.sequencer.run_once()
    paused = await deadlines.run_once(served.hub)
    await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        thread=asked.content.thread,
        in_reply_to=question.content.id,
        kind=Kind.ANSWER,
    )
    clock.turn(timedelta(minutes=59))
    await served.hub.sequencer.run_once()
    running = await deadlines.run_once(served.hub)
    clock.turn(timedelta(minutes=2))
    await served.hub.sequencer.run_once()
    over = await deadlines.run_once(served.hub)

    assert (paused, running, over) == (0, 0, 1)


@pytest.mark.parametrize("what", ["agreement", "sender", "signing key", "sealing key"])
async def test_what_ended_since_acceptance_stops_it_at_hand_over(
    served: Served, world: World, what: str
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)

    if what == "agreement":
        await al.http.post("/suspensions", content=al.suspension(agreement))
    elif what == "sender":
        world.change("it.nrm", suspended=True)
    elif what == "signing key":
        world.publish(world.parties["it.nrm"].with_status(KeyStatus.COMPROMISED))
    else:
        party = world.parties["al.nrm"]
        [part] = sealed.content.parts
        world.publish(party.with_key(part.to_key, status=KeyStatus.COMPROMISED))
    await served.hub.refresh_directory()

    handed_over = [*await al.mailbox(), *await al.mailbox()]

    assert [item["kind"] for item in handed_over] == ["evidence"]
    async with served.hub.database.read() as connection:
        kinds = (await connection.execute(select(DELIVERY.c.item))).scalars().all()
    assert "envelope" not in kinds


async def test_an_agreement_that_runs_out_stops_what_waits_under_it(
    served: Served, clock: TurnedClock
) -> None:
    today = served.world.clock.now().date()
    it, al, agreement = await served.pair(valid_until=today)
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    clock.turn(timedelta(days=1))
    await served.hub.sequencer.run_once()

    handed_over = [*await al.mailbox(), *await al.mailbox()]

    assert sealed.raw.decode() not in [item["jws"] for item in handed_over]
    to_sender = [fact for item in await it.mailbox() for fact in it.facts(item["jws"])]
    assert (Fact.STOPPED, "no-agreement") in {(fact.fact, fact.code) for fact in to_sender}


async def test_both_lanes_are_separate(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    routine = await it.send("al.nrm", agreement=agreement, grant=grant)
    urgent = await it.send("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    assert [i["jws"] for i in await al.mailbox(Lane.URGENT)] == [urgent.raw.decode()]
    assert [i["jws"] for i in await al.mailbox()] == [routine.raw.decode()]


async def test_every_object_is_shown_to_its_parties_alone(served: Served) -> None:
    it, al, agreement = await served.pair()
    shelter = served.client("al.shelter")
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    async with served.hub.database.read() as connection:
        evidence = (await connection.execute(select(EVIDENCE.c.id))).scalars().first()
    paths = [
        f"/envelopes/{sealed.content.id}",
        f"/grants/{grant.id}",
        f"/streams?from=it.nrm&to=al.nrm&lane={Lane.ROUTINE}",
        f"/log/proof?envelope={sealed.content.id}",
        f"/log/proof?evidence={evidence}",
        f"/attachments/{'A' * 43}",
    ]

    for path in paths:
        assert (await shelter.get(path)).status_code == 404, path
    assert (await shelter.get("/agreements")).json() == {"agreements": []}
    assert await shelter.mailbox() == []
    items = await al.mailbox()
    await shelter.acknowledge(items)
    async with served.hub.database.read() as connection:
        assert (await connection.execute(select(DELIVERY.c.id))).first() is not None


async def test_without_a_signature_nothing_but_public_files_is_answered(served: Served) -> None:
    paths = [
        "/mailbox?lane=routine",
        "/agreements",
        "/channels",
        "/grants/changes",
        f"/grants/{uuid4()}",
        f"/envelopes/{uuid4()}",
        "/streams?from=it.nrm&lane=routine",
        "/log/entries",
        f"/log/proof?envelope={uuid4()}",
        "/log/tile/entries/000",
        f"/attachments/{'A' * 43}",
    ]

    for path in paths:
        answer = await served.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path


async def test_a_signed_request_counts_once_and_for_its_own_url(served: Served) -> None:
    al = served.client("al.nrm")
    headers = al.signed("GET", "/agreements")

    first = await served.http.get("/agreements", headers=headers)
    replayed = await served.http.get("/agreements", headers=headers)
    elsewhere = await served.http.get("/channels", headers=al.signed("GET", "/agreements"))

    assert [a.status_code for a in (first, replayed, elsewhere)] == [200, 401, 401]


async def test_streams_tell_each_side_the_highest_number(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for _ in range(3):
        await it.send("al.nrm", agreement=agreement, grant=grant)

    mine: Client = al
    seen = (await mine.get("/streams", **{"from": "it.nrm", "lane": "routine"})).json()
    nothing = (await mine.get("/streams", **{"from": "al.shelter", "lane": "routine"})).json()

    assert seen == {"incarnation": it.incarnation, "highest": 3}
    assert nothing == {"incarnation": None, "highest": 0}


async def test_a_full_window_holds_back_neither_withdrawals_nor_what_is_new_for_ever(
    served: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = partial(it.send, "al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT)

    async def relayed() -> set[UUID]:
        async with served.hub.database.begin() as connection:
            claims = await deliveries.claim_for_relay(
                connection,
                Settled(),
                now=clock.now(),
                lease=timedelta(seconds=30),
                window=4,
                limit=256,
            )
            envelopes = [one for one in claims if one.item == deliveries.ENVELOPE_ITEM]
            again = clock.now() + timedelta(seconds=60)
            await deliveries.mark_relayed(connection, [one.id for one in envelopes], again)
        return {one.object_id for one in envelopes}

    async with served.hub.database.begin() as connection:
        await participants.set_channel(connection, "al.nrm", "amqp", clock.now())
    stuck = {(await sent()).content.id for _ in range(4)}
    assert await relayed() == stuck
    behind = {(await sent()).content.id for _ in range(2)}
    alert = (await sent(kind=Kind.SAFETY)).content.id
    withdrawal = it.withdrawal(await it.grant("al.nrm"), "al.nrm")
    assert (await it.submit(withdrawal)).status_code == 201

    assert await relayed() == {alert, withdrawal.content.id}

    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()
    second = await relayed()
    assert behind <= second
    assert len(second & stuck) == 1
    newest = (await sent()).content.id
    assert await relayed() == {newest}


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
