"""A hub's backup put back, as docs/operations/restore.md says it: noticed, decided, made good."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.note import Verifier
from broker.cli.log.continuing import begin_another_log, log_standing
from broker.gateway.store.tables import alarm, inbox, outbox
from broker.hub.health import reasons_not_ready
from broker.hub.settings import load_settings
from broker.hub.store.tables import GRANT, OPENING
from keys.ceremony import Repository, RoleSigner
from keys.custody import open_custody
from keys.jws import parse_jws
from schemas.continuation import CONTINUATION_TYP, Continuation
from schemas.directory import Participant
from tests.support.copies import back_up, put_back
from tests.support.gateways import Side, World, always_the_newest_head, column, world

ORIGIN = "127.0.0.1/hub.main/2"


@pytest.fixture
async def two(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    async with world(tmp_path / "network", hub_database=database_url) as made:
        always_the_newest_head(made.at_hub)
        yield made
        for side in made.sides.values():
            side.parts.witness.close()


@pytest.fixture
async def on_file(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "network") as made:
        always_the_newest_head(made.at_hub)
        yield made
        for side in made.sides.values():
            side.parts.witness.close()


async def states(side: Side, *messages: UUID) -> list[str]:
    return [(await column(side, outbox.c.state, outbox.c.id == one))[0] for one in messages]


def settings_file(two: World) -> Path:
    return two.network.hub.settings_file


def publish_hub(two: World, entry: bytes) -> None:
    """As the keepers of the directory do."""
    authority = two.path / "authority"
    words = (authority / "passphrase").read_bytes()

    def signer(role: str) -> RoleSigner:
        return RoleSigner.of(open_custody(f"file:{authority / role}.json", words))

    Repository(two.path / "directory").publish_hub(
        Participant.from_json(entry),
        targets_signers=[signer("targets")],
        online=signer("online"),
        now=two["it.nrm"].gateway.core.now(),
    )


async def restored(two: World, copy: Path, *, folder_too: bool) -> None:
    """The hub stops, its database is put back, and it starts. The log's head beside the database
    is lost with the machine, or not."""
    await two.stop_hub()
    settings = load_settings(settings_file(two))
    await asyncio.to_thread(put_back, settings.database_url(), copy)
    if folder_too:
        (settings.state / "log-head").unlink()
    await two.start_hub()
    always_the_newest_head(two.at_hub)


async def a_backup(two: World, copy: Path) -> None:
    await two.at_hub.sequencer.run_once()
    url = load_settings(settings_file(two)).database_url()
    await asyncio.to_thread(back_up, url, copy)


async def test_what_the_hub_lost_is_noticed_decided_and_made_good(
    two: World, tmp_path: Path
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    kept_grant = await italy.consent("al.nrm")
    await two.settle()
    await a_backup(two, tmp_path / "copy")

    lost_grant = await italy.consent("al.nrm", "CASE-2")
    arrived = (await italy.refer("al.nrm", lost_grant, case_ref="CASE-2")).id
    await two.settle()
    waiting = (await italy.refer("al.nrm", lost_grant, case_ref="CASE-2")).id
    await italy.push()
    await two.at_hub.sequencer.run_once()
    assert await italy.parts.witness.run_once()
    old_key = two.at_hub.log_signers[0].verifier

    # 1. This machine remembers: nothing is signed, nothing accepted, and it says why.
    await restored(two, tmp_path / "copy", folder_too=False)
    assert "log-set-back" in await reasons_not_ready(two.at_hub)
    found = await log_standing(settings_file(two))
    assert found.later is not None
    assert found.later.size > found.kept.size
    unsent = (await italy.refer("al.nrm", kept_grant)).id
    await italy.push()
    assert await states(italy, unsent) == ["queued"]

    # 2. What it lost is put back in our queue, and waits there.
    await italy.parts.reconciling.run_once()
    await italy.push()
    assert await states(italy, waiting) == ["queued"]

    # 3. The operator ends the log. The directory names the next one.
    await two.stop_hub()
    made = await begin_another_log(settings_file(two), ORIGIN)
    await asyncio.to_thread(publish_hub, two, made.entry.read_bytes())
    await two.start_hub()
    always_the_newest_head(two.at_hub)
    assert await reasons_not_ready(two.at_hub) == []

    # 4. Gateways say again what was lost, and nothing arrives twice.
    for side in two.sides.values():
        await side.parts.reconciling.run_once()
    await two.settle()
    assert await states(italy, arrived, waiting, unsent) == ["filed"] * 3
    here = await column(albania, inbox.c.id, inbox.c.type == "referral.request")
    assert sorted(here) == sorted({arrived, waiting, unsent})
    async with two.at_hub.database.read() as connection:
        assert lost_grant in (await connection.execute(select(GRANT.c.id))).scalars().all()
        raws = (await connection.execute(select(OPENING.c.statement))).scalars().all()

    # 5. The new log says what happened, and is witnessed under its own name.
    said = [raw for raw in raws if raw and _is_continuation(raw)]
    assert len(said) == 1
    told = Continuation.from_json(parse_jws(said[0], typ=CONTINUATION_TYP, limit=1 << 16).payload)
    assert (told.ended, told.origin) == (old_key.name, ORIGIN)
    assert told.later is not None
    later = open_checkpoint(told.later.encode(), [old_key]).checkpoint
    assert later.size > open_checkpoint(told.kept.encode(), [old_key]).checkpoint.size
    await two.at_hub.sequencer.run_once()
    assert await italy.parts.witness.run_once()
    head = (await italy.gateway.core.hub.checkpoint()).encode()
    opened = open_checkpoint(
        head, [Verifier.from_text(two.at_hub.log_signers[0].verifier.to_text())]
    )
    assert opened.checkpoint.origin == ORIGIN


async def test_a_machine_that_remembers_nothing_is_stopped_by_a_witness(
    on_file: World, tmp_path: Path
) -> None:
    italy = on_file["it.nrm"]
    grant = await italy.consent("al.nrm")
    await on_file.settle()
    await a_backup(on_file, tmp_path / "copy")
    await italy.refer("al.nrm", grant)
    await on_file.settle()
    await on_file.at_hub.sequencer.run_once()
    await italy.parts.witness.run_once()

    await restored(on_file, tmp_path / "copy", folder_too=True)
    assert await reasons_not_ready(on_file.at_hub) == [], "it cannot know by itself"
    await italy.parts.witness.step()

    assert "log-set-back" in await reasons_not_ready(on_file.at_hub)
    assert "log-inconsistent" in await column(italy, alarm.c.code)
    found = await log_standing(settings_file(on_file))
    assert found.shown_by == ("it.nrm",)


async def test_a_machine_that_remembers_nothing_is_stopped_by_a_sender(
    on_file: World, tmp_path: Path
) -> None:
    italy = on_file["it.nrm"]
    grant = await italy.consent("al.nrm")
    await on_file.settle()
    await a_backup(on_file, tmp_path / "copy")
    await italy.refer("al.nrm", grant)
    await on_file.settle()

    await restored(on_file, tmp_path / "copy", folder_too=True)
    await italy.parts.reconciling.run_once()

    assert "log-set-back" in await reasons_not_ready(on_file.at_hub)


def _is_continuation(raw: bytes) -> bool:
    value = json.loads(raw)
    return "protected" in value and CONTINUATION_TYP in _header(value["protected"])


def _header(protected: str) -> str:
    from schemas.base import unb64u

    return unb64u(protected).decode()
