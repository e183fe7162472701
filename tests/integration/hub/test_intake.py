"""What the hub accepts, what it refuses and how it says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from broker.clock import TurnedClock
from broker.hub.store.tables import DELIVERY, ENVELOPE, EVIDENCE, LOG, OBLIGATION, QUARANTINE
from keys.sealing import EnvelopeDraft
from schemas.base import b64u
from schemas.directory import KeyStatus
from schemas.envelope import ConsentTag, Kind, Lane, Stream
from schemas.evidence import Fact
from tests.support.hub import Client, Grant, Served, World


async def count(served: Served, table: Any) -> int:
    async with served.hub.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def leaves(served: Served) -> int:
    return await count(served, LOG.entry) + await count(served, LOG.leaf_pending)


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


Change = Callable[[EnvelopeDraft, Grant], EnvelopeDraft]


def _tag(of: Grant, /, **changes: Any) -> ConsentTag:
    return ConsentTag(grant=of.id, scopes=of.scopes, until=of.until).model_copy(update=changes)


REFUSALS: dict[str, tuple[str, Change]] = {
    "no agreement": ("no-agreement", lambda d, g: replace(d, agreement=None)),
    "an unknown agreement": ("no-agreement", lambda d, g: replace(d, agreement=uuid4())),
    "no consent": ("consent-missing", lambda d, g: replace(d, consent=None)),
    "an unknown grant": (
        "consent-missing",
        lambda d, g: replace(d, consent=_tag(g, grant=uuid4())),
    ),
    "a scope outside the grant": (
        "consent-scope",
        lambda d, g: replace(d, consent=_tag(g, scopes=(b64u(b"x" * 16),))),
    ),
    "a tag that stretches the grant": (
        "consent-expired",
        lambda d, g: replace(d, consent=_tag(g, until=g.until + timedelta(days=1))),
    ),
    "an expiry in the past": (
        "expired",
        lambda d, g: replace(d, issued_at=d.issued_at - timedelta(days=2), expires_at=d.issued_at),
    ),
    "a clock eleven minutes ahead": (
        "from-the-future",
        lambda d, g: replace(d, issued_at=d.issued_at + timedelta(minutes=11)),
    ),
    "a life of ninety-one days": (
        "schema",
        lambda d, g: replace(d, expires_at=d.issued_at + timedelta(days=91)),
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_each_refusal_has_its_code_in_signed_evidence(served: Served, what: str) -> None:
    code, change = REFUSALS[what]
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(change(it.draft("al.nrm", agreement=agreement, grant=grant), grant))
    before = await leaves(served)

    answer = await it.submit(sealed)

    [fact] = it.facts(answer.json()["evidence"])
    assert answer.json()["code"] == code
    assert (fact.fact, fact.code) == (Fact.REFUSED, code)
    assert await leaves(served) == before + 1
    assert await al.mailbox() == []


async def test_a_clock_nine_minutes_off_is_no_reason_to_refuse(
    served: Served, clock: TurnedClock
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for minutes in (-9, 9):
        issued = clock.now() + timedelta(minutes=minutes)
        sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, issued_at=issued))

        assert (await it.submit(sealed)).status_code == 201


async def test_a_grant_for_somebody_else_does_not_carry_a_message(served: Served) -> None:
    it, _, agreement = await served.pair()
    await served.pair("it.nrm", "al.shelter")
    grant = await it.grant("al.shelter")

    answer = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

    assert answer.json()["code"] == "consent-recipient"


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


async def test_a_lane_outside_the_agreement_is_refused(served: Served) -> None:
    it, _, agreement = await served.pair(lanes=(Lane.ROUTINE,))
    grant = await it.grant("al.nrm")

    answer = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, lane=Lane.URGENT))
    )

    assert answer.json()["code"] == "no-agreement"


async def test_an_agreement_that_has_ended_carries_nothing(
    served: Served, clock: TurnedClock
) -> None:
    it, _, _ = await served.pair()
    grant = await it.grant("al.nrm")
    today = clock.now().date()
    ended, raw = served.world.agreement(
        "it.nrm", "al.nrm", valid_from=today - timedelta(days=9), valid_until=today - timedelta(1)
    )
    assert (await served.http.post("/agreements", content=raw)).status_code == 201

    answer = await it.submit(it.seal(it.draft("al.nrm", agreement=ended, grant=grant)))

    assert answer.json()["code"] == "no-agreement"


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


async def test_a_stranger_gets_an_unsigned_answer_and_leaves_a_counter_only(
    served: Served,
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))
    document = json.loads(sealed.raw)
    header = {"alg": "Ed25519", "kid": "A" * 43, "typ": "referral-envelope+jws"}
    document["protected"] = b64u(json.dumps(header).encode())
    counter = served.hub.metrics.strangers.labels("key-unknown")
    before = await leaves(served), await count(served, EVIDENCE)
    counted = counter._value.get()

    answer = await served.http.post("/envelopes", content=json.dumps(document))

    assert (answer.status_code, answer.json()["code"]) == (401, "key-unknown")
    assert "evidence" not in answer.json()
    assert counter._value.get() == counted + 1
    assert (await leaves(served), await count(served, EVIDENCE)) == before
    assert await count(served, QUARANTINE) == 0


def _stripped(document: dict[str, str]) -> None:
    del document["signature"]


def _other_signature(document: dict[str, str]) -> None:
    document["signature"] = b64u(b"\1" * 64)


def _unprotected(document: dict[str, Any]) -> None:
    document["header"] = {"kid": "other"}


FORGERIES = {
    "a stripped signature": _stripped,
    "another signature": _other_signature,
    "an unprotected header": _unprotected,
}


@pytest.mark.parametrize("what", FORGERIES)
async def test_a_forgery_in_a_known_name_is_quarantined_and_told_nothing(
    served: Served, what: str
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))
    document = json.loads(sealed.raw)
    FORGERIES[what](document)
    before = await leaves(served)

    answer = await served.http.post("/envelopes", content=json.dumps(document))

    assert answer.status_code == 400
    assert answer.json() == {"type": "about:blank", "status": 400, "code": "suspect"}
    assert await count(served, QUARANTINE) == 1
    assert await leaves(served) == before + 1
    assert await al.mailbox() == []


BAD_BYTES = {
    "nothing": (b"", "malformed-json"),
    "not JSON": (b"{", "malformed-json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "malformed-json"),
    "a duplicate member": (b'{"payload":"","payload":""}', "malformed-json"),
    "an array": (b"[]", "malformed-json"),
    "other members": (b'{"signature":"","x":1}', "schema"),
    "more than a mebibyte": (b" " * (1024 * 1024 + 1), "too-large"),
}


@pytest.mark.parametrize("what", BAD_BYTES)
async def test_bytes_that_are_no_envelope_get_a_code_and_no_echo(served: Served, what: str) -> None:
    raw, code = BAD_BYTES[what]

    answer = await served.http.post("/envelopes", content=raw)

    assert answer.json()["code"] == code
    assert "evidence" not in answer.json()
    assert await count(served, ENVELOPE) == 0


async def test_a_field_too_many_from_a_known_participant_is_refused_with_evidence(
    served: Served,
) -> None:
    from keys.jws import sign_jws
    from schemas.envelope import ENVELOPE_TYP

    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    content = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)).content
    payload = json.dumps(content.to_dict() | {"name_of_person": "x"}).encode()
    raw = sign_jws(payload, typ=ENVELOPE_TYP, signer=it.party.signer())

    answer = await served.http.post("/envelopes", content=raw)

    [fact] = it.facts(answer.json()["evidence"])
    assert (answer.json()["code"], fact.code, fact.envelope) == ("schema", "schema", content.id)
    assert "name_of_person" not in answer.text


async def _directory_is_seen(served: Served) -> None:
    await served.hub.refresh_directory()


async def test_a_compromised_key_signs_nothing_any_more(served: Served, world: World) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant))
    world.publish(world.parties["it.nrm"].with_status(KeyStatus.COMPROMISED))
    await _directory_is_seen(served)

    answer = await it.submit(sealed)

    assert answer.json()["code"] == "key-revoked"


async def test_nothing_is_accepted_for_a_suspended_participant(
    served: Served, world: World
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    world.change("al.nrm", suspended=True)
    await _directory_is_seen(served)

    to_them = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))
    from_them = await al.submit(
        al.seal(al.draft("it.nrm", agreement=agreement, grant=None, kind=Kind.NOTICE))
    )
    by_them = await al.get("/mailbox", lane="routine")

    assert to_them.json()["code"] == "recipient-unknown"
    assert from_them.json()["code"] == "forbidden"
    assert by_them.status_code == 403


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
    from keys.jws import sign_jws
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
