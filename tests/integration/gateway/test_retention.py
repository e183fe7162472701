"""What a gateway forgets, class by class, and what it must not."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, update

from broker.gateway.settings import RetentionSettings
from broker.gateway.store.tables import evidence, fact, inbox, outbox, receipt_packet
from tests.support.gateways import Side, World, column

NOTHING = timedelta()


async def expire_all(side: Side) -> None:
    core = side.gateway.core
    async with core.database.begin() as connection:
        past = core.now() - timedelta(days=1)
        for table in (outbox, inbox):
            await connection.execute(update(table).values(expires_at=past))


def keep_nothing(side: Side) -> None:
    """As if all the times of retention were over."""
    core = side.gateway.core
    none = RetentionSettings(
        payload=NOTHING, addressing=NOTHING, evidence=NOTHING, technical=NOTHING
    )
    core.settings = core.settings.model_copy(update={"retention": none})


async def test_what_is_not_final_is_never_touched(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.refer("al.nrm", grant)
    await italy.push()  # taken by the hub, and nothing heard of it
    await expire_all(italy)
    keep_nothing(italy)

    await italy.parts.retention.run_once()

    assert set(await column(italy, outbox.c.state)) == {"submitted"}
    assert all(await column(italy, func.length(outbox.c.envelope)))
    assert await column(italy, fact.c.fact) != []
    assert await column(italy, evidence.c.id) != []


async def test_before_it_expires_what_was_sent_keeps_its_bytes(two: World) -> None:
    italy = two["it.nrm"]
    await italy.refer("al.nrm", await italy.consent("al.nrm"))
    await two.settle()
    keep_nothing(italy)

    await italy.parts.retention.run_once()

    assert all(await column(italy, func.length(outbox.c.envelope)))


async def test_when_all_is_final_and_old_nothing_of_any_class_is_left(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    for _ in range(3):
        await italy.refer("al.nrm", grant)
    await two.settle()
    for side in (italy, albania):
        await expire_all(side)
        keep_nothing(side)

        await side.parts.retention.run_once()

    assert await column(italy, outbox.c.id) == []
    assert await column(italy, fact.c.fact) == []
    assert await column(italy, evidence.c.id) == []
    assert await column(albania, receipt_packet.c.id) == []
    # Whose content lies in the vault still: it goes with the consent, not by the calendar.
    assert set(await column(albania, inbox.c.state)) == {"filed", "kept"}
