"""What the hub refuses, and how it says so: to a participant, to a pretender, to a stranger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from broker.clock import TurnedClock
from broker.hub.store.tables import ENVELOPE, EVIDENCE, QUARANTINE
from keys.sealing import EnvelopeDraft
from schemas.base import b64u
from schemas.directory import KeyStatus
from schemas.envelope import ConsentTag, Kind, Lane
from schemas.evidence import Fact
from tests.support.hub import Grant, Served, World, count, leaves

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


async def test_a_grant_for_somebody_else_does_not_carry_a_message(served: Served) -> None:
    it, _, agreement = await served.pair()
    await served.pair("it.nrm", "al.shelter")
    grant = await it.grant("al.shelter")

    answer = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

    assert answer.json()["code"] == "consent-recipient"


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
