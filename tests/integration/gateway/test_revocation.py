"""A partner's key in other hands: nothing is received or opened under it, whatever directory is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from broker.gateway.network.exposure import exposed
from broker.gateway.receive.opening import open_message
from broker.gateway.receive.receiver import Incoming, Outcome
from keys.statements.revocation import sign_revocation
from schemas.directory import Compartment, KeyStatus, KeyUse, PublishedKey
from schemas.errors import KeyRevoked
from schemas.revocation import Revocation
from tests.support.gateways import Side, World

LONG_AGO = timedelta(days=1)


def keys_of(side: Side, use: KeyUse) -> list[PublishedKey]:
    return [key for key in side.gateway.core.self_entry().keys if key.use is use]


async def revoke(side: Side, *, ago: timedelta = LONG_AGO, use: KeyUse = KeyUse.SIGN) -> None:
    core = side.gateway.core
    content = Revocation(
        id=uuid4(),
        participant=core.participant,
        keys=tuple(key.kid for key in keys_of(side, use)),
        since=core.now() - ago,
        by=core.participant,
        issued_at=core.now(),
    )
    await core.hub.revoke(sign_revocation(content, core.signer))


async def hear(side: Side) -> list[str]:
    return list(await side.gateway.core.directory.follow_revocations(side.gateway.core.hub))


async def delivered(two: World) -> UUID:
    it = two["it.nrm"]
    grant = await it.consent("al.nrm")
    stored = await it.refer("al.nrm", grant)
    await two.settle()
    return stored.id


async def test_the_feed_lies_over_a_directory_that_stands_still(two: World) -> None:
    it, al = two["it.nrm"], two["al.nrm"]
    before = al.gateway.core.trusted()
    await revoke(it)
    kids = sorted(key.kid for key in keys_of(it, KeyUse.SIGN))

    assert await hear(al) == kids
    assert await hear(al) == []

    after = await al.gateway.core.directory.refresh()
    assert after.version == before.version
    found = [after.key(kid) for kid in kids]
    assert [one[1].status for one in found if one] == [KeyStatus.COMPROMISED] * len(kids)


async def test_it_reaches_a_gateway_in_answer_to_a_question_that_the_hub_holds(two: World) -> None:
    it, al = two["it.nrm"], two["al.nrm"]
    core = al.gateway.core
    al.line.asked.clear()
    asking = asyncio.create_task(
        core.directory.follow_revocations(core.hub, wait=timedelta(seconds=25))
    )
    await al.line.asked.wait()
    before = len(al.line.requests)

    await revoke(it)
    found = await asking

    assert found == sorted(key.kid for key in keys_of(it, KeyUse.SIGN))
    # Not by asking again: one request was under way, and the next finds nothing more.
    asked = [request.url for request in al.line.requests[before - 1 :]]
    assert [url.path for url in asked] == ["/revocations"] * 2
    assert [url.params["wait"] for url in asked] == ["25", "0"]


async def test_it_is_remembered_when_the_hub_is_away_after_a_restart(two: World) -> None:
    await revoke(two["it.nrm"])
    await hear(two["al.nrm"])
    al = await two.open("al.nrm")
    al.line.cut = True
    assert set(al.gateway.core.trusted().compromised_since) == {
        key.kid for key in keys_of(two["it.nrm"], KeyUse.SIGN)
    }


async def test_nothing_is_received_that_it_signed(two: World) -> None:
    it, al = two["it.nrm"], two["al.nrm"]
    grant = await it.consent("al.nrm")
    await two.settle()
    stored = await it.refer("al.nrm", grant)
    async with it.gateway.core.database.read() as connection:
        from sqlalchemy import select

        from broker.gateway.store.tables import outbox

        found = await connection.execute(select(outbox.c.envelope).where(outbox.c.id == stored.id))
        raw: bytes = found.scalar_one()
    await revoke(it)
    await hear(al)

    outcome = await al.parts.receiver.receive([Incoming("envelope", bytes(raw))], "mailbox")

    assert outcome == [Outcome.QUARANTINED]
    with pytest.raises(Exception, match="not-found"):
        await open_message(al.parts, stored.id)


async def test_what_came_while_it_was_in_other_hands_is_not_opened(two: World) -> None:
    al, message = two["al.nrm"], await delivered(two)
    assert (await open_message(al.parts, message))["partner"] == "it.nrm"
    await revoke(two["it.nrm"])
    await hear(al)
    with pytest.raises(KeyRevoked):
        await open_message(al.parts, message)


async def test_what_came_before_stays_readable(two: World) -> None:
    al, message = two["al.nrm"], await delivered(two)
    await revoke(two["it.nrm"], ago=-timedelta(seconds=1))
    await hear(al)
    assert (await open_message(al.parts, message))["partner"] == "it.nrm"


async def test_what_a_key_exposed_is_listed_by_message_time_and_compartment(two: World) -> None:
    it, al, message = two["it.nrm"], two["al.nrm"], await delivered(two)
    since = al.gateway.core.now() - LONG_AGO

    async def listed(side: Side, keys: list[PublishedKey], *, ours: bool) -> set[tuple[str, str]]:
        async with side.gateway.core.database.read() as connection:
            found = await exposed(connection, keys, ours=ours, since=since)
        return {(one.how, str(one.compartment)) for one in found if one.message == message}

    sealing = keys_of(al, KeyUse.SEAL)
    casework = [key for key in sealing if key.compartment is Compartment.CASEWORK]
    health = [key for key in sealing if key.compartment is Compartment.HEALTH]
    assert await listed(al, casework, ours=True) == {("may-be-read", "casework")}
    assert await listed(al, health, ours=True) == set()
    assert await listed(al, keys_of(it, KeyUse.SIGN), ours=False) == {("may-be-forged", "None")}
    assert await listed(it, keys_of(it, KeyUse.SIGN), ours=True) == {("sent-as-us", "None")}


async def test_a_gateway_whose_own_key_was_revoked_is_not_ready(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody believes what it signs, so it must not be green."""
    gateway = two["it.nrm"].gateway
    core = gateway.core
    await core.log.sequencer.run_once()
    before = gateway.not_ready()
    entry, trusted = core.self_entry(), core.trusted()
    keys = tuple(
        key.model_copy(update={"status": KeyStatus.COMPROMISED})
        if key.kid == core.signer.kid
        else key
        for key in entry.keys
    )
    published = entry.model_copy(update={"keys": keys})
    changed = replace(trusted, participants={**trusted.participants, entry.id: published})
    monkeypatch.setattr(core.directory, "current", lambda: changed)

    assert before == ()
    assert gateway.not_ready() == ("key-revoked",)
