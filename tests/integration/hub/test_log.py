"""The log as others see it, health, retention."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from broker.audit.proofs.policy import Policy
from broker.audit.proofs.verify import TrustedKey, verify_proof
from broker.clock import TurnedClock
from broker.hub.ending import deadlines, retention
from broker.hub.store.tables import ENVELOPE, EVIDENCE, FACT, LOG, METADATA
from keys.trust import DirectoryClient
from schemas.base import unb64u
from schemas.evidence import Fact
from tests.support.hub import Served, World, count
from tests.support.waiting import until


async def test_a_party_gets_a_proof_of_its_delivery_and_of_its_acceptance(
    served: Served, world: World
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = await it.send("al.nrm", agreement=agreement, grant=grant)
    raw = al.evidence("it.nrm", [(Fact.DELIVERED, sealed)])
    await al.state_evidence(raw)
    state = (await it.get(f"/envelopes/{sealed.content.id}")).json()
    delivered = next(fact for fact in state["facts"] if fact["fact"] == "delivered")
    await served.hub.sequencer.run_once()

    of_acceptance = await it.get("/log/proof", envelope=sealed.content.id)
    of_delivery = await it.get("/log/proof", evidence=delivered["evidence"])

    assert of_delivery.json()["evidence"] == raw.decode()
    for answer in (of_acceptance, of_delivery):
        assert answer.status_code == 200
        verdict = verify_proof(
            json.dumps(answer.json()).encode(),
            Policy.of_logs(world.vkey),
            trusted_keys={
                key.kid: TrustedKey(owner.id, key.alg, key.jwk)
                for owner, key in world.directory().by_kid.values()
            },
        )
        assert verdict.proven, verdict.checks


async def test_only_an_auditor_reads_the_entries(served: Served) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await it.send("al.nrm", agreement=agreement, grant=grant)
    await served.hub.sequencer.run_once()
    auditor = served.client("it.rapporteur")

    refused = await it.get("/log/entries")
    answer = (await auditor.get("/log/entries")).json()
    rest = (await auditor.get("/log/entries", after=answer["next"])).json()

    assert refused.status_code == 403
    events = [json.loads(unb64u(entry))["event"] for entry in answer["entries"]]
    assert {"agreement:registered", "grant:registered", "envelope:submitted"} <= set(events)
    assert (answer["next"], rest["entries"]) == (answer["size"], [])


async def test_anyone_may_read_checkpoint_tiles_and_directory(
    served: Served, world: World, tmp_path: Path
) -> None:
    await served.hub.sequencer.run_once()
    checkpoint = await served.http.get("/log/checkpoint")
    size = int(checkpoint.text.splitlines()[1])
    tile = await served.http.get(f"/log/tile/0/000.p/{size}")
    timestamp = await served.http.get("/directory/metadata/timestamp.json")
    outside = await served.http.get("/directory/targets/..%2F..%2Fpassphrase")

    assert checkpoint.text.startswith("hub.test/log\n")
    assert len(tile.content) == 32 * size
    assert timestamp.status_code == 200
    assert outside.status_code == 404
    again = DirectoryClient(world.folder / "repository", tmp_path / "c", world.repository.root)
    assert "it.nrm" in again.refresh(world.clock.now()).participants


async def test_readiness_is_red_while_the_log_is_old_and_green_again_by_itself(
    served: Served, clock: TurnedClock
) -> None:
    sequencer = served.hub.sequencer
    signers, sequencer._signers = sequencer._signers, ()
    clock.turn(timedelta(seconds=61))

    red = await served.http.get("/readyz")
    sequencer._signers = signers

    async def green() -> bool:
        return (await served.http.get("/readyz")).status_code == 200

    assert (red.status_code, red.json()["codes"]) == (503, ["log-unavailable"])
    await until("readiness to be green again", green)


async def test_a_log_that_cannot_be_written_stops_intake_at_once_and_lets_go_by_itself(
    served: Served,
) -> None:
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    await served.hub.sequencer.run_once()
    database = served.hub.database
    if database.dialect == "sqlite":
        broken = [
            "CREATE TRIGGER full_disk BEFORE INSERT ON log_entry "
            "BEGIN SELECT RAISE(ABORT, 'no space'); END"
        ]
        mended = "DROP TRIGGER full_disk"
    else:
        broken = [
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space'; END $$",
            "CREATE TRIGGER full_disk BEFORE INSERT ON log_entry "
            "FOR EACH ROW EXECUTE FUNCTION full_disk()",
        ]
        mended = "DROP TRIGGER full_disk ON log_entry"
    async with database.begin() as connection:
        for statement in broken:
            await connection.execute(text(statement))

    # Accepted before the sequencer ran into it: recorded, and not lost.
    before = await it.send("al.nrm", agreement=agreement, grant=grant)
    with pytest.raises(Exception, match=r"space|unavailable|INSERT"):
        await served.hub.sequencer.run_once()
    red = await served.http.get("/readyz")
    refused = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))
    async with database.begin() as connection:
        await connection.execute(text(mended))
    await served.hub.sequencer.run_once()
    green = await served.http.get("/readyz")
    proven = await it.get("/log/proof", envelope=before.content.id)

    assert (red.status_code, red.json()["codes"]) == (503, ["log-unavailable"])
    assert (refused.status_code, refused.json()["code"]) == (503, "log-unavailable")
    assert green.status_code == 200
    assert proven.status_code == 200


async def test_heads_are_signed_every_minute_under_load_and_every_hour_when_idle(
    served: Served, clock: TurnedClock
) -> None:
    """By the hub's own loops, as a reader of its checkpoint sees them; the clock is turned."""
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    table = LOG.checkpoint

    async def dates() -> list[datetime]:
        async with served.hub.database.read() as connection:
            rows = await connection.execute(select(table.c.issued_at).order_by(table.c.id))
            return list(rows.scalars())

    async def signed_now() -> None:
        async def there() -> bool:
            return (await dates())[-1] >= clock.now()

        await until("a head of now", there)

    await signed_now()
    began = len(await dates()) - 1
    for _ in range(6):
        clock.turn(timedelta(seconds=30))
        await served.hub.sequencer.run_once()  # as the loop, which the clock outran
        await it.send("al.nrm", agreement=agreement, grant=grant)
        await signed_now()
    busy = (await dates())[began:]
    clock.turn(timedelta(minutes=61))
    await signed_now()

    assert all(after - before <= timedelta(minutes=1) for before, after in pairwise(busy))


