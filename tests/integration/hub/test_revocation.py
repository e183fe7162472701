"""A key in other hands is stopped at once: at submission, at hand-over, at every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from keys.statements.revocation import sign_revocation
from schemas.directory import KeyUse
from schemas.envelope import Lane
from schemas.evidence import Fact
from schemas.revocation import Revocation
from tests.support.hub import Client, Served, World, turned_clock

NAMES = ("it.nrm", "al.nrm", "al.shelter")


@pytest.fixture
async def served(tmp_path: Path, database_url: str) -> AsyncIterator[Served]:
    world = World(tmp_path, turned_clock(), database=database_url, names=NAMES)
    async with world.serving() as served:
        yield served


def revocation(
    by: Client, of: Client | None = None, *, use: KeyUse = KeyUse.SIGN, id: UUID | None = None
) -> bytes:
    """Everything that one participant signs (or opens) with is in other hands."""
    subject = of or by
    now = by.world.clock.now()
    content = Revocation(
        id=id or uuid4(),
        participant=subject.id,
        keys=tuple(key.kid for key in subject.party.entry.keys if key.use is use),
        since=now - timedelta(days=1),
        by=by.id,
        issued_at=now,
    )
    return sign_revocation(content, by.party.signer())


async def revoke(served: Served, raw: bytes) -> int:
    answer = await served.http.post("/revocations", content=raw)
    return int(answer.status_code)


async def test_nothing_is_accepted_from_it_any_more_at_submission(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    assert await revoke(served, revocation(it)) == 201

    refused = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

    assert refused.json()["code"] == "key-revoked"


async def test_what_waits_is_stopped_at_hand_over_and_nothing_says_why_but_the_evidence(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sent = await it.send("al.nrm", agreement=agreement, grant=grant)
    assert await revoke(served, revocation(it)) == 201

    assert await al.mailbox() == []
    handed = await al.mailbox()

    assert [item["kind"] for item in handed] == ["evidence"]
    facts = [fact for item in handed for fact in al.facts(item["jws"])]
    assert [fact.fact for fact in facts] == [Fact.TOMBSTONE]
    state = await al.get(f"/envelopes/{sent.content.id}")
    assert state.json()["state"] == "tombstone"


async def test_what_is_sealed_to_it_is_neither_accepted_nor_handed_over(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    assert await revoke(served, revocation(al, use=KeyUse.SEAL)) == 201

    refused = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))
    handed = await al.mailbox()

    assert refused.json()["code"] == "key-revoked"
    assert "envelope" not in {item["kind"] for item in handed}


async def test_a_request_that_it_signs_is_refused(served: Served) -> None:
    it, _, _ = await served.pair()
    assert (await it.get("/revocations")).status_code == 200
    assert await revoke(served, revocation(it)) == 201
    refused = await it.get("/mailbox", lane=Lane.ROUTINE.value)
    assert refused.json()["code"] == "key-revoked"


async def test_the_countrys_authority_may_say_it_and_no_other(served: Served) -> None:
    it, al, shelter = (served.client(name) for name in NAMES)
    assert await revoke(served, revocation(it, shelter)) == 403
    assert await revoke(served, revocation(shelter, al)) == 403
    assert await revoke(served, revocation(al, shelter)) == 201


async def test_everybody_is_told_in_the_words_that_were_signed(served: Served) -> None:
    it, al, _ = await served.pair()
    raw = revocation(it)
    assert await revoke(served, raw) == 201
    feed = (await al.get("/revocations", after=0)).json()["revocations"]
    assert [(item["position"], item["revocation"]) for item in feed] == [(1, raw.decode())]
    assert (await al.get("/revocations", after=1)).json()["revocations"] == []


async def test_saying_it_again_is_the_same_and_a_thief_says_nothing_more(served: Served) -> None:
    it, _, _ = await served.pair()
    raw = revocation(it)
    assert await revoke(served, raw) == 201
    assert await revoke(served, raw) == 200
    assert await revoke(served, revocation(it, use=KeyUse.SEAL)) == 403


async def test_it_is_a_leaf_of_the_log_and_survives_a_restart(
    tmp_path: Path, database_url: str
) -> None:
    world = World(tmp_path, turned_clock(), database=database_url, names=NAMES)
    async with world.serving() as served:
        it = served.client("it.nrm")
        assert await revoke(served, revocation(it)) == 201
        await served.hub.sequencer.run_once()
    async with world.serving() as served:
        it = served.client("it.nrm")
        assert (await it.get("/revocations")).json()["code"] == "key-revoked"


async def test_another_process_of_the_hub_decides_nothing_before_it_knows(
    tmp_path: Path, postgres_url: str
) -> None:
    world = World(tmp_path, turned_clock(), database=postgres_url, names=NAMES)
    async with world.serving() as one, world.serving(directory_seconds=3600.0) as other:
        it, al, agreement = await other.pair()
        grant = await it.grant("al.nrm")
        assert await revoke(one, revocation(it)) == 201

        late = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

        assert late.status_code == 503
        await other.hub.load_revocations()
        refused = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))
        assert refused.json()["code"] == "key-revoked"
        assert (await al.get("/revocations")).status_code == 200


async def test_when_the_log_cannot_be_written_the_key_is_stopped_all_the_same(
    served: Served,
) -> None:
    it, _, _ = await served.pair()
    raw = revocation(it)

    served.hub.sequencer.healthy = lambda now: False  # type: ignore[method-assign]
    assert await revoke(served, raw) == 503
    assert (await it.get("/revocations")).json()["code"] == "key-revoked"
    del served.hub.sequencer.healthy
    await asyncio.sleep(0)
    assert await revoke(served, raw) == 201
