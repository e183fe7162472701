"""What does not come in time: signed evidence of the silence, and clocks that a question stops."""

from __future__ import annotations

from datetime import timedelta

from broker.clock import TurnedClock
from broker.hub.ending import deadlines
from schemas.envelope import Kind, Lane
from schemas.evidence import (
    Fact,
)
from tests.support.hub import Served


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
