"""Each version of the directory is a leaf that whoever has that version can find, reader and hub
alike; so is each revocation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from broker.audit.log.leaves import PUBLIC_SALT, opens
from broker.audit.log.store import entries
from broker.hub.store.tables import LOG
from keys.binding import subject_of
from keys.statements.revocation import sign_revocation
from keys.trust import DirectoryClient
from schemas.audit import Event, Leaf, Opening
from schemas.revocation import Revocation
from tests.support.hub import Served, World, turned_clock


async def leaves(served: Served, event: Event) -> list[Leaf]:
    await served.hub.sequencer.run_once()
    async with served.hub.database.read() as connection:
        found = await entries(connection, LOG, start=0, limit=1000)
    return [leaf for leaf in map(Leaf.from_json, found) if leaf.event is event]


async def test_every_version_and_every_revocation_is_found_in_the_log(
    tmp_path: Path, database_url: str
) -> None:
    world = World(tmp_path, turned_clock(), database=database_url, names=("it.nrm", "al.nrm"))
    reader = DirectoryClient(
        str(world.settings.directory),
        tmp_path / "reader",
        world.settings.directory_root.read_bytes(),
    )
    async with world.serving(directory_seconds=3600.0) as served:
        seen = [reader.refresh(world.clock.now())]
        world.change("it.nrm", suspended=False, hosted_by="al.nrm")
        await served.hub.refresh_directory()
        await served.hub.refresh_directory()
        seen.append(reader.refresh(world.clock.now()))
        party, now = world.parties["it.nrm"], world.clock.now()
        content = Revocation(
            id=uuid4(),
            participant="it.nrm",
            keys=(party.signing_key().kid,),
            since=now - timedelta(days=1),
            by="it.nrm",
            issued_at=now,
        )
        raw = sign_revocation(content, party.signer())
        assert (await served.http.post("/revocations", content=raw)).status_code == 201

        versions = await leaves(served, Event.DIRECTORY_PUBLISHED)
        revoked = await leaves(served, Event.KEY_REVOKED)

    assert seen[0].digest != seen[1].digest
    found = [opens(leaf, Opening(salt=PUBLIC_SALT, subject=one.digest)) for leaf, one in zip(versions, seen, strict=True)]  # fmt: skip
    assert found == [True, True]
    assert [
        opens(leaf, Opening(salt=PUBLIC_SALT, subject=subject_of(raw))) for leaf in revoked
    ] == [True]