async def test_readiness_is_red_when_the_hub_cannot_sign(
    served: Served, clock: TurnedClock
) -> None:
    clock.turn(timedelta(days=366))

    answer = await served.http.get("/readyz")

    assert answer.status_code == 503
    assert "custody-locked" in answer.json()["codes"]


async def test_health_answers_head_as_well(served: Served) -> None:
    for path in ("/livez", "/readyz", "/startupz"):
        assert (await served.http.head(path)).status_code == 200


async def test_retention_forgets_what_is_final_and_only_that(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    done = await it.send("al.nrm", agreement=agreement, grant=grant)
    open_one = await it.send(
        "al.nrm",
        agreement=agreement,
        grant=grant,
        expires_at=clock.now() + timedelta(days=60),
    )
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, done)]))

    clock.turn(timedelta(days=8))
    await served.hub.sequencer.run_once()
    while await deadlines.run_once(served.hub):
        pass
    forgotten = await retention.run_once(served.hub)

    assert forgotten == 1
    assert (await it.get(f"/envelopes/{done.content.id}")).status_code == 404
    assert (await it.get(f"/envelopes/{open_one.content.id}")).json()["state"] == "undelivered"
    assert open_one.raw.decode() in [item["jws"] for item in await al.mailbox()]
    assert await count(served, EVIDENCE) > 2
    used = await it.submit(
        it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, stream=done.content.stream))
    )
    assert used.json()["code"] == "stream-number"


async def test_after_everything_is_final_and_old_the_tables_are_as_small_as_before(
    served: Served, clock: TurnedClock
) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    for _ in range(20):
        await it.send("al.nrm", agreement=agreement, grant=grant)
    sent = [await it.send("al.nrm", agreement=agreement, grant=grant) for _ in range(5)]
    await al.state_evidence(al.evidence("it.nrm", [(Fact.DELIVERED, one) for one in sent]))

    clock.turn(timedelta(days=100))
    await served.hub.sequencer.run_once()
    while await deadlines.run_once(served.hub):
        pass
    await retention.run_once(served.hub)

    assert await count(served, ENVELOPE) == 0
    assert await count(served, FACT) == 0


async def test_the_migrations_make_exactly_the_tables_of_the_code(served: Served) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import Connection

    from broker.hub.store.tables import METADATA

    def of_the_code(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in METADATA.tables  # not the partitions of one

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_server_default": False, "compare_type": False}
        context = MigrationContext.configure(
            connection, opts={**options, "include_name": of_the_code}
        )
        return list(compare_metadata(context, METADATA))

    async with served.hub.database.engine.connect() as connection:
        differences = await connection.run_sync(compare)

    assert [one for one in differences if "alembic_version" not in str(one)] == []


async def test_nothing_of_a_message_but_its_header_is_in_the_database(served: Served) -> None:
    canary = "Zzyzx-Canary-Person"
    it, _, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    sealed = it.seal(
        it.draft("al.nrm", agreement=agreement, grant=grant),
        json.dumps({"name": canary}).encode(),
    )
    await it.submit(sealed)

    async with served.hub.database.read() as connection:
        stored = {
            table.name: [tuple(row) for row in await connection.execute(select(table))]
            for table in METADATA.sorted_tables
        }
    assert stored["envelope"]
    assert stored["payload"]
    assert canary not in repr(stored)


async def test_readiness_names_what_ends_soon_and_stays_green(
    served: Served, clock: TurnedClock
) -> None:
    before = (await served.http.get("/readyz")).json()["ending"]
    hub = served.hub
    ends = hub.directory.current().role_ends
    ends["it"] = clock.now() + timedelta(days=6)
    soon = await served.http.get("/readyz")
    assert soon.status_code == 200
    assert soon.json()["ending"] == {**before, "role-it": 7}
    left = hub.metrics.registry.get_sample_value("hub_days_left", {"what": "role-it"})
    assert left is not None
    assert 5.9 < left <= 6
    assert hub.metrics.registry.get_sample_value("hub_days_left", {"what": "sign-key"})
