"""docs/operations/recovery.md: a participant that lost everything comes back by its country."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from broker.gateway.home import init_home
from broker.gateway.store.tables import inbox, outbox
from keys.ceremony import Repository
from keys.ceremony.roles import RoleSigner
from keys.custody import KdfCost, open_custody
from keys.lifecycle import ended
from keys.signing import parse_envelope
from schemas.directory import KeyStatus, Participant
from schemas.errors import NotFound, NotPermitted
from tests.support.gateways import World, close, world

LOST = "al.shelter"
SECTIONS = {"case_admin": {"status": "Active", "case_owner": "Invented worker"}}


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, "it.nrm", "al.nrm", LOST) as made:
        yield made


async def lose_and_enrol_again(made: World) -> None:
    """The shelter's machine burns; its country ends its keys and signs new ones."""
    await close(made.sides.pop(LOST))
    authority = made["al.nrm"].gateway.core
    entry = authority.partner(LOST)
    place = made.network.participants[LOST]
    fresh = replace(place, home=made.path / "new-machine")
    made.network.participants[LOST] = fresh
    home = await asyncio.to_thread(
        init_home,
        fresh.home,
        participant=LOST,
        hub_url=made.network.url,
        directory_url=f"{made.network.url}/directory",
        trusted_root=made.network.root,
        compartments=entry.compartments,
        port=place.port,
        cost=KdfCost(64, 1, 1),
    )
    lost = tuple(ended(key, KeyStatus.DESTROYED) for key in entry.keys)
    await asyncio.to_thread(publish, made, entry.model_copy(update={"keys": (*lost, *home.keys)}))
    await made.hub.state.hub.refresh_directory()
    await authority.directory.refresh()
    await made.open(LOST)


def publish(made: World, entry: Participant) -> None:
    words = (made.path / "authority" / "passphrase").read_bytes()

    def signer(role: str) -> RoleSigner:
        return RoleSigner.of(open_custody(f"file:{made.path}/authority/{role}.json", words))

    Repository(made.path / "directory").publish_participant(
        entry,
        country_signers=[signer("al")],
        online=signer("online"),
        now=made["al.nrm"].gateway.core.now(),
    )


async def test_what_was_sealed_to_lost_keys_is_stopped_and_said_anew_to_the_new_ones(
    three: World,
) -> None:
    sender = three["al.nrm"]
    grant = await sender.consent(LOST)
    await three.settle()
    old = await sender.refer(LOST, grant, sections=SECTIONS)
    await sender.push()
    with pytest.raises(NotPermitted):
        await sender.refer(LOST, grant, sections=SECTIONS, replaces=old.id)

    await lose_and_enrol_again(three)
    await three.settle()

    async with sender.gateway.core.database.read() as connection:
        row = (await connection.execute(select(outbox).where(outbox.c.id == old.id))).one()
    assert (row.state, row.code) == ("stopped", "key-revoked")
    with pytest.raises(NotFound):
        await sender.refer(LOST, grant, sections=SECTIONS, replaces=uuid4())
    new = await sender.refer(LOST, grant, sections=SECTIONS, replaces=old.id)
    await three.settle()
    async with three[LOST].gateway.core.database.read() as connection:
        came = (await connection.execute(select(inbox).where(inbox.c.id == new.id))).one()
    async with sender.gateway.core.database.read() as connection:
        sent = (await connection.execute(select(outbox).where(outbox.c.id == new.id))).one()
    assert parse_envelope(sent.envelope).content.replaces == old.id
    assert came.business_id == row.business_id
    assert sent.state in ("delivered", "filed")
