"""What the hub accepts, what it refuses and how it says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text

from broker.clock import TurnedClock
from broker.hub.store.tables import DELIVERY, OBLIGATION
from schemas.base import b64u
from schemas.envelope import Kind, Lane, Stream
from schemas.evidence import Fact
from tests.support.hub import Served, count, leaves


async def test_an_accepted_envelope_is_answered_with_signed_evidence(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))

    answer = await it.submit(sealed)

    [fact] = it.facts(answer.content)
    assert answer.status_code == 201
    assert (fact.fact, fact.envelope) == (Fact.SUBMITTED, sealed.content.id)
    assert fact.digest == b64u(sealed.digest)


async def test_the_same_bytes_again_get_the_same_evidence_and_are_delivered_once(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))

    first = await it.submit(sealed)
    again = await it.submit(sealed)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.content == again.content
    assert len(await al.mailbox()) == 1


async def test_the_same_bytes_twenty_times_at_once_are_one_envelope(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))

    answers = await asyncio.gather(*(it.submit(sealed) for _ in range(20)))

    assert sorted(a.status_code for a in answers) == [200] * 19 + [201]
    assert len({a.content for a in answers}) == 1
    assert len(await al.mailbox()) == 1


async def test_other_bytes_under_a_used_id_are_refused_and_recorded(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    other = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, id=sealed.content.id))
    before = await leaves(served)

    answer = await it.submit(other)

    [fact] = it.facts(answer.json()["evidence"])
    assert (answer.status_code, answer.json()["code"]) == (409, "id-conflict")
    assert (fact.fact, fact.code, fact.digest) == (Fact.REFUSED, "id-conflict", b64u(other.digest))
    assert await leaves(served) == before + 1
    assert [item["jws"] for item in await al.mailbox()] == [sealed.raw.decode()]


async def test_a_refused_id_does_not_block_the_corrected_message(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    wrong = it.draft("al.nrm", agreement=uuid4(), grant=grant)

    refused = await it.submit(it.seal(wrong))
    accepted = await it.submit(it.seal(replace(wrong, agreement=agreement)))

    assert refused.json()["code"] == "no-agreement"
    assert accepted.status_code == 201
    assert len(await al.mailbox()) == 1


async def test_a_clock_nine_minutes_off_is_no_reason_to_refuse(
    served: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for minutes in (-9, 9):
        issued = clock.now() + timedelta(minutes=minutes)
        sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, issued_at=issued))

        assert (await it.submit(sealed)).status_code == 201


async def test_a_reply_may_go_back_to_who_gave_the_grant(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    asked = await it.send("al.nrm", agreement=agreement, grant=grant)

    await al.send(
        "it.nrm",
        agreement=agreement,
        grant=grant,
        kind=Kind.ANSWER,
        in_reply_to=asked.content.id,
        thread=asked.content.thread,
    )

    assert len(await it.mailbox()) == 1


async def test_a_safety_alert_passes_without_consent_or_agreement(served: Served) -> None:
    it, al, agreement = await served.pair()
    assert (await it.http.post("/suspensions", content=al.suspension(agreement))).is_success

    answer = await it.submit(
        it.seal(
            it.draft("al.nrm", agreement=agreement, grant=None, kind=Kind.SAFETY, lane=Lane.URGENT)
        )
    )

    assert answer.status_code == 201
    assert len(await al.mailbox(Lane.URGENT)) == 1


async def test_her_rights_pass_an_agreement_that_is_suspended_and_carry_nothing(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    assert (await it.http.post("/suspensions", content=al.suspension(agreement))).is_success
    rights: dict[str, Any] = {"kind": Kind.RIGHTS, "lane": Lane.URGENT, "agreement": agreement}

    passed = await it.submit(it.seal(it.draft("al.nrm", grant=None, **rights)))
    notice = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=None, kind=Kind.NOTICE))
    )
    covered = await it.submit(it.seal(it.draft("al.nrm", grant=grant, **rights)))

    assert passed.status_code == 201
    assert len(await al.mailbox(Lane.URGENT)) == 1
    assert (notice.json()["code"], covered.json()["code"]) == ("no-agreement", "schema")


async def test_a_stream_number_is_used_once(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    first = await it.send("al.nrm", agreement=agreement, grant=grant)

    again = it.seal(
        it.draft("al.nrm", agreement=agreement, grant=grant, stream=first.content.stream)
    )

    assert (await it.submit(again)).json()["code"] == "stream-number"


async def test_a_second_incarnation_is_refused_while_the_first_lives(
    served: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    clone = served.client("it.nrm")
    assert (await it.post("/incarnation", {"incarnation": it.incarnation})).status_code == 200

    taken = await clone.post("/incarnation", {"incarnation": clone.incarnation})
    refused = await clone.submit(
        clone.seal(clone.draft("al.nrm", agreement=agreement, grant=grant))
    )
    clock.turn(timedelta(seconds=61))
    await served.hub.sequencer.run_once()
    later = await clone.post("/incarnation", {"incarnation": clone.incarnation})

    assert (taken.status_code, taken.json()["code"]) == (409, "second-incarnation")
    assert refused.json()["code"] == "second-incarnation"
    assert later.status_code == 200


async def test_an_answer_settles_what_was_asked_whoever_else_says_so(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    asked = await it.send("al.nrm", agreement=agreement, grant=grant)
    reply: dict[str, Any] = {
        "kind": Kind.ANSWER,
        "in_reply_to": asked.content.id,
        "thread": asked.content.thread,
    }

    await it.send("al.nrm", agreement=agreement, grant=grant, **reply)
    by_asker = await _obligation(served, asked.content.id)
    await al.send("it.nrm", agreement=agreement, grant=grant, **reply)
    by_ower = await _obligation(served, asked.content.id)

    assert (by_asker, by_ower) == ("asked", "answered")


async def _obligation(served: Served, request: UUID) -> str:
    async with served.hub.database.read() as connection:
        found = await connection.scalar(
            select(OBLIGATION.c.state).where(OBLIGATION.c.request_id == request)
        )
    return str(found)


async def test_one_bad_row_does_not_refuse_its_neighbours(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    good = [it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)) for _ in range(5)]
    # A number that the model allows and the column does not would be our bug; planted here.
    bad = it.seal(
        it.draft(
            "al.nrm",
            agreement=agreement,
            grant=grant,
            stream=Stream(incarnation=it.incarnation, number=777),
        )
    )
    async with served.hub.database.begin() as connection:
        if served.hub.database.dialect == "sqlite":
            statement = (
                "CREATE TRIGGER planted BEFORE INSERT ON envelope WHEN NEW.stream_number = 777 "
                "BEGIN SELECT RAISE(ABORT, 'planted'); END"
            )
        else:
            statement = "ALTER TABLE envelope ADD CONSTRAINT planted CHECK (stream_number <> 777)"
        await connection.execute(text(statement))

    answers = await asyncio.gather(*(it.submit(one) for one in [*good[:2], bad, *good[2:]]))

    assert [a.status_code for a in answers] == [201, 201, 503, 201, 201, 201]
    assert len(await al.mailbox()) == 5


async def test_many_at_once_share_transactions_and_each_gets_its_own_bytes_through(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = [
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant), b'{"n":%d}' % n)
        for n in range(60)
    ]

    answers = await asyncio.gather(*(it.submit(one) for one in sent))
    received: list[dict[str, Any]] = []
    while items := await al.mailbox(limit=25):
        received += items
        await al.acknowledge(items)

    assert {a.status_code for a in answers} == {201}
    by_answer = [it.facts(a.content)[0].envelope for a in answers]
    assert by_answer == [one.content.id for one in sent]
    assert {item["jws"] for item in received} == {one.raw.decode() for one in sent}
    assert len(received) == 60
    batches = served.hub.metrics.batch
    assert batches._sum.get() > batches._buckets[0].get()
    assert await count(served, DELIVERY) == 0
