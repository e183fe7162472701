"""What is in doubt is resolved by asking; what ought to have come and has not is an alarm."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, update

from broker.gateway.store.tables import (
    alarm,
    doubt,
    inbox,
    inbox_section,
    outbox,
    seen,
    stream_in,
)
from broker.hub.store.tables import DELIVERY, ENVELOPE, FACT
from schemas.consent import Purpose
from tests.support.gateways import Side, World, column


async def gave_up(side: Side, grant: UUID) -> UUID:
    """A message whose hard stop is over when its first attempt fails."""
    message: UUID = (await side.refer("al.nrm", grant)).id
    core = side.gateway.core
    async with core.database.begin() as connection:
        past = core.now() - timedelta(seconds=1)
        await connection.execute(
            update(outbox).where(outbox.c.id == message).values(hard_stop_at=past)
        )
    await side.parts.outbox.run_once()
    return message


async def test_an_unknown_outcome_is_a_state_until_the_hub_has_been_asked(two: World) -> None:
    italy = two["it.nrm"]
    grant = await italy.consent("al.nrm")
    await italy.push()

    italy.line.lose_answers = True
    taken = await gave_up(italy, grant)
    italy.line.lose_answers = False
    italy.line.cut = True
    never_came = await gave_up(italy, grant)
    italy.line.cut = False
    in_doubt = await column(italy, doubt.c.message)

    await italy.parts.reconciling.run_once()
    await two.settle()

    assert set(in_doubt) == {taken, never_came}
    assert await column(italy, doubt.c.message) == []
    assert await column(italy, outbox.c.state, outbox.c.id == taken) == ["filed"]
    assert await column(italy, outbox.c.state, outbox.c.id == never_came) == ["failed"]


async def test_what_the_hub_says_we_had_and_is_not_here_is_a_gap(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant = await italy.consent("al.nrm")
    sent = [(await italy.refer("al.nrm", grant)).id for _ in range(3)]
    await two.settle()
    assert await albania.parts.reconciling.run_once() == 0

    # As after a backup of an hour ago was put back: one is not there any more.
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(delete(inbox_section).where(inbox_section.c.message == sent[1]))
        await connection.execute(delete(inbox).where(inbox.c.id == sent[1]))
        await connection.execute(delete(seen).where(seen.c.id == sent[1]))
        await connection.execute(delete(stream_in))
    assert await albania.parts.reconciling.run_once() == 1

    gaps = await column(albania, alarm.c.about, alarm.c.code == "stream-gap")
    assert gaps == [str(sent[1])]
    assert max(await column(albania, stream_in.c.upto)) < 4


async def test_a_number_that_was_closed_and_one_that_is_on_its_way_are_no_gaps(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    withdrawn, live = await italy.consent("al.nrm"), await italy.consent("al.nrm", "CASE-2")
    await two.settle()
    await italy.refer("al.nrm", withdrawn)
    await italy.push()
    await italy.parts.withdrawals.order(withdrawn)
    await italy.push()
    await italy.send(
        type="referral.request",
        to="al.nrm",
        case_ref="CASE-2",
        grant=live,
        purpose=Purpose.PROTECTION,
        sections={"case_admin": {"status": "Active"}},
        body={"services": ["safe_house"]},
    )
    await italy.push()

    assert await albania.parts.reconciling.run_once() == 0
    assert await column(albania, alarm.c.about, alarm.c.code == "stream-gap") == []


async def suppress(two: World, message: UUID) -> None:
    """As a hub does that accepts a message and lets it vanish."""
    async with two.at_hub.database.begin() as connection:
        await connection.execute(delete(FACT).where(FACT.c.envelope_id == message))
        await connection.execute(delete(DELIVERY).where(DELIVERY.c.object_id == message))
        await connection.execute(delete(ENVELOPE).where(ENVELOPE.c.id == message))


async def test_what_the_hub_leaves_out_is_missed_by_the_senders_own_word(two: World) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    grant, withdrawn = await italy.consent("al.nrm"), await italy.consent("al.nrm", "CASE-2")
    await two.settle()
    # A number that never leaves us: withdrawn before it is sent.
    never = await italy.refer("al.nrm", withdrawn, case_ref="CASE-2")
    await italy.parts.withdrawals.order(withdrawn)
    sent = [(await italy.refer("al.nrm", grant)).id for _ in range(3)]
    await italy.push()
    await italy.parts.reconciling.run_once()
    assert await albania.parts.reconciling.run_once() == 0
    assert await column(italy, outbox.c.submitted_at, outbox.c.id == never.id) == [None]

    await suppress(two, sent[1])
    async with albania.gateway.core.database.begin() as connection:
        await connection.execute(delete(stream_in))
    assert await albania.parts.reconciling.run_once() == 1

    (number,) = await column(italy, outbox.c.stream_number, outbox.c.id == sent[1])
    missed = await column(albania, alarm.c.about, alarm.c.code == "stream-suppressed")
    assert missed == [f"it.nrm routine {number}"]
