"""A rotation while everything runs: the gateway takes its new keys by itself."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from broker.cli.homes.identity import open_identity
from broker.gateway.store.tables import alarm
from keys.ceremony import Repository
from keys.ceremony.roles import RoleSigner
from keys.custody import open_custody
from keys.lifecycle import STANDARD_VALIDITY
from keys.rotation import STANDARD, due, rotated, slot_of
from schemas.directory import KeyUse, Participant
from tests.support.gateways import World


def publish(two: World, entry: Participant) -> None:
    """As Italy does."""
    authority = two.path / "authority"
    words = (authority / "passphrase").read_bytes()

    def signer(role: str) -> RoleSigner:
        return RoleSigner.of(open_custody(f"file:{authority / role}.json", words))

    Repository(two.path / "directory").publish_participant(
        entry,
        country_signers=[signer("it")],
        online=signer("online"),
        now=two["it.nrm"].gateway.core.now(),
    )


async def test_it_signs_with_its_new_key_once_the_directory_shows_it(two: World) -> None:
    core = two["it.nrm"].gateway.core
    entry, now = core.self_entry(), core.now()
    before = core.signer.kid
    end = max(key.not_after for key in entry.keys if key.use is KeyUse.SIGN)
    todo = due(entry.keys, end - STANDARD.overlap)
    # By another process, with the gateway running: its successor is in force from now on.
    custody = open_identity(two.network.participants["it.nrm"].home).custody
    made = [custody.make(*slot, start=now) for slot in todo.make if slot[0] is KeyUse.SIGN]
    keys = rotated(entry.keys, due(entry.keys, now), [key.published() for key in made])
    publish(two, entry.model_copy(update={"keys": keys}))
    for side in two.sides.values():
        await side.gateway.core.directory.refresh()
    await two.hub.state.hub.refresh_directory()

    assert core.signer.kid == made[0].kid != before
    grant = await two["it.nrm"].consent("al.nrm")
    stored = await two["it.nrm"].refer("al.nrm", grant)
    await two.settle()
    from broker.gateway.store.tables import inbox

    async with two["al.nrm"].gateway.core.database.read() as connection:
        found = await connection.scalar(select(inbox.c.signed_by).where(inbox.c.id == stored.id))
    assert found == made[0].kid


async def test_a_gateway_destroys_its_keys_a_day_after_their_end(two: World) -> None:
    core, epochs = two["it.nrm"].gateway.core, two["it.nrm"].parts.epochs
    entry, now = core.self_entry(), core.now()
    old = {key.kid for key in entry.keys if key.use is KeyUse.SEAL}
    other = open_identity(two.network.participants["it.nrm"].home).custody
    made = [other.make(*slot_of(key), start=now) for key in entry.keys if key.kid in old]

    def ended(ago: timedelta) -> Participant:
        over = {"not_before": now - ago - STANDARD_VALIDITY.seal, "not_after": now - ago}
        keys = [key.model_copy(update=over if key.kid in old else {}) for key in entry.keys]
        return entry.model_copy(
            update={"keys": (*keys, *(key.published() for key in made)), "entry_issued_at": now}
        )

    async def left() -> set[str]:
        await core.directory.refresh()
        await epochs.run_once()
        core.custody.refresh()
        return old & {key.kid for key in core.custody.keys}

    publish(two, ended(STANDARD.grace - timedelta(minutes=1)))
    assert await left() == old
    publish(two, ended(STANDARD.grace))
    # Whose clock is right nobody can say; nothing that may be in use is destroyed meanwhile.
    for unsure in (None, timedelta(hours=1), timedelta(hours=-1)):
        core.hub.clock_ahead = unsure
        assert await left() == old
    core.hub.clock_ahead = timedelta()
    assert await left() == set()
    other.refresh()
    assert {key.kid for key in made} <= {key.kid for key in other.keys}


async def test_a_key_that_ends_without_a_successor_is_an_alarm_until_it_has_one(
    two: World,
) -> None:
    side = two["it.nrm"]
    core = side.gateway.core
    entry, now = core.self_entry(), core.now()

    def ending(left: timedelta) -> Participant:
        keys = tuple(
            key.model_copy(
                update={
                    "not_before": now + left - STANDARD_VALIDITY.sign,
                    "not_after": now + left,
                }
            )
            if key.use is KeyUse.SIGN
            else key
            for key in entry.keys
        )
        return entry.model_copy(update={"keys": keys})

    async def alarms() -> list[str]:
        await core.directory.refresh()
        await side.parts.deadlines.run_once()
        async with core.database.read() as connection:
            rows = await connection.scalars(
                select(alarm.c.about).where(
                    alarm.c.code == "key-ending", alarm.c.cleared_at.is_(None)
                )
            )
        return [about.rpartition(":")[2] for about in rows]

    assert await alarms() == []
    publish(two, ending(timedelta(days=59)))
    assert await alarms() == ["60"]
    publish(two, ending(timedelta(days=6)))
    assert await alarms() == ["7"]
    publish(two, entry)
    assert await alarms() == []
